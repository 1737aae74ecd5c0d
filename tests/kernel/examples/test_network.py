"""The examples at network interfaces, each with traffic between namespaces that the test makes."""

from __future__ import annotations

import ctypes
import fcntl
import ipaddress
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import ebpf
from tests.kernel.examples.support import EXAMPLES, TIMEOUT, command, run
from tests.kernel.net.network import Namespace, Network
from tests.kernel.samples import wait_until

sys.path.insert(0, str(EXAMPLES))
try:
    import xdp_balancer
finally:
    sys.path.remove(str(EXAMPLES))


@contextmanager
def inside(
    namespace: Namespace, ready: str, name: str, *arguments: str
) -> Iterator[subprocess.Popen[str]]:
    """An example that runs in a namespace, with pipes."""
    process = namespace.inside(
        lambda: subprocess.Popen(
            command(name, *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    )
    with process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            assert ready in line, line + process.stderr.read()
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str]) -> list[str]:
    """The rest of what it prints, after Ctrl-C."""
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, error
    assert error.strip() == ""
    return out.splitlines()


def say(process: subprocess.Popen[str], line: str) -> str:
    """Type a line; the answer."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
    return process.stdout.readline().rstrip()


def has_dropped(process: subprocess.Popen[str], count: int, networks: int) -> None:
    """Wait until the example says so; it shows `networks` lines more."""

    def seen() -> bool:
        first = say(process, "show")
        assert process.stdout is not None
        for _ in range(networks):
            process.stdout.readline()
        return first.endswith(f"dropped {count}")

    wait_until(seen, f"{count} packets are dropped")


def test_xdp_drop_changes_its_list_while_it_runs() -> None:
    """A network that is added later is not dropped, or one that is removed still is; or the second
    fragment of a packet passes."""
    with Network() as network, inside(network.far, "counting", "xdp_drop", "far0") as process:
        network.deliver()
        assert say(process, "drop 10.77.0.1") == "drop 10.77.0.1/32"
        for _ in range(3):
            network.send(b"dropped")
        has_dropped(process, 3, 1)
        assert say(process, "pass 10.77.0.1/32") == "pass 10.77.0.1/32"
        network.deliver(b"passes again")
        # A longer prefix takes what a shorter one has, too.
        # Two in one write: the second one is not left until there is more.
        assert process.stdout is not None
        assert say(process, "drop 10.0.0.0/8\ndrop 2001:db8::/32") == "drop 10.0.0.0/8"
        assert process.stdout.readline() == "drop 2001:db8::/32\n"
        # In two fragments.
        network.send(bytes(2000))
        has_dropped(process, 5, 2)
        assert say(process, "drop 10.77.0.0/24") == "drop 10.77.0.0/24"
        network.send(b"dropped")
        has_dropped(process, 6, 3)
        assert say(process, "pass 192.0.2.1") == "192.0.2.1/32 was not dropped"
        assert "is drop NETWORK, pass NETWORK" in say(process, "forget everything")
        assert "does not appear to be" in say(process, "drop nothing")
        assert sorted(ended(process)) == [
            "  10.0.0.0/8: 2",
            "  10.77.0.0/24: 1",
            "  2001:db8::/32: 0",
            "passed 2, dropped 6",
        ]


def test_xdp_drop_ends_by_itself() -> None:
    """Without a terminal, or after its time, it runs for ever or ends at once."""
    with Network() as network:
        run_it = [*command("xdp_drop", "far0", "--drop", "10.77.0.1", "--seconds", "0.2")]
        done = network.far.inside(
            lambda: subprocess.run(
                run_it, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT
            )
        )
        assert done.stdout.splitlines() == ["passed 0, dropped 0", "  10.77.0.1/32: 0"], done.stderr
        with inside(network.far, "counting", "xdp_drop", "far0") as process:
            assert process.communicate("quit\n")[0] == "passed 0, dropped 0\n"
        network.deliver()


def test_xdp_drop_goes_on_when_its_list_is_full() -> None:
    """One address too many, and nothing is dropped any more."""
    addresses = [f"10.88.{number >> 8}.{number & 255}" for number in range(4096)]
    with Network() as network, inside(network.far, "counting", "xdp_drop", "far0") as process:
        first = say(process, "\n".join(f"drop {one}" for one in addresses))
        assert first == f"drop {addresses[0]}/32"
        assert process.stdout is not None
        for one in addresses[1:]:
            assert process.stdout.readline() == f"drop {one}/32\n"
        assert "No space left" in say(process, "drop 10.77.0.1")
        network.deliver()
        assert say(process, f"pass {addresses[7]}") == f"pass {addresses[7]}/32"
        assert say(process, "drop 10.77.0.1") == "drop 10.77.0.1/32"
        network.send(b"dropped")
        has_dropped(process, 1, len(addresses))


def test_tc_bandwidth_counts_both_directions() -> None:
    """Bytes are counted for the other direction or address, or without their headers."""
    with Network() as network:
        with inside(network.far, "counting", "tc_bandwidth", "far0", "--interval", "0.2") as one:
            network.deliver(bytes(1000))
            network.deliver_back(b"hello")
            came = went = 0.0
            assert one.stdout is not None
            while not (came and went):
                words = one.stdout.readline().split()
                if words[:1] == [network.near_address]:
                    came, went = came + float(words[1]), went + float(words[2])
            ended(one)
        # 1,042 bytes came and 47 went, perhaps not in the same interval.
        assert came > 10 * went


def test_tc_dscp_marks_packets() -> None:
    """A header whose checksum is wrong is dropped; a mark elsewhere would break the packet."""
    with Network() as network:
        for here, name, own in ((network.near, "near0", "::1"), (network.far, "far0", "::2")):
            switch = Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6")
            here.inside(lambda switch=switch: switch.write_text("0"))  # type: ignore[misc]
            here.run("address", "add", f"fd77{own}/64", "nodad", "dev", name)
        with inside(network.near, "marking", "tc_dscp", "near0", "46", "--port", "7777") as one:
            for family, address in ((V4, network.far_address), (V6, "fd77::2")):
                assert type_of_service(network, family, address, 7777, 1) == 46 << 2 | 1
                assert type_of_service(network, family, address, 7778, 1) == 1
            assert ended(one) == ["2 packets were marked"]
        assert type_of_service(network, V4, network.far_address, 7777, 0) == 0


V4, V6 = socket.AF_INET, socket.AF_INET6
# What sets the byte of a socket's packets, and what has it told with those that come.
SERVICE = {
    V4: (socket.IPPROTO_IP, socket.IP_TOS, socket.IP_RECVTOS),
    V6: (socket.IPPROTO_IPV6, socket.IPV6_TCLASS, socket.IPV6_RECVTCLASS),
}


def type_of_service(
    network: Network, family: socket.AddressFamily, address: str, port: int, sent: int
) -> int:
    """The byte with the DSCP, of a packet that `near` sent with another one."""
    level, option, told = SERVICE[family]
    with (
        network.far.socket(family, socket.SOCK_DGRAM) as receiver,
        network.near.socket(family, socket.SOCK_DGRAM) as sender,
    ):
        receiver.setsockopt(level, told, 1)
        receiver.bind((address, port))
        sender.setsockopt(level, option, sent)
        sender.sendto(b"marked", (address, port))
        data, ancillary, _, _ = receiver.recvmsg(2000, 64)
    assert data == b"marked"
    return next(value[0] for kind, _, value in ancillary if kind == level)


class Balanced(Network):
    """Clients in `near`; "far0" takes their packets; two servers are behind "b0" and "b1" of `far`.

    Each server has the address that the clients know, and answers by way of `far`.
    """

    address = "10.88.0.1"

    def _join(self) -> None:
        super()._join()
        self.servers = [Namespace(), Namespace()]
        for number, server in enumerate(self.servers):
            name = f"b{number}"
            self.far.run(
                *("link", "add", name, "address", f"02:00:00:00:01:0{number}", "type", "veth"),
                *("peer", "name", "server0", "address", f"02:00:00:00:02:0{number}"),
                *("netns", server.path),
            )
            self.far.run("link", "set", name, "up")
            server.run("address", "add", f"{self.address}/32", "dev", "lo")
            server.run("link", "set", "server0", "up")
            server.run("route", "add", "default", "dev", "server0")
            server.run(
                *("neigh", "replace", self.near_address, "dev", "server0"),
                *("lladdr", f"02:00:00:00:01:0{number}"),
            )
            self._wait(self.far, name)
            self._wait(server, "server0")
        self.far.inside(self._forward)

    def _forward(self) -> None:
        settings = Path("/proc/sys/net/ipv4")
        (settings / "ip_forward").write_text("1")
        for name in ("all", "b0", "b1"):
            # What a server sends is from an address that is routed nowhere here.
            (settings / "conf" / name / "rp_filter").write_text("0")

    def close(self) -> None:
        super().close()
        for server in self.servers:
            server.close()


@pytest.fixture
def balanced() -> Iterator[Balanced]:
    with Balanced() as network:
        network.near.run("route", "add", f"{network.address}/32", "via", network.far_address)
        yield network


def answer(network: Balanced, port: int) -> str:
    """Which server answers a connection from that port."""
    with network.near.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind((network.near_address, port))
        client.connect((network.address, 8080))
        return client.makefile().read()


def serve(listening: socket.socket, name: bytes) -> None:
    """Say who one is to everybody who comes, until the socket is closed."""
    while True:
        try:
            taken, _ = listening.accept()
        except OSError:
            return
        with taken:
            taken.sendall(name)


def test_xdp_balancer_keeps_connections_together(balanced: Balanced) -> None:
    """A flow goes to both servers, all go to one, or the answer does not come back."""
    listening = [server.socket(socket.AF_INET, socket.SOCK_STREAM) for server in balanced.servers]
    threads = []
    for number, one in enumerate(listening):
        one.settimeout(None)
        one.bind((balanced.address, 8080))
        one.listen()
        name = f"server {number}".encode()
        threads.append(threading.Thread(target=serve, args=(one, name), daemon=True))
        threads[-1].start()
    backends = []
    for number in (0, 1):
        backends += ["--backend", f"b{number}=02:00:00:00:02:0{number}"]
    try:
        with inside(
            balanced.far, "counting", "xdp_balancer", "far0", balanced.address, *backends
        ) as process:
            answers = {port: answer(balanced, port) for port in range(40000, 40016)}
            rows = dict(line.split() for line in ended(process)[1:])
    finally:
        for one in listening:
            one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in threads:
            thread.join()
    assert set(answers.values()) == {"server 0", "server 1"}
    for number in (0, 1):
        flows = list(answers.values()).count(f"server {number}")
        # A connection takes three frames of the client's or more.
        assert int(rows[f"b{number}"]) >= 3 * flows


def test_xdp_balancer_knows_ipv6() -> None:
    """Of IPv6 nothing is spread, or what is for others."""
    address = ipaddress.ip_address("2001:db8::10")
    hardware = [bytes([2, 0, 0, 0, 0, number]) for number in (1, 2)]

    def frame(target: ipaddress.IPv6Address, port: int) -> bytes:
        # Destination options before UDP.
        head = struct.pack("!IHBB", 6 << 28, 16, 60, 64) + ipaddress.ip_address("fd00::1").packed
        ports = struct.pack("!HHHH", port, 53, 8, 0)
        return (
            bytes(12)
            + b"\x86\xdd"
            + head
            + target.packed
            + bytes([17, 0, 1, 4, 0, 0, 0, 0])
            + ports
        )

    with (
        ebpf.ArrayMap.create(value=xdp_balancer.BACKEND.format, max_entries=2) as backends,
        ebpf.DescriptorArray.create(ebpf.MapType.DEVMAP, value="I", max_entries=2) as devices,
    ):
        for number in (0, 1):
            backends[number] = (hardware[number], 0)
            devices[number] = 1
        code = xdp_balancer.program(address, 2, backends, devices)
        with ebpf.Program.load(ebpf.ProgramType.XDP, code) as balancing:
            runs = [balancing.test_run(frame(address, port)) for port in range(64)]
            other = balancing.test_run(frame(address + 1, 1))
        counts = [count for _, count in backends]
    assert {run.return_value for run in runs} == {ebpf.XdpAction.REDIRECT}
    taken = [bytes(run.data or b"")[:6] for run in runs]
    assert [taken.count(one) for one in hardware] == counts
    assert min(counts) >= 16
    assert sum(counts) == 64
    assert other.return_value == ebpf.XdpAction.PASS


class Translated(Network):
    """ "far0" answers for `outside`, which are the addresses `inside` of `far`.

    The interfaces leave no checksum to each other: what arrives with a wrong one is dropped.
    """

    def __init__(self) -> None:
        self.outside = {V4: "10.77.0.9", V6: "fd77::9"}
        self.inside = {V4: "10.88.0.1", V6: "fd88::1"}
        super().__init__()
        near, far = self.near_hardware, self.far_hardware
        lines = [f"neigh replace {one} lladdr {far} dev near0" for one in self.outside.values()]
        self._add(self.near, "near0", "address add fd77::1/64 nodad dev near0", *lines)
        self._add(
            *(self.far, "far0", "address add fd77::2/64 nodad dev far0"),
            f"neigh replace fd77::1 lladdr {near} dev far0",
            *(f"address add {one} nodad dev lo" for one in self.inside.values()),
        )

    @staticmethod
    def _add(here: Namespace, name: str, *lines: str) -> None:
        switch = Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6")
        here.inside(lambda: switch.write_text("0"))
        here.run_all(*lines)
        # struct ethtool_value: ETHTOOL_STXCSUM, off.
        value = ctypes.create_string_buffer(struct.pack("=II", 0x17, 0))
        request = struct.pack("16sP", name.encode(), ctypes.addressof(value))
        with here.socket(V4, socket.SOCK_DGRAM) as any_socket:
            fcntl.ioctl(any_socket, 0x8946, request)


@pytest.fixture
def translated() -> Iterator[Translated]:
    with Translated() as network:
        yield network


def exchange(network: Translated, family: socket.AddressFamily, size: int) -> None:
    """A datagram of `size` bytes each way."""
    with (
        network.far.socket(family, socket.SOCK_DGRAM) as server,
        network.near.socket(family, socket.SOCK_DGRAM) as client,
    ):
        server.bind((network.inside[family], 7777))
        client.connect((network.outside[family], 7777))
        client.send(b"q" * size)
        data, sender = server.recvfrom(size)
        assert data == b"q" * size
        server.sendto(b"a" * size, sender)
        assert client.recv(size) == b"a" * size


def send_without_checksum(network: Translated) -> None:
    """A datagram of IPv4 that says that it has none."""
    with network.far.socket(V4, socket.SOCK_DGRAM) as server, network.sender() as client:
        server.bind((network.inside[V4], 7777))
        client.sendto(b"unsummed", (network.outside[V4], 7777))
        assert server.recv(8) == b"unsummed"


def converse(network: Translated, family: socket.AddressFamily) -> None:
    """A TCP connection, with data each way."""
    with (
        network.far.socket(family, socket.SOCK_STREAM) as server,
        network.near.socket(family, socket.SOCK_STREAM) as client,
    ):
        server.bind((network.inside[family], 7777))
        server.listen()
        client.connect((network.outside[family], 7777))
        with server.accept()[0] as taken:
            assert taken.getsockname()[0] == network.inside[family]
            client.sendall(b"question")
            assert taken.recv(8, socket.MSG_WAITALL) == b"question"
            taken.sendall(b"answer")
            assert client.recv(6, socket.MSG_WAITALL) == b"answer"


def ping6(network: Translated) -> None:
    """An echo of ICMPv6, whose checksum covers the addresses."""
    with network.near.socket(V6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as pinging:
        pinging.connect((network.outside[V6], 0))
        pinging.send(bytes([128, 0, 0, 0, 0, 7, 0, 1]))
        assert pinging.recv(100)[4:] == bytes([0, 7, 0, 1])


def test_tc_nat_translates_both_ways(translated: Translated) -> None:
    """An address or a checksum stays as it was, in one direction or for one protocol; or a packet
    is translated that is to another address."""
    arguments = [f"{translated.outside[one]}={translated.inside[one]}" for one in (V4, V6)]
    with inside(translated.far, "counting", "tc_nat", "far0", *arguments) as process:
        for family in (V4, V6):
            exchange(translated, family, 5)
            # In three fragments, of which the first one has the checksum.
            exchange(translated, family, 3000)
            converse(translated, family)
        send_without_checksum(translated)
        ping6(translated)
        translated.deliver()
        (line,) = ended(process)
    came, went = (int(word) for word in line.split() if word.isdecimal())
    # TCP: at least what opens the connection, and the data.
    assert came >= 2 * (1 + 3 + 3) + 2
    assert went >= 2 * (1 + 3 + 2) + 1


def test_interfaces_that_are_not_there() -> None:
    """The error is a number, or a traceback."""
    for arguments in (
        ("xdp_drop", "nowhere"),
        ("tc_bandwidth", "nowhere"),
        ("tc_dscp", "nowhere", "46"),
        ("tc_nat", "nowhere", "192.0.2.1=10.0.0.1"),
        ("xdp_balancer", "lo", "192.0.2.1", "--backend", "nowhere=02:00:00:00:00:01"),
    ):
        assert "nowhere" in run(*arguments, status=1)
    assert "is not INTERFACE=" in run(
        "xdp_balancer", "lo", "192.0.2.1", "--backend", "eth0", status=2
    )
