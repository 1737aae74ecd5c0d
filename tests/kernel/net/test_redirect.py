"""Frames redirected by XDP: to another interface, another CPU, and to a socket in Python."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import select
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from ebpf import (
    BpfError,
    BpfFileNotFoundError,
    ClosedError,
    Collection,
    CollectionSpec,
    EbpfError,
    Interface,
    NotSupportedError,
    XskSocket,
)
from tests.kernel.net.network import LONG, PATIENCE, Chain, Network, one_cpu
from tests.kernel.samples import NO_TIMES, Forked, wait_until
from tests.objects import compiled


@pytest.fixture
def objects() -> Iterator[Collection]:
    with CollectionSpec.from_file(compiled("redirect")).load() as made:
        yield made


def receiver(network: Chain) -> socket.socket:
    made = network.end.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((network.far_address, 7777))
    return made


def put(objects: Collection, interface: Interface, program: int = 0) -> None:
    """Make `interface` the target of what is redirected to a device."""
    value = (interface.index, program)
    interface.inside(lambda: objects.maps["devices"].put(0, value))


def test_a_frame_leaves_by_another_interface(objects: Collection) -> None:
    """It goes to the stack of the interface that received it, or nowhere."""
    with Chain() as network:
        out = Interface("out0", netns=network.far)
        objects.programs["passes"].attach(interface=Interface("end0", netns=network.end))
        objects.programs["to_device"].attach(interface=Interface("far0", netns=network.far))
        put(objects, out)
        with receiver(network) as end, network.sender() as sender, one_cpu():
            target = end.getsockname()
            sender.sendto(b"redirected", target)
            assert end.recv(LONG) == b"redirected"
            # With a program that runs for what leaves there.
            put(objects, out, objects.programs["at_device"].fileno())
            sender.sendto(b"seen", target)
            assert end.recv(LONG) == b"seen"
            assert objects.variables["on_device"].value == 1
            assert objects.variables["device"].value == out.index
            objects.variables["drop"].value = 1
            sender.sendto(b"dropped", target)
            wait_until(lambda: objects.variables["on_device"].value == 2, "it has run again")
            objects.variables["drop"].value = 0
            sender.sendto(b"last", target)
            assert end.recv(LONG) == b"last"
        objects.programs["to_device"].close()


def test_a_frame_is_taken_on_by_another_cpu(objects: Collection, network: Network) -> None:
    """The program of the map's value does not run, or its verdict does not count."""
    objects.programs["to_cpu"].attach(interface=Interface("far0", netns=network.far))
    at = objects.programs["at_cpu"].fileno()
    objects.maps["processors"][0] = (192, at)
    network.deliver()
    assert objects.variables["on_cpu"].value == 1
    objects.variables["drop"].value = 1
    network.send()
    wait_until(lambda: objects.variables["on_cpu"].value == 2, "it has run again")
    objects.variables["drop"].value = 0
    with network.receiver() as receiver:
        network.send(b"last")
        assert receiver.recv(LONG) == b"last"


def payload(frame: bytes) -> bytes:
    """What is in a UDP datagram of IPv4, whose headers are checked by the way."""
    destination, source, kind = struct.unpack_from("!6s6sH", frame)
    assert (destination.hex(":"), source.hex(":")) == (
        Network.far_hardware,
        Network.near_hardware,
    )
    assert kind == 0x0800
    length = struct.unpack_from("!H", frame, 16)[0]
    assert frame[23] == socket.IPPROTO_UDP
    return frame[42 : 14 + length]


def some(xsk: XskSocket, most: int = 64) -> list[bytes]:
    """What the next frames carry, of which there is one at least."""
    frames = xsk.receive(most, timeout=PATIENCE)
    assert frames, f"nothing came: {xsk.statistics()}"
    return list(map(payload, frames))


def test_frames_reach_python(objects: Collection, network: Network) -> None:
    """They go to the stack, are cut off, or come in another order."""
    far = Interface("far0", netns=network.far)
    with XskSocket(far, frames=64, zero_copy=False) as xsk:
        objects.maps["sockets"][0] = xsk
        objects.programs["to_socket"].attach(interface=far)
        assert xsk.receive() == []
        sent = [bytes([n]) * (n + 1) for n in range(200)]
        got: list[bytes] = []
        with network.sender() as sender, one_cpu():
            for n, data in enumerate(sent):
                sender.sendto(data, (network.far_address, 7777))
                # Three times as many as the ring has: its places are used again.
                if n % 2:
                    got += some(xsk, 7)
        while len(got) < len(sent):
            got += some(xsk)
        assert got == sent
        assert xsk.statistics().rx_ring_full == 0
        # Without its place in the map, frames go to the stack again.
        del objects.maps["sockets"][0]
        network.deliver()


