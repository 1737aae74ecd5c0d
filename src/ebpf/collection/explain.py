"""Why the verifier stopped at an instruction that this library had made unusable."""

from __future__ import annotations

from ebpf.btf.core import POISON
from ebpf.btf.ext import INSTRUCTION_SIZE, CoreRelocation
from ebpf.collection.image import POISON_KFUNC, POISON_MAP, Image
from ebpf.patterns import Pattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ebpf.btf.core import Relocator
    from ebpf.spec import CollectionSpec

_CALL = Pattern(r"(?m)^(\d+): \(85\)")
_UNKNOWN = Pattern(r"(?:invalid|unknown) func \S*?#(\d+)")


def explain(
    log: str,
    image: Image,
    relocator: Relocator | None,
    poisoned: Mapping[str, list[CoreRelocation]],
    spec: CollectionSpec,
    program: str,
) -> str:
    """A sentence for the user, or "" where the refusal has another reason."""
    unknown = _UNKNOWN.search(log)
    if unknown is None:
        return ""
    number = int(unknown[1])
    if number == POISON:
        calls = _CALL.findall(log[: unknown.start()])
        if not calls:
            return ""
        return _missing_type(int(calls[-1]), image, relocator, poisoned, spec, program)
    if POISON_KFUNC <= number < POISON_KFUNC + len(spec.externs):
        name = list(spec.externs)[number - POISON_KFUNC]
        return (
            f"the program calls the kfunc {name}, which this kernel does not have, without asking"
            f" first (bpf_ksym_exists({name}))"
        )
    if POISON_MAP <= number < POISON_MAP + len(spec.maps):
        name = list(spec.maps)[number - POISON_MAP]
        return f"the program uses the map {name!r}, which was not created (autocreate is off)"
    return ""


def _missing_type(
    slot: int,
    image: Image,
    relocator: Relocator | None,
    poisoned: Mapping[str, list[CoreRelocation]],
    spec: CollectionSpec,
    program: str,
) -> str:
    function, own_slot = image.locate(slot)
    # Names are not enough: linked objects may each have a static function of one name.
    key = next(key for key, one in spec.functions.items() if one is function)
    for relocation in poisoned.get(key, ()):
        if relocation.insn_offset // INSTRUCTION_SIZE == own_slot and relocator is not None:
            return relocator.explain(relocation, program)
    return ""
