"""Packets that programs change: their checksums are those that Python sums up anew."""

from __future__ import annotations

import errno
import itertools
import socket
import struct
import sys

import pytest

from ebpf import AsmError, BpfError, Program, ProgramType
from ebpf.asm import (
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
    Label,
    exit_,
    jslt,
    lddw,
    ldxh,
    ldxw,
    mov,
    packet,
    stxdw,
    stxh,
    stxw,
)
from ebpf.types import TestRunFlags

OLD4, NEW4 = socket.inet_aton("10.0.0.1"), socket.inet_aton("203.0.113.254")
PEER4 = socket.inet_aton("10.0.0.2")
OLD6 = socket.inet_pton(socket.AF_INET6, "2001:db8::1")
NEW6 = socket.inet_pton(socket.AF_INET6, "2001:db8:ffff:abcd::42")
PEER6 = socket.inet_pton(socket.AF_INET6, "2001:db8::2")
OLD_PORT, NEW_PORT = 0x3039, 0xF00D
TCP, UDP = 6, 17
# In an IPv4 packet without options, from the frame's start.
ADDRESS, IP_CHECK, PORT = 14 + 12, 14 + 10, 14 + 20
CHECKS = {TCP: PORT + 16, UDP: PORT + 6}


def internet(data: bytes) -> int:
    """RFC 1071, as its section 4.1 has it."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def segment(protocol: int, port: int, text: bytes, source: bytes, peer: bytes) -> bytes:
    """A TCP or UDP packet with its checksum, over IPv4 or IPv6 by the addresses' length."""
    size = (8 if protocol == UDP else 20) + len(text)
    if protocol == UDP:
        head, rest = struct.pack("!HHH", port, 80, size), b""
    else:
        head, rest = struct.pack("!HHIIHH", port, 80, 1, 2, 0x5018, 512), b"\0\0"
    number = "!HH" if len(source) == 4 else "!II"
    # The fields of the pseudo header in another order than RFC 768's, of the same sum.
    summed = source + peer + struct.pack(number, protocol, size) + head + b"\0\0" + rest + text
    check = internet(summed) or 0xFFFF * (protocol == UDP)
    return head + check.to_bytes(2, "big") + rest + text


def frame4(
    protocol: int, source: bytes, port: int, text: bytes = b"odd", *, unsummed: bool = False
) -> bytes:
    inner = segment(protocol, port, text, source, PEER4)
    if unsummed:
        inner = inner[:6] + b"\0\0" + inner[8:]
    start = struct.pack("!BBHHHBB", 0x45, 0, 20 + len(inner), 7, 0x4000, 64, protocol)
    check = internet(start + b"\0\0" + source + PEER4).to_bytes(2, "big")
    return bytes(12) + b"\x08\x00" + start + check + source + PEER4 + inner


def frame6(source: bytes, port: int, text: bytes = b"odd") -> bytes:
    inner = segment(UDP, port, text, source, PEER6)
    start = struct.pack("!IHBB", 6 << 28, len(inner), UDP, 64)
    return bytes(12) + b"\x86\xdd" + start + source + PEER6 + inner


def raw(data: bytes) -> int:
    """What a load from the packet has in a register."""
    return int.from_bytes(data, sys.byteorder)


def rewritten(code: object, frame: bytes, flags: int = 0) -> bytes:
    """The frame after a TC program, whose R9 is the context; R0 at its end is not negative."""
    whole = [mov(R9, R1), code, jslt(R0, 0, "wrong"), mov(R0, 0), exit_()]
    whole += [Label("wrong"), mov(R0, 1), exit_()]
    with Program.load(ProgramType.SCHED_CLS, whole) as program:
        run = program.test_run(frame, flags=flags)
    assert run.return_value == 0
    assert run.data is not None
    return bytes(run.data)


def translated(protocol: int) -> list[object]:
    """As a NAT does it: another source address and port of a packet over IPv4."""
    check, udp = CHECKS[protocol], protocol == UDP
    old, new = raw(OLD4), raw(NEW4)
    port = raw(NEW_PORT.to_bytes(2, "big"))
    worked = jslt(R0, 0, "wrong")
    return [
        packet.replace_l4_checksum(R9, check, old, new, 4, pseudo=True, udp=udp), worked,
        packet.replace_l3_checksum(R9, IP_CHECK, old, new, 4), worked,
        lddw(R2, new), stxw(R10 - 4, R2),
        packet.store_bytes(R9, ADDRESS, R10 - 4, 4), worked,
        mov(R6, raw(OLD_PORT.to_bytes(2, "big"))), mov(R7, port),
        packet.replace_l4_checksum(R9, check, R6, R7, udp=udp), worked,
        stxh(R10 - 4, R7),
        packet.store_bytes(R9, PORT, R10 - 4, 2, invalidate_hash=True), worked,
    ]  # fmt: skip