def test_a_full_ring_drops_and_counts(objects: Collection, network: Network) -> None:
    """What is lost is told by nobody, or what came before is overwritten."""
    far = Interface("far0", netns=network.far)
    with XskSocket(far, frames=4) as xsk:
        objects.maps["sockets"][0] = xsk
        objects.programs["to_socket"].attach(interface=far)
        with network.sender() as sender, one_cpu():
            for n in range(10):
                sender.sendto(bytes([n]), (network.far_address, 7777))

            def lost() -> int:
                counted = xsk.statistics()
                return counted.rx_ring_full + counted.rx_fill_ring_empty_descs + counted.rx_dropped

            wait_until(lambda: lost() >= 6, "six are lost")
        assert some(xsk) == [bytes([n]) for n in range(4)]
        network.send(b"after")
        assert some(xsk) == [b"after"]


def datagram(data: bytes, port: int) -> bytes:
    """A frame with a UDP datagram from "near0" to "far0", without a checksum of its own."""
    udp = struct.pack("!HHHH", 4000, port, 8 + len(data), 0) + data
    header = struct.pack(
        "!BBHHHBBH4s4s",
        *(0x45, 0, 20 + len(udp), 1, 0, 64, socket.IPPROTO_UDP, 0),
        socket.inet_aton(Network.near_address),
        socket.inet_aton(Network.far_address),
    )
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~(total + (total >> 16)) & 0xFFFF
    header = header[:10] + struct.pack("!H", checksum) + header[12:]
    hardware = bytes.fromhex((Network.far_hardware + Network.near_hardware).replace(":", ""))
    return hardware + b"\x08\x00" + header + udp


def test_python_sends_frames(network: Network) -> None:
    """A frame does not arrive, or not as it was given, or only as many as the ring has."""
    near = Interface("near0", netns=network.near)
    with network.receiver() as receiver, XskSocket(near, frames=8, zero_copy=False) as xsk:
        assert xsk.send(datagram(b"one", 7777)) == 1
        assert receiver.recv(LONG) == b"one"
        many = [f"frame {n}".encode() for n in range(40)]
        assert xsk.send([datagram(data, 7777) for data in many], timeout=PATIENCE) == 40
        assert [receiver.recv(LONG) for _ in many] == many
        with pytest.raises(ValueError, match=r"one has 5000 bytes; it may have 1 to 4096"):
            xsk.send([datagram(b"one", 7777), bytes(5000)])
        network.near.run("link", "set", "near0", "down")
        with pytest.raises(BpfError) as refused:
            xsk.send(datagram(b"down", 7777))
        assert refused.value.errno == errno.ENETDOWN


def test_what_was_refused_is_not_sent_later(network: Network) -> None:
    """A frame for which sending failed goes out all the same, as often as it was tried."""
    near = Interface("near0", netns=network.near)
    with network.receiver() as receiver, XskSocket(near, frames=8, zero_copy=False) as xsk:
        network.near.run("link", "set", "near0", "down")
        for _ in range(3):
            with pytest.raises(BpfError) as refused:
                xsk.send(datagram(b"refused", 7777))
            assert refused.value.errno == errno.ENETDOWN
        network.near.run("link", "set", "near0", "up")
        network._wait(network.near, "near0")
        assert xsk.send(datagram(b"after", 7777)) == 1
        assert receiver.recv(LONG) == b"after"


def test_frames_are_bytes(network: Network) -> None:
    """Of a memoryview of numbers the first few bytes go out; a number is so many zeros."""
    near = Interface("near0", netns=network.near)
    with network.receiver() as receiver, XskSocket(near, frames=8) as xsk:
        frame = datagram(b"numbers, in a row!", 7777)
        numbers = memoryview(frame).cast("I")
        assert xsk.send([numbers, bytearray(datagram(b"another", 7777))]) == 2
        assert [receiver.recv(LONG) for _ in range(2)] == [b"numbers, in a row!", b"another"]
        with pytest.raises(TypeError, match="bytes-like"):
            xsk.send([64])  # type: ignore[list-item]


@pytest.mark.parametrize("timeout", [0, PATIENCE, None])
def test_an_interface_that_vanishes(network: Network, timeout: float | None) -> None:
    """Whoever waits for frames waits for ever, or asks in vain."""
    with XskSocket(Interface("far0", netns=network.far)) as xsk, ThreadPoolExecutor(1) as thread:
        waits = thread.submit(lambda: xsk.receive(timeout=timeout)) if timeout != 0 else None
        if waits is not None:
            wait_until(lambda: xsk._waiting, "it waits")
        network.near.run("link", "delete", "near0")
        with pytest.raises(BpfFileNotFoundError, match=r"is gone from"):
            print(xsk.receive() if waits is None else waits.result())
        with pytest.raises(BpfFileNotFoundError, match=r"is gone from"):
            xsk.send(bytes(64))


