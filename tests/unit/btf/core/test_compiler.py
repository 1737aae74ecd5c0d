"""What the compiler wrote into the instructions for its own layout, in both byte orders."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from ebpf.btf.core import CoreKind, Relocator
from ebpf.errors import RelocationError

from .support import LDDW, SOURCES, compile_c

OFFSET, SIZE = CoreKind.FIELD_BYTE_OFFSET, CoreKind.FIELD_BYTE_SIZE
LEFT, RIGHT = CoreKind.FIELD_LSHIFT_U64, CoreKind.FIELD_RSHIFT_U64
# clang writes the number that a type had before all were known, and 1 for every match.
INDEPENDENT = {CoreKind.TYPE_ID_TARGET, CoreKind.TYPE_ID_LOCAL, CoreKind.TYPE_MATCHES}

Values = dict[int, int]


def immediate(slots: bytes, order: str) -> int | None:
    """The number in a move or lddw, None for loads and stores."""
    if slots[0] & 7 in (1, 2, 3):
        return None
    (low,) = struct.unpack_from(order + "i", slots, 4)
    if slots[0] != LDDW:
        return int(low) & 0xFFFFFFFFFFFFFFFF
    (high,) = struct.unpack_from(order + "i", slots, 12)
    return (int(high) << 32 | int(low) & 0xFFFFFFFF) & 0xFFFFFFFFFFFFFFFF


def bit(values: Values, target: str) -> int:
    """Where the bits begin (bpfeb) or end (bpfel) that these loads and shifts select."""
    if target == "bpfeb":
        return 8 * values[OFFSET] + values[LEFT] - 8 * (8 - values[SIZE])
    return 8 * values[OFFSET] + 64 - values[LEFT]


@pytest.mark.parametrize("target", ["bpfel", "bpfeb"])
def test_against_its_own_types_code_has_what_clang_wrote(
    target: str, clang: str, tmp_path: Path
) -> None:
    """Fails when offset, size, sign, shift or enumerator differs from clang's, which may load more
    bytes for a bitfield, yet selects the same bits."""
    compiled = compile_c(clang, SOURCES / "core_local.bpf.c", tmp_path / "local.o", target)
    relocator = Relocator(compiled.btf, [compiled.btf])
    fields: dict[tuple[int, str], tuple[Values, Values]] = {}
    compared, refused = 0, 0
    for relocation, slots in compiled.questions():
        written = immediate(slots, "<" if target == "bpfel" else ">")
        try:
            result = relocator.resolve(relocation)
        except RelocationError:
            refused += 1
            continue
        if written is None or relocation.kind in INDEPENDENT:
            continue
        clangs, own = fields.setdefault((relocation.type_id, relocation.access_string), ({}, {}))
        clangs[relocation.kind], own[relocation.kind] = written, result.value
        # 0xffffffff of an unsigned enum: libbpf takes it as -1, clang does not.
        if result.validate and written != 0xFFFFFFFF:
            assert result.value == result.original == written, relocation
            compared += 1
    assert compared > 150
    # An index outside its array, and an enumerator of which two flavours say different values.
    assert refused == 2
    complete = [pair for pair in fields.values() if {OFFSET, SIZE, LEFT, RIGHT} <= set(pair[0])]
    assert len(complete) > 12
    for clangs, own in complete:
        assert bit(own, target) == bit(clangs, target)
        assert own[RIGHT] == clangs[RIGHT]
    assert any(clangs[SIZE] != own[SIZE] for clangs, own in complete)
