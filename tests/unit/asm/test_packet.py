"""Parsers of packets, without a kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ebpf import ProgramType
from ebpf.asm import R0, R1, R2, R6, R7, R8, packet
from ebpf.errors import AsmError


@pytest.mark.parametrize("parser", [packet.ethernet, packet.ipv4, packet.ipv6])
@pytest.mark.parametrize(
    ("protocol", "registers", "names"),
    [
        (R0, {}, "protocol and scratch are both R0"),
        (R8, {"header": R8}, "protocol and header are both R8"),
        (R6, {}, "protocol and cursor are both R6"),
        (R7, {}, "protocol and end are both R7"),
        (R2, {"scratch": R6}, "cursor and scratch are both R6"),
    ],
)
def test_no_register_has_two_parts(
    parser: Callable[..., Any], protocol: Any, registers: Any, names: str
) -> None:
    """Every packet would go to `otherwise`, or a header be lost, without a word."""
    with pytest.raises(AsmError, match=names):
        parser(protocol, R6, R7, "other", **registers)


def test_a_check_leaves_the_cursor_alone() -> None:
    """The cursor would be behind the bytes that were asked for."""
    with pytest.raises(AsmError, match="cursor and scratch are both R0"):
        packet.need(R0, R7, 20, "other")


def test_the_start_and_the_end_have_their_own_registers() -> None:
    """Every packet would be empty."""
    with pytest.raises(AsmError, match="cursor and end are both R6"):
        packet.start(ProgramType.XDP, R1, cursor=R6, end=R6)
