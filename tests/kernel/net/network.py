"""Two network namespaces with a pair of interfaces between them, and packets that go through.

The namespaces have no names: the kernel removes them, and the interfaces in them, with the last
descriptor, so that a killed process leaves none.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tests.kernel.samples import wait_until

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000
_SO_NO_CHECK = 11
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 0x1
_ETH_P_ALL, _PACKET_OUTGOING = 3, 4
_libc = ctypes.CDLL(None, use_errno=True)

# How long a packet may take that is to arrive; what is not to arrive is not waited for.
PATIENCE = 60.0


# Packets with so much in them are not what the tests are about.
LONG = 400


@contextmanager
def one_cpu() -> Iterator[None]:
    """Keeps this thread on a CPU: what is sent from two may arrive in another order."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def in_thread(function: Callable[[], T]) -> T:
    """What `function` returns in a thread of its own, whose namespace it may change."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(function())
        except BaseException as error:  # noqa: BLE001 raised below
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    (result,) = outcome
    if isinstance(result, BaseException):
        raise result
    return result  # type: ignore[no-any-return]


class Namespace:
    """A network namespace, as a descriptor of it."""

    def __init__(self) -> None:
        self._fd = in_thread(self._made)

    @staticmethod
    def _made() -> int:
        if _libc.unshare(_CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWNET)")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", _IFF_UP))
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def fileno(self) -> int:
        return self._fd

    @property
    def path(self) -> str:
        return f"/proc/{os.getpid()}/fd/{self._fd}"

    def inside(self, function: Callable[[], T]) -> T:
        """What `function` returns in this namespace."""

        def enter() -> T:
            if _libc.setns(self._fd, _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            return function()

        return in_thread(enter)

    def __repr__(self) -> str:
        return f"<namespace {self._fd}>"

    def command(self, *command: str, input: str | None = None) -> str:
        """What a program prints that runs in this namespace."""
        run = self.inside(
            lambda: subprocess.run(
                command, check=False, capture_output=True, text=True, input=input
            )
        )
        assert run.returncode == 0, f"{command}, {input}: {run.stderr}"
        return run.stdout

    def run(self, *arguments: str) -> str:
        """What ``ip`` prints in this namespace."""
        return self.command("ip", *arguments)

    def run_all(self, *lines: str) -> None:
        """Several commands of ``ip``, one by one, in one process: in a guest each takes seconds."""
        self.command("ip", "-batch", "-", input="\n".join(lines))

    def socket(self, *arguments: Any) -> socket.socket:
        """A socket of this namespace."""
        made = self.inside(lambda: socket.socket(*arguments))
        made.settimeout(PATIENCE)
        return made

    def close(self) -> None:
        os.close(self._fd)

    def __enter__(self) -> Namespace:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class Network:
    """`near` and `far`, joined by the interface "near0" of one and "far0" of the other.

    Each knows the other's hardware address, so that no packet passes but those that are sent.
    """

    #: Whether the interfaces have hardware addresses.
    resolves = True
    near_address, far_address = "10.77.0.1", "10.77.0.2"
    near_hardware, far_hardware = "02:00:00:00:00:01", "02:00:00:00:00:02"

    def __init__(self) -> None:
        self.near, self.far = Namespace(), Namespace()
        try:
            self._join()
            self._set_up(self.near, "near0", self.near_address, self.far_address)
            self._set_up(self.far, "far0", self.far_address, self.near_address)
            self._wait(self.near, "near0")
            self._wait(self.far, "far0")
        except BaseException:
            self.close()
            raise

    def _join(self) -> None:
        self.near.run(
            *("link", "add", "near0", "address", self.near_hardware),
            # Frames come by queue 0, on machines of any size.
            *("numtxqueues", "1", "numrxqueues", "1", "type", "veth", "peer", "name", "far0"),
            *("address", self.far_hardware, "numtxqueues", "1", "numrxqueues", "1"),
            *("netns", self.far.path),
        )

    def _set_up(self, here: Namespace, name: str, own: str, other: str) -> None:
        # What IPv6 sends by itself would be counted.
        here.inside(lambda: Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1"))
        hardware = self.near_hardware if other == self.near_address else self.far_hardware
        commands = [f"address add {own}/24 dev {name}", f"link set {name} up"]
        if self.resolves:
            commands.append(f"neigh replace {other} lladdr {hardware} dev {name}")
        here.run_all(*commands)

    @staticmethod
    def _wait(here: Namespace, name: str) -> None:
        """Until the interface sends: it is up before the kernel has seen that its peer is."""

        def sends() -> bool:
            shown = here.run("-o", "link", "show", name)
            return "NO-CARRIER" not in shown and "qdisc noop " not in shown

        wait_until(sends, f"{name} sends")

    def receiver(self, port: int = 7777) -> socket.socket:
        """A UDP socket of `far`."""
        made = self.far.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((self.far_address, port))
        return made

    def sender(self) -> socket.socket:
        """A UDP socket of `near`."""
        made = self.near.socket(socket.AF_INET, socket.SOCK_DGRAM)
        # veth leaves checksums to whom they matter, who never learns of it after a redirect.
        made.setsockopt(socket.SOL_SOCKET, _SO_NO_CHECK, 1)
        made.bind((self.near_address, 0))
        return made

    def send(self, text: bytes = b"hello", port: int = 7777) -> None:
        """One datagram from `near` to `far`, received there or not."""
        with self.sender() as sender:
            sender.sendto(text, (self.far_address, port))

    def arrived(self, text: bytes = b"tested") -> list[bytes]:
        """What arrives of a datagram from `near` to `far`: it, or nothing.

        Another one follows, of LONG bytes, which the programs of these tests let pass.
        """
        last = bytes(LONG)
        with self.receiver() as receiver, self.sender() as sender, one_cpu():
            for data in (text, last):
                sender.sendto(data, receiver.getsockname())
            got = [receiver.recv(LONG)]
            while got[-1] != last:
                got.append(receiver.recv(LONG))
        return got[:-1]

    def deliver(self, text: bytes = b"hello") -> None:
        """One datagram from `near` that arrives at `far`."""
        with self.receiver() as receiver:
            self.send(text)
            assert receiver.recv(2000) == text

    def deliver_back(self, text: bytes = b"hello") -> None:
        """One datagram from `far` that arrives at `near`."""
        with (
            self.near.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
            self.far.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        ):
            receiver.bind((self.near_address, 7777))
            sender.sendto(text, (self.near_address, 7777))
            assert receiver.recv(2000) == text

    def watching(self) -> socket.socket:
        """A socket of all frames of "near0"."""
        kind = (socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        made = self.near.socket(*kind)
        made.bind(("near0", _ETH_P_ALL))
        return made

    @staticmethod
    def first_back(watching: socket.socket, wanted: Callable[[bytes], bool]) -> bytes:
        """The first such frame that has come from `far`."""
        while True:
            frame, address = watching.recvfrom(2048)
            if address[2] != _PACKET_OUTGOING and wanted(frame):
                return frame

    def close(self) -> None:
        self.near.close()
        self.far.close()

    def __enter__(self) -> Network:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class Chain(Network):
    """A third namespace `end` behind `far`: "end0" there is joined to "out0" of `far`.

    It has the addresses of "far0", so that it takes what is redirected to it.
    """

    def _join(self) -> None:
        super()._join()
        self.end = Namespace()
        self.far.run(
            *("link", "add", "out0", "type", "veth", "peer", "name", "end0"),
            *("address", self.far_hardware, "netns", self.end.path),
        )
        self._set_up(self.end, "end0", self.far_address, self.near_address)
        self.far.run("link", "set", "out0", "up")
        self._wait(self.far, "out0")
        self._wait(self.end, "end0")

    def close(self) -> None:
        super().close()
        self.end.close()


class NetkitNetwork(Network):
    """The same, joined by a netkit pair, whose primary interface is "near0"."""

    resolves = False

    def _join(self) -> None:
        from tests.kernel.net.netkit import add_pair

        self.near.inside(lambda: add_pair("near0", "far0", self.far.fileno()))
