"""``Relocator``: the CO-RE relocations of one object against the types of one kernel."""

from __future__ import annotations

from collections.abc import Sequence

from ebpf.btf.btf import Btf
from ebpf.btf.core import explain as explanations
from ebpf.btf.core.candidates import candidates
from ebpf.btf.core.compat import Work, types_are_compat, types_match
from ebpf.btf.core.match import Mismatch, match_enumerator, match_field
from ebpf.btf.core.names import ENUM_KINDS, FIELD_KINDS, TYPE_KINDS, describe, essential_name
from ebpf.btf.core.patch import patch
from ebpf.btf.core.spec import Spec, parse
from ebpf.btf.core.values import CoreResult, compute
from ebpf.btf.ext import INSTRUCTION_SIZE, CoreKind, CoreRelocation, LineInfo
from ebpf.errors import BtfError, RelocationError
from ebpf.plain import NamedTuple

# What looking for a field in one candidate counts as.
_STEPS_PER_CANDIDATE = 8


class Candidate(NamedTuple):
    """A type of a target that has the essential name and the kind of a local type."""

    btf: Btf
    type_id: int


class Relocator:
    """Finds what the relocations of an object become, and writes it into the code.

    `local` is the object's BTF. `targets` are the kernel's BTF and after it those of its modules,
    which are searched where the kernel has no type of a name; the sequence is iterated only as far
    as that needs, so it may open them when asked. `described` is how messages call them.

    The rules are libbpf's. One of them has a memory: once some of several types of a name match a
    relocation, only they are considered for later relocations of the same local type. So relocate
    in the order of .BTF.ext to choose what libbpf chooses.

    Answers are kept, so that equal relocations cost one look-up.
    """

    def __init__(
        self, local: Btf, targets: Sequence[Btf], *, described: str = "the kernel's BTF"
    ) -> None:
        self.local = local
        self.described = described
        self._targets = targets
        self._candidates: dict[int, list[Candidate]] = {}
        self._results: dict[tuple[int, str, int], CoreResult] = {}
        self._work = Work()

    def resolve(self, relocation: CoreRelocation) -> CoreResult:
        """What becomes of the relocation's instruction.

        Raises RelocationError for a relocation that is malformed, of an anonymous type, or
        answered differently by several types of the target; and for malformed BTF.
        """
        _, type_id, access, kind, _ = relocation
        result = self._results.get((type_id, access, kind))
        if result is None:
            try:
                result = self._resolve(relocation)
            except (RelocationError, BtfError) as error:
                raise self._error(relocation, error) from error
            self._results[type_id, access, kind] = result
        return result

    def apply(self, code: bytearray, relocation: CoreRelocation, slot: int) -> CoreResult:
        """Resolves `relocation` and patches its instruction, at `slot` of `code`.

        Where the result is ``poison``, or a load or store could not be adjusted, the instruction
        is a call that the verifier refuses, and ``poison`` of the result says so; explain() tells
        why. Raises RelocationError.
        """
        result = self.resolve(relocation)
        try:
            poisoned = patch(code, slot, result)
        except RelocationError as error:
            raise self._error(relocation, error) from error
        if poisoned and not result.poison:
            result = _poisoned(result)
        return result

    def explain(
        self, relocation: CoreRelocation, program: str = "", line: LineInfo | None = None
    ) -> str:
        """Why the instruction of `relocation` is poisoned, in one sentence for the user.

        ``"struct task_struct has no field `foo.bar` in the kernel's BTF (needed by program p at
        file.c:12)"``. Raises RelocationError as resolve.
        """
        result = self.resolve(relocation)
        try:
            spec = parse(self.local, relocation)
            found = self._find(relocation.type_id)
            reason = explanations.reason(relocation.kind, spec, found, result, self.described)
            return reason + explanations.needed_by(program, line)
        except BtfError as error:
            raise self._error(relocation, error) from error

    def _resolve(self, relocation: CoreRelocation) -> CoreResult:
        kind = relocation.kind
        if kind not in FIELD_KINDS | TYPE_KINDS | ENUM_KINDS:
            raise RelocationError(f"its kind, {kind}, is unknown")
        local = parse(self.local, relocation)
        if kind == CoreKind.TYPE_ID_LOCAL:
            return compute(kind, local, None, self.local.byte_order)
        if not local.root_id or not self.local.type(local.root_id).name:
            raise RelocationError("an anonymous type cannot be found in the target")
        matches: list[tuple[Candidate, Spec, CoreResult]] = []
        for candidate in self._find(local.root_id):
            self._work.add(_STEPS_PER_CANDIDATE)
            spec = _match(kind, local, candidate, self._work)
            if spec is not None:
                result = compute(kind, local, spec, self.local.byte_order)
                matches.append((candidate, spec, result))
        if not matches:
            return compute(kind, local, None, self.local.byte_order)
        self._check_unambiguous(matches)
        self._candidates[local.root_id] = [candidate for candidate, _, _ in matches]
        return matches[0][2]

    def _find(self, type_id: int) -> list[Candidate]:
        """The candidates for a local type: those of the first target, or else of all others."""
        found = self._candidates.get(type_id)
        if found is not None:
            return found
        local = self.local.type(type_id)
        name = essential_name(local.name)
        found = []
        for number, target in enumerate(self._targets):
            if target.byte_order != self.local.byte_order:
                raise RelocationError(
                    f"the object is {self.local.byte_order}-endian, "
                    f"the target {target.byte_order}-endian"
                )
            ids = candidates(target, name, local.kind)
            self._work.add(len(ids))
            found += [Candidate(target, type_id) for type_id in ids]
            if found and number == 0:
                break
        self._candidates[type_id] = found
        return found

    def _check_unambiguous(self, matches: list[tuple[Candidate, Spec, CoreResult]]) -> None:
        _, first_spec, first = matches[0]
        if all(
            spec.bit_offset == first_spec.bit_offset
            and (result.poison, result.value) == (first.poison, first.value)
            for _, spec, result in matches[1:]
        ):
            return
        listed = ", ".join(
            f"{describe(candidate.btf.type(candidate.type_id))} (type {candidate.type_id}): "
            + (_bits(spec.bit_offset) if spec.accessors[1:] else str(result.value))
            for candidate, spec, result in matches
        )
        raise RelocationError(f"{self.described} has several types that differ in it: {listed}")

    def _error(self, relocation: CoreRelocation, error: Exception) -> RelocationError:
        where = f"instruction {relocation.insn_offset // INSTRUCTION_SIZE}"
        if relocation.section:
            where += f" of section {relocation.section}"
        what = f"{self._what(relocation)} ({_kind_name(relocation.kind)})"
        return RelocationError(f"CO-RE relocation of {what} at {where}: {error}")

    def _what(self, relocation: CoreRelocation) -> str:
        shown = f"access string {relocation.access_string[:80]!r}"
        try:
            name = describe(self.local.type(relocation.type_id))
        except BtfError:
            return f"type {relocation.type_id}, {shown}"
        try:
            path = parse(self.local, relocation).path() if relocation.kind in FIELD_KINDS else ""
        except (RelocationError, BtfError):
            return f"{name}, {shown}"
        return f"{name}.{path}" if path and not path.startswith("[") else name + path


def _match(kind: int, local: Spec, candidate: Candidate, work: Work) -> Spec | None:
    """The place in the type of `candidate` that answers to `local`, if there is one."""
    btf, type_id = candidate
    if kind in FIELD_KINDS:
        found = match_field(local, btf, type_id)
        return None if isinstance(found, Mismatch) else found
    if kind in ENUM_KINDS:
        found = match_enumerator(local, btf, type_id)
        return None if isinstance(found, Mismatch) else found
    same = types_match if kind == CoreKind.TYPE_MATCHES else types_are_compat
    return Spec(btf, type_id) if same(local.btf, local.root_id, btf, type_id, work) else None


def _poisoned(result: CoreResult) -> CoreResult:
    return CoreResult(
        result.kind,
        result.byte_order,
        original=result.original,
        validate=result.validate,
        poison=True,
        fail_memsz_adjust=True,
        original_size=result.original_size,
        size=result.size,
        target=result.target,
        target_id=result.target_id,
    )


def _bits(bit_offset: int) -> str:
    return f"bit {bit_offset}" if bit_offset % 8 else f"offset {bit_offset // 8}"


def _kind_name(kind: int) -> str:
    return CoreKind(kind).name if kind in CoreKind._value2member_map_ else f"kind {kind}"
