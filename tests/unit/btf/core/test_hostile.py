"""Types made to mislead: an answer or a FormatError, and soon."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebpf.btf import Btf
from ebpf.btf.core import CoreKind, CoreRelocation, Relocator, patch
from ebpf.errors import BtfError, RelocationError

from ..blob import Blob
from .support import Compiled

WORDS = st.sampled_from([0, 1, 2, 3, 5, 40, 0x7F, 0xFFFF, 0x7FFFFFFF, 0x84000003, 0xFFFFFFFF])


def mutate(data: bytes, draw: st.DrawFn) -> bytes:
    """`data` with some words of its types replaced."""
    changed = bytearray(data)
    (length,) = struct.unpack_from("<I", data, 12)
    for _ in range(draw(st.integers(0, 8))):
        at = 24 + 4 * draw(st.integers(0, length // 4 - 1))
        changed[at : at + 4] = struct.pack("<I", draw(WORDS | st.integers(0, 0xFFFFFFFF)))
    return bytes(changed)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_mutated_types_give_results_or_a_relocation_error(
    data: st.DataObject, local: Compiled, target: Compiled
) -> None:
    """Fails when malformed BTF on either side raises anything else, or is followed for ever."""
    try:
        mine = Btf(mutate(local.data, data.draw))
        theirs = Btf(mutate(target.data, data.draw))
    except BtfError:
        return
    relocator = Relocator(mine, [theirs])
    for relocation, slots in local.questions():
        code = bytearray(slots)
        try:
            patch(code, 0, relocator.resolve(relocation))
            relocator.explain(relocation)
        except RelocationError:
            continue


@settings(max_examples=300, deadline=None)
@given(
    type_id=st.integers(0, 120),
    access=st.text("0123456789: -x\n", max_size=12) | st.text(max_size=8),
    kind=st.integers(0, 14),
)
def test_any_access_string_gives_a_result_or_a_relocation_error(
    type_id: int, access: str, kind: int, local: Compiled, target: Compiled
) -> None:
    """Fails when a hostile access string raises anything else."""
    with contextlib.suppress(RelocationError):
        Relocator(local.btf, [target.btf]).resolve(CoreRelocation(0, type_id, access, kind))


def fan(kind: str, depth: int) -> Btf:
    """Types that each refer twice to the next: 2**depth ways lead to the last."""
    made = Blob()
    number = made.integer()
    type_id = number
    for level in range(depth):
        name = "s" if level == depth - 1 else f"s{level}"
        if kind == "struct":
            type_id = made.struct(name, 8, ("a", type_id, 0), ("b", type_id, 0))
        elif kind == "anonymous":
            type_id = made.struct(
                name if name == "s" else "", 8, ("", type_id, 0), ("", type_id, 0)
            )
        else:
            proto = made.add("FUNC_PROTO", "", number, 0, type_id, 0, type_id, vlen=2)
            type_id = made.add("PTR", "", proto)
    if kind == "signature":
        made.add("TYPEDEF", "s", type_id)
    return Btf(made.build())


@pytest.mark.parametrize("kind", ["struct", "signature"])
@pytest.mark.parametrize("question", [CoreKind.TYPE_MATCHES, CoreKind.TYPE_EXISTS])
def test_types_that_are_compared_in_many_ways_are_compared_once(
    kind: str, question: CoreKind
) -> None:
    """Fails when each way is followed anew: this would take longer than anybody waits."""
    btf = fan(kind, 31)
    result = Relocator(btf, [btf]).resolve(CoreRelocation(0, btf.end_id - 1, "0", question))
    assert result.value == 1


@pytest.mark.parametrize("kind", ["struct", "signature"])
def test_types_nested_too_deeply_are_refused(kind: str) -> None:
    """Fails when hostile types exhaust Python's stack."""
    btf = fan(kind, 2000)
    with pytest.raises(RelocationError, match=r"nested more than 32 deep|more than 32 types"):
        Relocator(btf, [btf]).resolve(CoreRelocation(0, btf.end_id - 1, "0", CoreKind.TYPE_MATCHES))


def test_anonymous_members_are_searched_once_per_type() -> None:
    """Fails when the search for a field takes every way through anonymous structs."""
    btf = fan("anonymous", 1000)
    mine = Blob()
    mine.struct("s", 4, ("x", mine.integer(), 0))
    result = Relocator(Btf(mine.build()), [btf]).resolve(
        CoreRelocation(0, 2, "0:0", CoreKind.FIELD_EXISTS)
    )
    assert result.value == 0


def test_a_struct_that_holds_itself_is_searched_once() -> None:
    """Fails when a circle of anonymous members is followed for ever."""
    made = Blob()
    number = made.integer()
    made.struct("s", 8, ("", 2, 0), ("", 2, 0), ("x", number, 32))
    btf = Btf(made.build())
    relocation = CoreRelocation(0, 2, "0:2", CoreKind.FIELD_BYTE_OFFSET)
    assert Relocator(btf, [btf]).resolve(relocation).value == 4


def test_arrays_of_themselves_are_refused() -> None:
    """Fails when a circle of array types is followed for ever."""
    made = Blob()
    made.array(1, 1)
    made.struct("s", 8, ("a", 1, 0))
    btf = Btf(made.build())
    with pytest.raises(RelocationError):
        Relocator(btf, [btf]).resolve(CoreRelocation(0, 2, "0:0", CoreKind.FIELD_BYTE_OFFSET))


def test_comparing_huge_types_is_given_up() -> None:
    """Fails when two structs of many unnamed members are compared all with all."""
    made = Blob()
    number = made.integer()
    pointer = made.add("PTR", "", number)
    made.struct("s", 8, *[("", number, 0)] * 3000)
    mine = Btf(made.build())
    made = Blob()
    number = made.integer()
    pointer = made.add("PTR", "", number)
    made.struct("s", 8, *[("", pointer, 0)] * 3000, ("", number, 0))
    theirs = Btf(made.build())
    with pytest.raises(RelocationError, match="too complex"):
        Relocator(mine, [theirs]).resolve(CoreRelocation(0, 3, "0", CoreKind.TYPE_MATCHES))
