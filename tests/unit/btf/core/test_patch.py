"""Instructions: what is written, what is refused, in both byte orders."""

from __future__ import annotations

import struct
from typing import Any, Literal

import pytest

from ebpf.btf.core import POISON, CoreKind, CoreResult, patch
from ebpf.errors import RelocationError

Order = Literal["little", "big"]
FORMAT = {"little": "<BBhi", "big": ">BBhi"}
ORDERS: list[Order] = ["little", "big"]
LOAD_WORD, LOAD_DOUBLE, LOAD_BYTE, STORE_WORD, MOVE, LDDW = 0x61, 0x79, 0x71, 0x63, 0xB7, 0x18


def slot(order: Order, opcode: int, registers: int = 0x12, offset: int = 0, imm: int = 0) -> bytes:
    return struct.pack(FORMAT[order], opcode, registers, offset, imm)


def result(order: Order = "little", **fields: Any) -> CoreResult:
    return CoreResult(CoreKind.FIELD_BYTE_OFFSET, order, **fields)


def patched(code: bytes, fields: CoreResult, at: int = 0) -> bytes:
    out = bytearray(code)
    assert patch(out, at, fields) is False
    return bytes(out)


@pytest.mark.parametrize("order", ORDERS)
def test_a_move_gets_the_value_and_keeps_the_rest(order: Order) -> None:
    """Fails when another field than the immediate changes, or another instruction."""
    code = slot(order, LOAD_BYTE) + slot(order, MOVE, 0x30, 5, 8)
    new = patched(code, result(order, value=300, original=8), 1)
    assert new == slot(order, LOAD_BYTE) + slot(order, MOVE, 0x30, 5, 300)


@pytest.mark.parametrize("order", ORDERS)
def test_a_load_gets_offset_and_size(order: Order) -> None:
    """Fails when a field that grew is still read in its old size."""
    fields = result(order, value=0x1234, original=8, original_size=4, size=8)
    assert patched(slot(order, LOAD_WORD, 0x21, 8), fields) == slot(
        order, LOAD_DOUBLE, 0x21, 0x1234
    )
    fields = result(order, value=3, original=8, original_size=4, size=1)
    assert patched(slot(order, LOAD_WORD, 0x21, 8), fields) == slot(order, LOAD_BYTE, 0x21, 3)


@pytest.mark.parametrize("order", ORDERS)
def test_lddw_gets_both_halves(order: Order) -> None:
    """Fails when the upper half goes elsewhere, or its sign is lost."""
    registers = 0x01 if order == "little" else 0x10
    code = slot(order, LDDW, registers, 0, -1) + slot(order, 0, 0, 0, 5)
    value = 0xFEDCBA98_76543210
    new = patched(code, result(order, value=value, original=0x5_FFFFFFFF))
    words = struct.unpack(FORMAT[order] * 1, new[:8])[3], struct.unpack(FORMAT[order], new[8:])[3]
    assert (words[0] & 0xFFFFFFFF, words[1] & 0xFFFFFFFF) == (0x76543210, 0xFEDCBA98)
    assert new[0] == LDDW


@pytest.mark.parametrize("order", ORDERS)
def test_poison_is_a_call_that_does_not_exist(order: Order) -> None:
    """Fails when a program could run on without the field it needs."""
    call = slot(order, 0x85, 0, 0, POISON)
    assert POISON == 195896080
    for code in (slot(order, LOAD_WORD), slot(order, 0x95), slot(order, MOVE)):
        out = bytearray(code + code)
        assert patch(out, 0, result(order, poison=True)) is True
        assert out == call + code
    out = bytearray(slot(order, LDDW) + slot(order, 0) + slot(order, MOVE))
    assert patch(out, 0, result(order, poison=True)) is True
    assert out == call + call + slot(order, MOVE)


def test_a_load_whose_size_cannot_change_is_poisoned_and_a_move_is_not() -> None:
    """Fails when a signed field is read in the wrong size, or when only its offset is refused."""
    fields = result(value=4, original=8, original_size=4, size=8, fail_memsz_adjust=True)
    out = bytearray(slot("little", LOAD_WORD, 0x21, 8))
    assert patch(out, 0, fields) is True
    assert out == slot("little", 0x85, 0, 0, POISON)
    assert patched(slot("little", MOVE, 1, 0, 8), fields) == slot("little", MOVE, 1, 0, 4)


REFUSED = {
    "old immediate": (MOVE, 0, 9, {"value": 1, "original": 8}, "holds 9"),
    "old offset": (LOAD_WORD, 9, 0, {"value": 1, "original": 8}, "holds 9"),
    "large offset": (LOAD_WORD, 8, 0, {"value": 0x8000, "original": 8}, "32768 does not fit"),
    "other size": (
        STORE_WORD,
        8,
        0,
        {"value": 1, "original": 8, "original_size": 8, "size": 4},
        "accesses 4 bytes of a field of 8",
    ),
    "odd size": (
        LOAD_WORD,
        8,
        0,
        {"value": 1, "original": 8, "original_size": 4, "size": 3},
        "has the 3 bytes",
    ),
    "register": (0xBF, 0, 0, {}, "has no immediate"),
    "jump": (0x05, 0, 0, {}, "cannot be relocated"),
    "packet load": (0x20, 0, 0, {}, "cannot be relocated"),
    "wide immediate": (MOVE, 0, 0, {"value": 1 << 40}, "does not fit the 32 bits"),
}


@pytest.mark.parametrize(
    ("opcode", "offset", "imm", "fields", "message"), REFUSED.values(), ids=REFUSED.keys()
)
def test_what_cannot_be_patched_is_refused_and_left_alone(
    opcode: int, offset: int, imm: int, fields: dict[str, int], message: str
) -> None:
    """Fails when a wrong program is loaded instead, or half a change stays behind."""
    code = bytearray(slot("little", opcode, 0x21, offset, imm) + slot("little", 0))
    before = bytes(code)
    with pytest.raises(RelocationError, match=message):
        patch(code, 0, result(**fields))
    assert code == before


def test_lddw_that_refers_to_a_map_is_refused() -> None:
    """Fails when a map's descriptor is overwritten with an offset."""
    code = bytearray(slot("little", LDDW, 0x11) + slot("little", 0))
    with pytest.raises(RelocationError, match="no plain number"):
        patch(code, 0, result())


@pytest.mark.parametrize("at", [-1, 1, 10**9])
def test_slots_outside_the_code_are_refused(at: int) -> None:
    """Fails when hostile instruction offsets raise struct.error, or change something."""
    with pytest.raises(RelocationError, match="instruction"):
        patch(bytearray(8), at, result())


def test_a_cut_lddw_is_refused_and_poisoned_within_the_code() -> None:
    """Fails when the second half is looked for behind the end."""
    code = bytearray(slot("little", LDDW, 1))
    with pytest.raises(RelocationError):
        patch(code, 0, result())
    assert patch(code, 0, result(poison=True)) is True
    assert len(code) == 8


def test_values_that_are_not_to_be_checked_are_not() -> None:
    """Fails when type ids, which linkers renumber, are compared with the instruction."""
    code = slot("little", MOVE, 1, 0, 77)
    assert patched(code, result(value=5, original=8, validate=False)) == slot(
        "little", MOVE, 1, 0, 5
    )
