"""Hostile input: whatever the bytes are, there is an answer or a BtfError, and soon."""

from __future__ import annotations

import contextlib
import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from ebpf.btf import Btf
from ebpf.btf import types as t
from ebpf.errors import BtfError

from .test_fields import OFFSETS, sample_blob
from .test_raw import with_every_kind

SAMPLES = [
    with_every_kind("<").build(),
    with_every_kind(">").build(),
    with_every_kind("<").build(32, bytes(4) * 30),
    sample_blob().build(),
]
WORDS = st.sampled_from([0, 1, 2, 0x7F, 0xFFFF, 0xFFFFFF, 0x7FFFFFFF, 0x84000003, 0xFFFFFFFF])


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A sample with some bytes or words overwritten, and perhaps cut or continued."""
    data = bytearray(draw(st.sampled_from(SAMPLES)))
    for _ in range(draw(st.integers(0, 4))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    for _ in range(draw(st.integers(0, 4))):
        at = 4 * draw(st.integers(0, len(data) // 4 - 1))
        data[at : at + 4] = draw(WORDS).to_bytes(4, draw(st.sampled_from(["little", "big"])))
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


def use(data: bytes) -> Btf | None:
    """Everything that can be asked of `data`; only BtfError is let pass."""
    try:
        btf = Btf(data)
    except BtfError:
        return None
    for type_id in range(btf.start_id, btf.end_id):
        with contextlib.suppress(BtfError):
            type = btf.type(type_id)
            assert type.id == type_id
            if type.name:
                found = btf.find_all(type.name, None if isinstance(type, t.Unknown) else type.kind)
                assert type in found
        with contextlib.suppress(BtfError):
            assert 0 <= btf.sizeof(type_id) < 1 << 32
        for path in OFFSETS:
            with contextlib.suppress(BtfError):
                btf.layout(type_id).offsetof(path)
    return btf


@settings(max_examples=600, deadline=None)
@given(mutated())
def test_mutated_btf_gives_answers_or_a_btf_error(data: bytes) -> None:
    """Fails when malformed BTF raises anything else, or is followed for ever."""
    use(data)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["little", "big"]))
def test_any_types_and_strings_give_answers_or_a_btf_error(rest: bytes, order: str) -> None:
    """Fails as above, for bytes that no compiler wrote behind a correct header."""
    middle = len(rest) // 2 // 4 * 4
    short = struct.Struct("<HBBIIIII" if order == "little" else ">HBBIIIII")
    header = short.pack(0xEB9F, 1, 0, 24, 0, middle, middle, len(rest) + 2 - middle)
    use(header + rest[:middle] + b"\0" + rest[middle:] + b"\0")


def test_the_samples_are_well_formed() -> None:
    """Fails when the mutations start from something that is refused anyway."""
    for data in SAMPLES:
        btf = use(data)
        assert btf is not None
        assert len([btf.type(i) for i in range(1, btf.end_id)]) >= 10
