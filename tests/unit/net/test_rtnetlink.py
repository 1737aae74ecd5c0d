"""Which qdiscs and classes the kernel is asked about."""

from __future__ import annotations

import struct
from typing import Any, cast

import pytest

pytest.importorskip("ebpf._ffi", reason="the extension is not built", exc_type=ImportError)

from ebpf.net.netlink import Netlink, attributes
from ebpf.net.rtnetlink import other_filters

GETQDISC, GETTCLASS, GETTFILTER = 38, 42, 46
ROOT, INGRESS = 0xFFFFFFFF, 0xFFFFFFF1
KIND, OPTIONS, BPF_ID = 1, 2, 11


def row(index: int, handle: int, parent: int, kind: bytes, program: int = 0) -> bytes:
    """A struct tcmsg and its attributes."""
    found: dict[int, Any] = {KIND: kind + b"\0"}
    if program:
        found[OPTIONS] = {BPF_ID: struct.pack("=I", program)}
    return struct.pack("=BxxxiIII", 0, index, handle, parent, 0) + attributes(found)


class Kernel:
    """Answers as Linux does where the root qdisc, made by itself, has no number."""

    def dump(self, kind: int, body: bytes, action: str) -> list[bytes]:
        if kind == GETQDISC:
            return [
                row(2, 0, ROOT, b"fq_codel"),
                row(2, 0, 0x10001, b"fq_codel"),
                row(2, 0xFFFF0000, INGRESS, b"clsact"),
                row(3, 0x20000, ROOT, b"htb"),
            ]
        if kind == GETTCLASS:
            return [row(2, 0x101F, ROOT, b"htb")]
        assert kind == GETTFILTER
        _, index, _, parent, _ = struct.unpack_from("=BxxxiIII", body)
        assert index == 2
        return [row(2, 1, parent, b"bpf", 70 + parent)]


def test_a_root_without_a_number_is_asked_and_no_other_is() -> None:
    """What `tc filter add dev eth0 bpf` makes is left out, or the root's filters are told for each
    qdisc that has no number."""
    rows = other_filters(cast("Netlink", Kernel()), 2, "eth0")
    assert [(one.qdisc, one.parent, one.program_id) for one in rows] == [
        ("fq_codel", "0:", 70),
        ("htb", "0:101f", 70 + 0x101F),
    ]
