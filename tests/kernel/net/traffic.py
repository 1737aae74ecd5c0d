"""A network through which packets of every kind go, and who gets them.

They are what sockets send, to a port, or for an echo request with an identifier. Another packet of
the kind follows, which no program of these tests stops: once that is there, the first one was too.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import socket
import struct
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from ebpf.asm.packet import ICMP, ICMPV6, IPV4, IPV6, TCP, UDP
from tests.kernel import environment
from tests.kernel.net.network import Namespace, Network, one_cpu

# What a packet is sent to, where a program may send it on to, and what the one behind it is for.
PORT, OTHER_PORT, LAST_PORT = PORTS = 7777, 7778, 7779
VLAN = 7
VLAN_OPTION = "CONFIG_VLAN_8021Q"

# Of uapi linux/sockios.h, ethtool.h, and ETH_FLAG_TXVLAN there.
_SIOCETHTOOL = 0x8946
_ETHTOOL_STXCSUM, _ETHTOOL_GFLAGS, _ETHTOOL_SFLAGS = 0x17, 0x25, 0x26
_TAGGED_BY_THE_CARD = 1 << 7

_ECHO_REQUEST = {ICMP: 8, ICMPV6: 128}

# By the address of IPv4 that is at the same interface: the one of IPv6, and the one in the VLAN.
_ADDRESSES6 = {Network.near_address: "fd77::1", Network.far_address: "fd77::2"}
_TAGGED = {Network.near_address: "10.78.0.1", Network.far_address: "10.78.0.2"}


class Kind(NamedTuple):
    """What a packet is: numbers as `ebpf.asm.packet` has them."""

    network: int
    transport: int
    tagged: bool = False

    @property
    def family(self) -> socket.AddressFamily:
        return socket.AF_INET if self.network == IPV4 else socket.AF_INET6


KINDS = {
    "udp4": Kind(IPV4, UDP),
    "udp6": Kind(IPV6, UDP),
    "tcp4": Kind(IPV4, TCP),
    "tcp6": Kind(IPV6, TCP),
    "icmp4": Kind(IPV4, ICMP),
    "icmp6": Kind(IPV6, ICMPV6),
    "vlan": Kind(IPV4, UDP, tagged=True),
}


def set_ethtool(name: str, command: int, value: int) -> int:
    """What ``ethtool`` does with a number; the number afterwards."""
    asked = ctypes.create_string_buffer(struct.pack("II", command, value), 8)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sP16x", name.encode(), ctypes.addressof(asked))
        fcntl.ioctl(any_socket, _SIOCETHTOOL, request)
    return int(struct.unpack("II", asked)[1])


class Traffic(Network):
    """The same with IPv6 and, where the kernel has it, with a VLAN at both ends.

    What leaves "near0" has its checksums and its tag in the frame, as on a wire: `far` looks at
    the checksums, and drops what has wrong ones.
    """

    def __init__(self) -> None:
        self._open = ExitStack()
        super().__init__()
        try:
            if environment.kernel_has(VLAN_OPTION):
                self._wait(self.near, f"near0.{VLAN}")
                self._wait(self.far, f"far0.{VLAN}")
            self._make_sockets()
        except BaseException:
            self.close()
            raise

    def _set_up(self, here: Namespace, name: str, own: str, other: str) -> None:
        super()._set_up(here, name, own, other)
        if here is self.near:
            here.inside(lambda: self._leave_nothing_to_the_card(name))
        hardware = self.near_hardware if other == self.near_address else self.far_hardware
        neighbour = f"neigh replace {{}} lladdr {hardware} dev {{}}"
        # Without an address of the link, IPv6 has nobody to ask from.
        commands = [f"link set {name} addrgenmode none"]
        tagged = f"{name}.{VLAN}"
        if environment.kernel_has(VLAN_OPTION):
            commands += [
                # 7.3 takes no mode for an interface that is only made.
                f"link add link {name} name {tagged} type vlan id {VLAN}",
                f"link set {tagged} addrgenmode none",
                f"address add {_TAGGED[own]}/24 dev {tagged}",
                f"link set {tagged} up",
                neighbour.format(_TAGGED[other], tagged),
            ]
        here.run_all(*commands)
        here.inside(lambda: Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("0"))
        here.run_all(
            f"address add {_ADDRESSES6[own]}/64 dev {name} nodad",
            neighbour.format(_ADDRESSES6[other], name),
        )

    @staticmethod
    def _leave_nothing_to_the_card(name: str) -> None:
        """Where the interface could do it by itself, veth hands packets over without."""
        flags = set_ethtool(name, _ETHTOOL_GFLAGS, 0)
        set_ethtool(name, _ETHTOOL_SFLAGS, flags & ~_TAGGED_BY_THE_CARD)
        set_ethtool(name, _ETHTOOL_STXCSUM, 0)

    def _make_sockets(self) -> None:
        """One that sends for each kind and port, but for TCP, and all those that receive."""
        group = str(os.getgid())
        echoes = Path("/proc/sys/net/ipv4/ping_group_range")
        self.near.inside(lambda: echoes.write_text(f"{group} {group}"))
        self._receivers: dict[Kind, list[socket.socket]] = {}
        self._senders: dict[Kind, list[socket.socket]] = {}
        for kind in self.kinds.values():
            self._receivers[kind] = [self._receiver(kind, port) for port in self._listened(kind)]
            if kind.transport != TCP:
                self._senders[kind] = [self._sender(kind, port) for port in (PORT, LAST_PORT)]

    @property
    def kinds(self) -> dict[str, Kind]:
        """Those that this kernel can send."""
        tags = environment.kernel_has(VLAN_OPTION)
        return {name: kind for name, kind in KINDS.items() if tags or not kind.tagged}

    def _address(self, kind: Kind, address: str) -> str:
        if kind.network == IPV6:
            return _ADDRESSES6[address]
        return _TAGGED[address] if kind.tagged else address

    @staticmethod
    def _listened(kind: Kind) -> tuple[int, ...]:
        """The ports with a socket each; all that are needed for echoes is one, which sees all."""
        return (0,) if kind.transport in _ECHO_REQUEST else PORTS

    def _receiver(self, kind: Kind, port: int) -> socket.socket:
        if kind.transport == TCP:
            made = self.far.socket(kind.family, socket.SOCK_STREAM)
        elif kind.transport == UDP:
            made = self.far.socket(kind.family, socket.SOCK_DGRAM)
        else:
            made = self.far.socket(kind.family, socket.SOCK_RAW, kind.transport)
        self._open.enter_context(made)
        made.bind((self._address(kind, self.far_address), port))
        if kind.transport == TCP:
            made.listen()
        return made

    def _sender(self, kind: Kind, port: int) -> socket.socket:
        protocol = kind.transport if kind.transport in _ECHO_REQUEST else 0
        made = self._open.enter_context(self.near.socket(kind.family, socket.SOCK_DGRAM, protocol))
        # Of echo requests it is the identifier.
        made.bind((self._address(kind, self.near_address), port if protocol else 0))
        return made

    def reached(self, kind: Kind) -> list[int]:
        """The ports at which a packet is received that is sent to PORT: none if it is dropped."""
        with one_cpu():
            if kind.transport == TCP:
                return self._connected(kind)
            return self._echoed(kind) if kind.transport in _ECHO_REQUEST else self._told(kind)

    def all_reached(self) -> dict[str, list[int]]:
        """The same for each kind."""
        return {name: self.reached(kind) for name, kind in self.kinds.items()}

    def _told(self, kind: Kind) -> list[int]:
        """Datagrams: each has the port in it that it is sent to."""
        address = self._address(kind, self.far_address)
        for sender, port in zip(self._senders[kind], (PORT, LAST_PORT), strict=True):
            sender.sendto(port.to_bytes(2, "big"), (address, port))
        last = self._receivers[kind][-1]
        assert last.recv(10) == LAST_PORT.to_bytes(2, "big")
        found = []
        for receiver in self._receivers[kind]:
            while _waits(receiver):
                assert receiver.recv(10) == PORT.to_bytes(2, "big")
                found.append(receiver.getsockname()[1])
        return found

    def _echoed(self, kind: Kind) -> list[int]:
        """Echo requests: their identifiers."""
        request = struct.pack("BBHHH", _ECHO_REQUEST[kind.transport], 0, 0, 0, 1)
        for sender in self._senders[kind]:
            sender.sendto(request, (self._address(kind, self.far_address), 0))
        (receiver,) = self._receivers[kind]
        # Of IPv4 the header is there as well, which has no options.
        start = 20 if kind.network == IPV4 else 0
        found: list[int] = []
        while LAST_PORT not in found:
            type, _, _, number, _ = struct.unpack_from("!BBHHH", receiver.recv(100), start)
            found += [number] * (type == _ECHO_REQUEST[kind.transport])
        return found[:-1]

    def _connected(self, kind: Kind) -> list[int]:
        """Connections, of which each needs two packets from `near` to `far`."""
        address = self._address(kind, self.far_address)
        with (
            self.near.socket(kind.family, socket.SOCK_STREAM) as first,
            self.near.socket(kind.family, socket.SOCK_STREAM) as second,
        ):
            first.setblocking(False)
            first.connect_ex((address, PORT))
            second.connect((address, LAST_PORT))
            *others, last = self._receivers[kind]
            last.accept()[0].close()
            found = []
            for receiver in others:
                while _waits(receiver):
                    receiver.accept()[0].close()
                    found.append(receiver.getsockname()[1])
        return found

    def close(self) -> None:
        self._open.close()
        super().close()


def _waits(receiver: socket.socket) -> bool:
    """Whether there is something to receive or accept."""
    return bool(select.select([receiver], [], [], 0)[0])