@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_a_translated_packet(protocol: int) -> None:
    """Whoever gets the packet drops it."""
    before = frame4(protocol, OLD4, OLD_PORT)
    after = frame4(protocol, NEW4, NEW_PORT)
    assert rewritten(translated(protocol), before) == after


def test_the_kernels_own_sum_stays_right() -> None:
    """The sum that a card has taken would no longer be that of the packet: the kernel drops it."""
    flags = TestRunFlags.SKB_CHECKSUM_COMPLETE
    before = frame4(TCP, OLD4, OLD_PORT)
    after = frame4(TCP, NEW4, NEW_PORT)
    assert rewritten(translated(TCP), before, flags) == after
    write = [lddw(R2, raw(b"text")), stxw(R10 - 8, R2)]
    end = len(before) - 4
    text = before[:-4] + b"text"
    recomputed = packet.store_bytes(R9, end, R10 - 8, 4, recompute=True)
    assert rewritten([write, recomputed], before, flags) == text
    with pytest.raises(BpfError) as refused:
        rewritten([write, packet.store_bytes(R9, end, R10 - 8, 4)], before, flags)
    assert refused.value.errno == errno.EBADMSG


def test_a_udp_packet_without_checksum_stays_without() -> None:
    """A checksum would appear that was never summed up."""
    before = frame4(UDP, OLD4, OLD_PORT, unsummed=True)
    after = frame4(UDP, NEW4, NEW_PORT, unsummed=True)
    assert rewritten(translated(UDP), before) == after


def test_a_difference_of_many_bytes() -> None:
    """An IPv6 address is longer than what the helpers take as numbers."""
    check = 14 + 40 + 6
    code = [
        # The address in the packet, and the new one on the stack.
        packet.pull(R9, 14 + 40 + 8), jslt(R0, 0, "wrong"),
        packet.start(ProgramType.SCHED_CLS, R9, cursor=R6, end=R7),
        packet.need(R6, R7, 14 + 40 + 8, "wrong"),
        [[lddw(R2, raw(NEW6[at:at + 8])), stxdw(R10 - 16 + at, R2)] for at in (0, 8)],
        packet.checksum_diff(R8, R6 + 14 + 8, R10 - 16, 16),
        packet.replace_l4_checksum(R9, check, 0, R8, 0, pseudo=True, udp=True),
        jslt(R0, 0, "wrong"),
        packet.store_bytes(R9, 14 + 8, R10 - 16, 16),
    ]  # fmt: skip
    before, after = frame6(OLD6, OLD_PORT), frame6(NEW6, OLD_PORT)
    assert rewritten(code, before) == after


def test_the_checksum_of_a_header_by_a_difference() -> None:
    """An IPv4 header would be dropped by the next router."""
    old, new = raw(OLD4), raw(NEW4)
    code = [
        lddw(R2, old), stxw(R10 - 8, R2), lddw(R2, new), stxw(R10 - 4, R2),
        packet.checksum_diff(R8, R10 - 8, R10 - 4, 4),
        packet.replace_l3_checksum(R9, IP_CHECK, 0, R8, 0), jslt(R0, 0, "wrong"),
        packet.store_bytes(R9, ADDRESS, R10 - 4, 4),
    ]  # fmt: skip
    before = frame4(TCP, OLD4, OLD_PORT)
    after = frame4(TCP, NEW4, OLD_PORT)
    # Up to the checksum of TCP, which was left as it is.
    assert rewritten(code, before)[: PORT + 16] == after[: PORT + 16]


def test_a_packet_that_is_too_short() -> None:
    """A program would go on as if the packet had been changed."""
    frame = frame4(TCP, OLD4, OLD_PORT)
    for code in (
        packet.store_bytes(R9, len(frame) - 1, R10 - 8, 2),
        packet.replace_l3_checksum(R9, len(frame), 1, 2),
        packet.replace_l4_checksum(R9, len(frame), 1, 2),
    ):
        zeros = [mov(R2, 0), stxdw(R10 - 8, R2)]
        failed = [jslt(R0, 0, "right"), mov(R0, 1), exit_(), Label("right")]
        whole = [mov(R9, R1), zeros, code, failed, mov(R0, 0), exit_()]
        with Program.load(ProgramType.SCHED_CLS, whole) as program:
            assert program.test_run(frame).return_value == 0


