"""What others say about the same BTF: bpftool about every type, clang about the offsets."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ebpf.btf import Btf, Layout
from ebpf.btf import types as t
from ebpf.errors import BtfError

from .blob import btf_section
from .conftest import VMLINUX, tool

LINKAGE = {t.Linkage.STATIC: "static", t.Linkage.GLOBAL: "global", t.Linkage.EXTERN: "extern"}
ENCODING = {0: "(none)", 1: "SIGNED", 2: "CHAR", 4: "BOOL"}


def members(type: t.Struct | t.Union) -> list[dict[str, Any]]:
    rows = []
    for member in type.members:
        row = {"name": member.name, "type_id": member.type_id, "bits_offset": member.bit_offset}
        if member.bitfield_size:
            row["bitfield_size"] = member.bitfield_size
        rows.append(row)
    return rows


def details(type: t.Type) -> dict[str, Any]:
    """What bpftool prints of a type besides id, kind and name."""
    match type:
        case t.Int():
            return {
                "size": type.size,
                "bits_offset": type.bit_offset,
                "nr_bits": type.bits,
                "encoding": ENCODING[int(type.encoding)],
            }
        case t.Array():
            return {
                "type_id": type.type_id,
                "index_type_id": type.index_type_id,
                "nr_elems": type.length,
            }
        case t.Struct() | t.Union():
            return {"size": type.size, "vlen": len(type.members), "members": members(type)}
        case t.Enum() | t.Enum64():
            return {
                "size": type.size,
                "encoding": "SIGNED" if type.signed else "UNSIGNED",
                "vlen": len(type.values),
                "values": [{"name": name, "val": value} for name, value in type.values],
            }
        case t.Fwd():
            return {"fwd_kind": "union" if type.is_union else "struct"}
        case t.Func() | t.Var():
            return {"type_id": type.type_id, "linkage": LINKAGE[type.linkage]}
        case t.FuncProto():
            parameters = [{"name": name, "type_id": id} for name, id in type.parameters]
            return {"ret_type_id": type.type_id, "vlen": len(parameters), "params": parameters}
        case t.Datasec():
            variables = [variable._asdict() for variable in type.variables]
            return {"size": type.size, "vlen": len(variables), "vars": variables}
        case t.Float():
            return {"size": type.size}
        case t.DeclTag():
            return {"type_id": type.type_id, "component_idx": type.component_index}
    return {"type_id": type.type_id}  # type: ignore[attr-defined]


def as_bpftool(type: t.Type) -> dict[str, Any]:
    return {"id": type.id, "kind": type.kind.name, "name": type.name, **details(type)}


def bpftool_types(bpftool: str, path: Path) -> list[dict[str, Any]]:
    command = [bpftool, "btf", "dump", "file", str(path), "-j"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    types: list[dict[str, Any]] = json.loads(text.replace('"(anon)"', '""'))["types"]
    return types


def assert_same(btf: Btf, expected: list[dict[str, Any]]) -> None:
    count = 0
    for type, other in zip(btf.types(), expected, strict=True):
        # Written for enums since bpftool 7.1 only.
        if "encoding" not in other and isinstance(type, (t.Enum, t.Enum64)):
            other["encoding"] = "SIGNED" if type.signed else "UNSIGNED"
        if isinstance(type, t.Enum) and not type.signed:
            for value in other["values"]:
                value["val"] &= 0xFFFFFFFF  # bpftool's JSON extends the sign of unsigned values
        assert as_bpftool(type) == other
        count += 1
    assert count > 0


@pytest.mark.parametrize("target", ["bpfel", "bpfeb"])
def test_every_type_of_an_object_is_what_bpftool_says(
    target: str, bpftool: str, compile_bpf: Callable[[str], Path]
) -> None:
    """Fails when a field of any kind is decoded wrongly, in either byte order."""
    path = compile_bpf(target)
    btf = Btf(btf_section(path))
    assert btf.byte_order == ("little" if target == "bpfel" else "big")
    assert_same(btf, bpftool_types(bpftool, path))
    assert {type.kind for type in btf.types()} == set(t.Kind) - {t.Kind.VOID}


def test_every_type_of_the_kernel_is_what_bpftool_says(bpftool: str, vmlinux: bytes) -> None:
    """Fails when any of the kernel's types is indexed or decoded wrongly."""
    assert_same(Btf(vmlinux), bpftool_types(bpftool, VMLINUX))


