from __future__ import annotations

import pytest

from ebpf.asm import R6, R7, R8, R9, R10, Frame
from ebpf.errors import AsmError


def test_registers_are_given_out_in_order() -> None:
    """Nobody could tell from the program which register has what."""
    frame = Frame()
    assert [frame.register(name) for name in "abac"] == [R6, R7, R6, R8]
    assert frame.register("d") == R9
    with pytest.raises(AsmError, match=r"no register is left for 'e' \(R6 'a', R7 'b', .* slot"):
        frame.register("e")


def test_slots_are_aligned_and_do_not_overlap() -> None:
    """Two values would share their bytes, or the verifier refuse a misaligned access."""
    frame = Frame()
    sizes = {"byte": 1, "word": 4, "name": 16, "half": 2, "long": 8, "odd": 3}
    taken: set[int] = set()
    for name, size in sizes.items():
        place = frame.slot(name, size)
        assert place.base == R10
        assert place.offset % min(8, 1 << (size - 1).bit_length()) == 0
        new = set(range(place.offset, place.offset + size))
        assert not taken & new
        assert max(new) < 0
        taken |= new
        assert frame.slot(name, size) == place
    with pytest.raises(AsmError, match="slot 'byte' has 1 bytes, not 2"):
        frame.slot("byte", 2)


def test_the_stack_has_512_bytes() -> None:
    """A program that no kernel loads would be assembled."""
    frame = Frame()
    assert frame.slot("all but one", 504).offset == -504
    frame.slot("last")
    with pytest.raises(AsmError, match="slot 'more' of 1 bytes does not fit: 512 of the 512"):
        frame.slot("more", 1)
    with pytest.raises(AsmError, match=r"size must be in 1\.\.512"):
        frame.slot("none", 0)


@pytest.mark.parametrize("size", [*range(1, 18), 512])
def test_zero_writes_each_byte_once(size: int) -> None:
    """A helper would read bytes that were never written, or another slot be overwritten."""
    frame = Frame()
    place = frame.slot("value", size)
    written: list[int] = []
    for store in frame.zero("value"):
        width = {0x7A: 8, 0x62: 4, 0x6A: 2, 0x72: 1}[store.opcode]
        assert store.offset % width == 0
        written += range(store.offset, store.offset + width)
    assert written == list(range(place.offset, place.offset + size))
    with pytest.raises(AsmError, match="there is no slot 'other' yet"):
        frame.zero("other")