def at_the_driver(*, udp: bool) -> list[object]:
    """The same translation in XDP, which has no helpers for it but csum_diff."""
    check = CHECKS[UDP if udp else TCP]
    return [
        packet.start(ProgramType.XDP, R1, cursor=R6, end=R7),
        packet.need(R6, R7, 14 + 20 + 20 if not udp else 14 + 20 + 8, "short"),
        # Both versions side by side on the stack: four bytes of address, two of the port.
        ldxw(R2, R6 + ADDRESS), stxdw(R10 - 16, R2), ldxh(R2, R6 + PORT), stxw(R10 - 12, R2),
        lddw(R2, raw(NEW4)), stxdw(R10 - 8, R2),
        mov(R2, raw(NEW_PORT.to_bytes(2, "big"))), stxw(R10 - 4, R2),
        packet.checksum_diff(R8, R10 - 16, R10 - 8, 4),
        packet.update_checksum_by(R6 + IP_CHECK, R8),
        packet.checksum_diff(R8, R10 - 12, R10 - 4, 4, seed=R8),
        packet.update_checksum_by(R6 + check, R8, R4, R5, udp=udp),
        ldxw(R2, R10 - 8), stxw(R6 + ADDRESS, R2), ldxh(R2, R10 - 4), stxh(R6 + PORT, R2),
        mov(R0, 2), exit_(),
        Label("short"), mov(R0, 1), exit_(),
    ]  # fmt: skip


@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_a_packet_that_is_translated_at_the_driver(protocol: int) -> None:
    """Two changes would be taken for one, or carries be lost between them."""
    with Program.load(ProgramType.XDP, at_the_driver(udp=protocol == UDP)) as program:
        for text in (b"", b"odd", bytes(100), b"\xff" * 64):
            run = program.test_run(frame4(protocol, OLD4, OLD_PORT, text))
            assert run.return_value == 2
            assert run.data == frame4(protocol, NEW4, NEW_PORT, text)
        if protocol == UDP:
            run = program.test_run(frame4(UDP, OLD4, OLD_PORT, unsummed=True))
            assert run.data == frame4(UDP, NEW4, NEW_PORT, unsummed=True)


def test_a_sum_of_udp_that_comes_out_as_nothing() -> None:
    """0 would say that there is no checksum at all."""

    def nothing(source: bytes, port: int) -> bytes:
        """A text with which the checksum would be 0."""
        for number in itertools.count():
            text = struct.pack("!H", number)
            if segment(UDP, port, text, source, PEER4)[6:8] == b"\xff\xff":
                return text
        raise AssertionError

    text = nothing(NEW4, NEW_PORT)
    with Program.load(ProgramType.XDP, at_the_driver(udp=True)) as program:
        run = program.test_run(frame4(UDP, OLD4, OLD_PORT, text))
        assert run.data == frame4(UDP, NEW4, NEW_PORT, text)
        # And 0xffff, the same sum, becomes what it has to become.
        text = nothing(OLD4, OLD_PORT)
        run = program.test_run(frame4(UDP, OLD4, OLD_PORT, text))
        assert run.data == frame4(UDP, NEW4, NEW_PORT, text)


@pytest.mark.parametrize("added", [True, False])
def test_bytes_that_are_only_added_or_taken_away(added: bool) -> None:
    """They would count for their opposite."""
    words = (0x1234, 0xFFFF, 0x8001, 7)
    stored = [[mov(R2, word), stxh(R10 - 16 + 2 * n, R2)] for n, word in enumerate(words)]
    place = R10 - 16
    old, new = (None, place) if added else (place, None)
    code = [
        stored, mov(R2, 0x4321), stxh(R10 - 2, R2),
        packet.checksum_diff(R8, old, new, 8),
        packet.update_checksum_by(R10 - 2, R8),
        ldxh(R0, R10 - 2), exit_(),
    ]  # fmt: skip
    total = 0xFFFF - 0x4321 + sum(word if added else 0xFFFF - word for word in words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    with Program.load(ProgramType.XDP, code) as program:
        assert program.test_run(bytes(64)).return_value == 0xFFFF - total


def test_mistakes_are_told_where_they_are_made() -> None:
    """The kernel would answer EINVAL when the program runs, or the verifier name a register."""
    with pytest.raises(AsmError, match="old, new or both"):
        packet.checksum_diff(R0, None, None, 4)
    with pytest.raises(AsmError, match="multiple of 4"):
        packet.checksum_diff(R0, R10 - 8, R10 - 16, 6)
    with pytest.raises(AsmError, match=r"4\.\.256"):
        packet.checksum_diff(R0, R6, R7, 260)
    with pytest.raises(AsmError, match="different registers"):
        packet.update_checksum_by(R6 + 2, R0)
    with pytest.raises(AsmError, match="size must be 2 or 4, or 0"):
        packet.replace_l3_checksum(R1, 24, R2, R3, 8)
    with pytest.raises(AsmError, match="old must be 0"):
        packet.replace_l4_checksum(R1, 24, R2, R3, 0)
    with pytest.raises(AsmError, match="change places"):
        packet.replace_l3_checksum(R2, R1, R3, R4)