def paths(layout: Layout, prefix: str = "", depth: int = 0) -> Iterator[str]:
    """Every path that leads through named and anonymous members, and first array elements."""
    for member in layout.type.members:
        target = layout.btf.resolve(member.type_id)
        name = f"{prefix}{member.name}"
        while member.name and isinstance(target, t.Array) and target.length:
            name += f"[{target.length - 1}]"
            target = layout.btf.resolve(target.type_id)
        if member.name:
            yield name
        if isinstance(target, (t.Struct, t.Union)) and depth < 4:
            inner = Layout(layout.btf, target)
            yield from paths(inner, f"{name}." if member.name else prefix, depth + 1)


def assertions(layout: Layout) -> Iterator[str]:
    """C that compiles only if the offset and size of every field are right."""
    c = f"{layout.type.kind.name.lower()} {layout.name}"
    yield f"_Static_assert(sizeof({c}) == {layout.size}, {json.dumps(c)});"
    for path in paths(layout):
        if layout.field(path).bitfield_size:
            continue
        claim = f"__builtin_offsetof({c}, {path}) == {layout.offsetof(path)}"
        yield f"_Static_assert({claim}, {json.dumps(claim)});"
        size = layout.sizeof(path)
        target = layout.btf.resolve(layout.field(path).type_id)
        # bpftool writes __attribute__((mode(byte))) enums as plain ones, of four bytes.
        short_enum = isinstance(target, t.Enum) and size < 4
        if size and not short_enum:
            yield f"_Static_assert(sizeof((({c} *)0)->{path}) == {size}, {json.dumps(path)});"


def check_with_clang(clang: str, target: list[str], source: Path, claims: list[str]) -> None:
    text = f'#include "{source}"\n' + "\n".join(claims) + "\n"
    command = [clang, *target, "-w", "-fsyntax-only", "-x", "c", "-"]
    result = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[:4000]


@pytest.mark.parametrize("target", ["bpfel", "bpfeb"])
def test_offsets_and_sizes_are_what_clang_computes(
    target: str, clang: str, compile_bpf: Callable[[str], Path]
) -> None:
    """Fails when a path through anonymous, embedded or array members is added up wrongly."""
    layout = Btf(btf_section(compile_bpf(target))).find_struct("outer")
    claims = list(assertions(layout))
    text = "\n".join(claims)
    assert all(path in text for path in ("embedded.high", "table[2][3].low", "bytes[1]"))
    source = Path(__file__).parent / "every_kind.c"
    check_with_clang(clang, ["-target", target], source, claims)


def test_offsets_in_kernel_structs_are_what_clang_computes(
    clang: str, bpftool: str, vmlinux: bytes, tmp_path: Path
) -> None:
    """Fails when a field of a kernel struct has another offset than in the kernel's C."""
    header = tmp_path / "vmlinux.h"
    command = [bpftool, "btf", "dump", "file", str(VMLINUX), "format", "c"]
    with header.open("w") as file:
        subprocess.run(command, check=True, stdout=file)
    btf = Btf(vmlinux)
    names = [type.name for type in btf.types() if type.kind == t.Kind.STRUCT and type.name]
    claims: list[str] = []
    for name in ["task_struct", "sk_buff", "net_device", *names[:: len(names) // 300]]:
        # bpftool renames all but one of several structs of a name.
        if len(btf.find_all(name)) == 1:
            claims += assertions(btf.find_struct(name))
    assert len(claims) > 5000
    check_with_clang(clang, [], header, claims)


def test_pointers_of_32_bit_code_have_four_bytes(tmp_path: Path) -> None:
    """Fails when the pointer size is this machine's and not that of the BTF."""
    source = tmp_path / "narrow.c"
    source.write_text("struct s { char *p; long n; void *q[3]; } s;\n")
    output = tmp_path / "narrow.o"
    command = [tool("gcc"), "-m32", "-gbtf", "-c", str(source), "-o", str(output)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        pytest.skip(f"this gcc writes no 32-bit BTF: {result.stderr.strip()[:200]}")
    layout = Btf(btf_section(output)).find_struct("s")
    assert (layout.size, layout.sizeof("p"), layout.sizeof("q")) == (20, 4, 12)


def test_a_field_behind_a_pointer_is_refused(vmlinux: bytes) -> None:
    """Fails when a path is continued in other memory, with an offset that means nothing."""
    task = Btf(vmlinux).find_struct("task_struct")
    with pytest.raises(BtfError, match=r"task_struct\.signal is a pointer to struct signal_struct"):
        task.offsetof("signal.nr_threads")