def test_closing_wakes_who_waits(network: Network) -> None:
    """A thread waits for ever, and the queue stays taken."""
    far = Interface("far0", netns=network.far)
    with ThreadPoolExecutor(2) as threads:
        xsk = XskSocket(far)
        waits = [threads.submit(lambda: xsk.receive(timeout=None)) for _ in range(2)]
        wait_until(lambda: xsk._waiting == 2, "both wait")
        xsk.close()
        for one in waits:
            with pytest.raises(ClosedError):
                one.result(timeout=PATIENCE)
    assert xsk._left == xsk._closing == -1
    XskSocket(far).close()


def test_a_forked_child_takes_no_frames(objects: Collection, network: Network) -> None:
    """It gets zeros for what was the parent's, which gets nothing."""
    far = Interface("far0", netns=network.far)
    with XskSocket(far, frames=4) as xsk:
        objects.maps["sockets"][0] = xsk
        objects.programs["to_socket"].attach(interface=far)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                for use in (xsk.receive, lambda: xsk.send(bytes(64))):
                    with pytest.raises(EbpfError, match=f"is of process {os.getppid()}; open"):
                        use()
                xsk.close()
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        network.send(b"the parent's")
        assert some(xsk) == [b"the parent's"]


def keep_capabilities(*numbers: int) -> None:
    """Have this thread give all others away (capset(2), its third version)."""
    held = sum(1 << number for number in numbers)
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(held, held)
    assert ctypes.CDLL(None).capset(header, sets) == 0


def test_more_memory_than_may_be_locked(network: Network) -> None:
    """ENOBUFS is all that is told where systemd's limit of 8 MiB applies."""
    far = Interface("far0", netns=network.far)

    def limited(tell: Callable[[int], object]) -> None:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (1 << 20, 1 << 20))
        keep_capabilities(12, 13, 21)  # NET_ADMIN, NET_RAW, SYS_ADMIN: not IPC_LOCK.
        try:
            XskSocket(far).close()
        except BpfError as error:
            message = "takes 16384 KiB of locked memory, and RLIMIT_MEMLOCK is 1024 KiB"
            tell(int(message in str(error)))
        signal.pause()

    with Forked(limited) as child:
        assert child.told == 1


def test_a_socket_can_be_waited_for(objects: Collection, network: Network) -> None:
    """It is never ready, or always."""
    far = Interface("far0", netns=network.far)
    with XskSocket(far) as xsk:
        objects.maps["sockets"][0] = xsk
        objects.programs["to_socket"].attach(interface=far)
        assert select.select([xsk], [], [], 0)[0] == []
        network.send(b"wakes")
        assert select.select([xsk], [], [], PATIENCE)[0] == [xsk]
        assert some(xsk) == [b"wakes"]
        assert select.select([xsk], [], [], 0)[0] == []


def test_a_timeout_that_is_no_time(network: Network) -> None:
    """The error comes from a sum inside, behind which frames may have been sent."""
    with XskSocket(Interface("far0", netns=network.far)) as xsk:
        for timeout, error in NO_TIMES:
            with pytest.raises(error, match=r"^timeout: "):
                xsk.receive(timeout=timeout)
            with pytest.raises(error, match=r"^timeout: "):
                xsk.send(bytes(64), timeout=timeout)


def test_what_makes_no_socket(network: Network) -> None:
    """The kernel's numbers do not say which argument is wrong."""
    far = Interface("far0", netns=network.far)
    with pytest.raises(NotSupportedError, match=r"has no zero copy; zero_copy=False"):
        XskSocket(far, zero_copy=True)
    with pytest.raises(BpfError, match=r"far0 has no queue 99") as refused:
        XskSocket(far, 99)
    assert refused.value.errno == errno.EINVAL
    with XskSocket(far) as xsk:
        with pytest.raises(BpfError, match=r"another socket has this queue") as refused:
            XskSocket(far)
        assert refused.value.errno == errno.EBUSY
    with pytest.raises(ClosedError):
        xsk.receive()
    with pytest.raises(ClosedError):
        xsk.send(b"x")
    with pytest.raises(ValueError, match=r"frames: 100 is not a power of two"):
        XskSocket(far, frames=100)
    with pytest.raises(ValueError, match=r"frame_size: 3000 is not a power of two"):
        XskSocket(far, frame_size=3000)
    network.near.run("link", "delete", "near0")
    with pytest.raises(BpfFileNotFoundError, match=r"is gone from"):
        XskSocket(far)
