"""Why a relocation found nothing in the target, in words for whoever wrote the program."""

from __future__ import annotations

from collections.abc import Sequence

from ebpf.btf import types as t
from ebpf.btf.btf import Btf
from ebpf.btf.core.match import Mismatch, match_field
from ebpf.btf.core.names import ENUM_KINDS, FIELD_KINDS, describe, essential_name
from ebpf.btf.core.spec import Spec
from ebpf.btf.core.values import CoreResult
from ebpf.btf.ext import LineInfo


def reason(
    kind: int,
    local: Spec,
    candidates: Sequence[tuple[Btf, int]],
    result: CoreResult,
    described: str,
) -> str:
    """One sentence without an end; `candidates` are the types of the target of that name."""
    if result.target is not None and not result.poison:
        if result.fail_memsz_adjust:
            return _size(local, result, described)
        return f"{_place(local)} is in {described}"
    root = local.btf.type(local.root_id)
    name = describe(root).replace(root.name, essential_name(root.name))
    if not candidates:
        return f"{described} has no {name}"
    if kind in FIELD_KINDS:
        return _field(local, candidates, name, described)
    if kind in ENUM_KINDS:
        return f"{name} has no enumerator `{local.accessors[0].name}` in {described}"
    return f"{name} is another type in {described}"


def needed_by(program: str, line: LineInfo | None) -> str:
    """``" (needed by program p at file.c:12)"``, as far as it is known."""
    parts = [f"by program {program}"] if program else []
    if line is not None:
        parts.append(f"at {line.file_name}:{line.line}")
    return f" (needed {' '.join(parts)})" if parts else ""


def _place(local: Spec) -> str:
    path = local.path()
    name = describe(local.btf.type(local.root_id))
    return f"`{path}` of {name}" if path else name


def _size(local: Spec, result: CoreResult, described: str) -> str:
    return (
        f"{_place(local)} has {result.size} bytes in {described} and {result.original_size} in the "
        "program's types; only loads of pointers and of unsigned integers can be adjusted to that"
    )


def _field(local: Spec, candidates: Sequence[tuple[Btf, int]], name: str, described: str) -> str:
    """What the candidate lacks that has most of the path."""
    closest: tuple[Btf, Mismatch] | None = None
    for btf, type_id in candidates:
        found = match_field(local, btf, type_id)
        if isinstance(found, Mismatch) and (closest is None or found.step > closest[1].step):
            closest = btf, found
    if closest is None:
        return f"`{local.path()}` of {name} is in {described}"
    btf, mismatch = closest
    accessors = local.accessors[: mismatch.step + 1]
    path = Spec(local.btf, local.root_id, accessors).path()
    holder = btf.type(mismatch.type_id)
    if mismatch.member_type_id is not None:
        theirs = describe(btf.resolve(mismatch.member_type_id))
        mine = describe(_type_at(Spec(local.btf, local.root_id, accessors)))
        return f"field `{path}` of {name} is {theirs} in {described}, {mine} in the program's types"
    if accessors[-1].name is None:
        length = f"an array of {holder.length}" if isinstance(holder, t.Array) else describe(holder)
        before = Spec(local.btf, local.root_id, accessors[:-1]).path()
        return f"`{before}` of {name} is {length} in {described}: it has no `{path}`"
    return f"{name} has no field `{path}` in {described}"


def _type_at(spec: Spec) -> t.Type:
    """The type of the member that `spec` ends in."""
    last = spec.accessors[-1]
    holder = spec.btf.type(last.type_id)
    assert isinstance(holder, (t.Struct, t.Union))
    return spec.btf.resolve(holder.members[last.position].type_id)
