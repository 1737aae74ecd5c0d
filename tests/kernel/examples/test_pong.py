"""The example that answers pings."""

from __future__ import annotations

import signal
import socket
import struct
import sys
from pathlib import Path

import pytest

from ebpf import XdpAction
from tests.kernel.examples.support import EXAMPLES, running
from tests.kernel.net.network import Network

sys.path.insert(0, str(EXAMPLES))
try:
    import pong
finally:
    sys.path.remove(str(EXAMPLES))


def checksum(data: bytes) -> int:
    """RFC 1071; 0 of what has a right checksum in it."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def echo(kind: int, number: int, text: bytes = b"pingpong") -> bytes:
    head = struct.pack("!BBHHH", kind, 0, 0, 77, number)
    return head[:2] + struct.pack("!H", checksum(head + text)) + head[4:] + text


def frame(data: bytes, *, options: bytes = b"", fragment: int = 0, damage: int = 0) -> bytes:
    """The last router has left it one more."""
    length = 20 + len(options)
    head = struct.pack("!BBHHHBBH", 0x40 | length // 4, 0, length + len(data), 1, fragment, 1, 1, 0)
    rest = bytes([10, 0, 0, 1, 10, 0, 0, 2]) + options
    total = struct.pack("!H", checksum(head + rest) ^ damage)
    return b"\2" * 6 + b"\3" * 6 + b"\x08\0" + head[:10] + total + rest + data


@pytest.mark.parametrize("number", [0, 1, 0x07FF, 0xFFFF])
def test_the_answer_is_made_of_the_request(number: int) -> None:
    """Whoever has pinged would drop the answer, for its addresses or its checksums."""
    with pong.spec().load() as objects:
        run = objects.programs["pong"].test_run(frame(echo(8, number)))
    assert run.return_value == XdpAction.TX
    answer = bytes(run.data or b"")
    assert answer[:14] == b"\3" * 6 + b"\2" * 6 + b"\x08\0"
    assert answer[26:34] == bytes([10, 0, 0, 2, 10, 0, 0, 1])
    assert checksum(answer[14:34]) == 0
    assert checksum(answer[34:]) == 0
    assert answer[34:] == echo(0, number)
    # With one it would end at the first router.
    assert answer[22] == 64


def test_the_kernel_gets_what_is_no_sound_request() -> None:
    """An answer to something else, or to a part of it; one without its options; or one to somebody
    who, by a damaged address, has not asked."""
    others = [
        frame(echo(13, 1)),
        frame(echo(8, 1), options=b"\1\1\1\0"),
        frame(echo(8, 1), fragment=0x2000),
        frame(echo(8, 1), damage=0x0100),
    ]
    with pong.spec().load() as objects:
        for other in others:
            run = objects.programs["pong"].test_run(other)
            assert run.return_value == XdpAction.PASS
            assert bytes(run.data or b"") == other


def test_pong_answers_where_the_kernel_does_not() -> None:
    """No answer would arrive, or be shown."""
    with Network() as network:
        silence = Path("/proc/sys/net/ipv4/icmp_echo_ignore_all")
        network.far.inside(lambda: silence.write_text("1"))
        raw = (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        options = ("far0", "--generic")

        def body() -> str:
            with (
                running("pong", *options, ready="tracing", stop=signal.SIGTERM) as output,
                network.near.socket(*raw) as pinging,
            ):
                for number in (1, 2):
                    pinging.sendto(echo(8, number), (network.far_address, 0))
                    answer, sender = pinging.recvfrom(1000)
                    assert answer[20:] == echo(0, number)
                    assert sender[0] == network.far_address
            return output.text

        shown = network.far.inside(body)
    assert shown.splitlines() == [f"{network.near_address} #1", f"{network.near_address} #2"]
