"""Attributes of netlink messages, as they go and as they come."""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("ebpf._ffi", reason="the extension is not built", exc_type=ImportError)

from ebpf import XdpMode
from ebpf.links.xdp import MODE_FLAGS
from ebpf.net.netlink import attributes, number, parse

NUMBERS = st.integers(0, 0x3FFF)


def test_an_attribute_is_laid_out_as_the_kernel_reads_it() -> None:
    """Length, number, content, and zeros up to the next multiple of four."""
    one = struct.pack("=HH5s3x", 9, 3, b"eth0\0")
    assert attributes({3: b"eth0\0"}) == one
    # NLA_F_NESTED, and the length with what is inside.
    assert attributes({7: {3: b"eth0\0"}}) == struct.pack("=HH", 4 + len(one), 7 | 0x8000) + one


@given(st.dictionaries(NUMBERS, st.binary(max_size=40)))
def test_attributes_are_read_back(values: dict[int, bytes]) -> None:
    """One is lost, or padding is taken for content."""
    assert parse(attributes(dict(values))) == values
    assert parse(parse(attributes({1: dict(values)}))[1]) == values


@given(st.binary(max_size=60))
def test_damaged_attributes_end(data: bytes) -> None:
    """A length of nothing is read for ever."""
    assert sum(map(len, parse(data).values())) <= len(data)


def test_numbers_have_the_byte_order_of_the_machine() -> None:
    """An id is another one, on machines of one kind."""
    assert number(struct.pack("=I", 0x01020304)) == 0x01020304
    assert number(b"\x07") == 7
    assert number(None) == 0


def test_modes_of_xdp_are_those_of_the_header() -> None:
    """A program is attached in another mode than is asked for, or reported in another."""
    include = Path(os.environ.get("EBPF_UAPI_INCLUDE", "/usr/include"))
    text = (include / "linux" / "if_link.h").read_text(encoding="utf-8")
    names = re.search(r"XDP_ATTACHED_NONE = 0,(.*?)}", text, re.DOTALL)
    assert names is not None
    words = [word.strip() for word in names[1].split(",") if word.strip()]
    assert words == [f"XDP_ATTACHED_{name}" for name in ("DRV", "SKB", "HW", "MULTI")]
    assert [XdpMode["DRV"], XdpMode["SKB"], XdpMode["HW"], XdpMode["MULTI"]] == [1, 2, 3, 4]
    for name in ("DRV", "SKB", "HW"):
        flag = re.search(rf"XDP_FLAGS_{name}_MODE\s+\(1U << (\d)\)", text)
        assert flag is not None
        assert MODE_FLAGS[XdpMode[name]] == 1 << int(flag[1])
