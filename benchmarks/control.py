"""The control plane of networks beside libbpf in C: attach, replace, and 10,000 networks of a trie.

The C program has the descriptors of the same programs and of the same map, and is told over a pipe
what to do. Times are those of the CPU: what attaching waits for in the kernel is not in them.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import time
from collections.abc import Callable

import ebpf
from benchmarks.maps import Peer, per_call
from benchmarks.perf import compile_c
from benchmarks.table import Table, interleave
from ebpf import AttachType, LpmTrieMap, Program, ProgramType
from ebpf.asm import R0, exit_, mov
from tests.kernel.net.network import Network
from tests.kernel.net.support import made_cgroup

NETWORKS = 10_000
# Of one measurement. XDP waits for the kernel's readers, tens of milliseconds each time.
AT_INTERFACES = 10
AT_CGROUPS = 200
ROUNDS = 15

Ways = dict[str, Callable[[], float]]


def returning(type: ProgramType, number: int, attach_type: AttachType) -> Program:
    return Program.load(
        type, [mov(R0, number), exit_()], attach_type=attach_type, name=f"returns_{number}"
    )


class Bench:
    """An interface and a cgroup of its own, programs for them, and a trie of IPv4 networks."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        enter = stack.enter_context
        self.network = enter(Network())
        self.cgroup = str(enter(made_cgroup()))
        self.programs = [
            enter(returning(ProgramType.XDP, number, AttachType.XDP)) for number in (1, 2)
        ]
        self.egress = enter(returning(ProgramType.CGROUP_SKB, 1, AttachType.CGROUP_INET_EGRESS))
        self.trie: ebpf.HashMap[ipaddress.IPv4Network, int] = enter(
            LpmTrieMap.create(
                key=ipaddress.IPv4Network, value="Q", max_entries=NETWORKS, name="networks"
            )
        )
        self.peer = self._peer(stack)

    def _peer(self, stack: contextlib.ExitStack) -> Peer | None:
        program = compile_c(stack, "control_libbpf.c", "-lbpf")
        if program is None:
            return None
        cgroup = os.open(self.cgroup, os.O_RDONLY)
        stack.callback(os.close, cgroup)
        command = ["nsenter", f"--net={self.network.far.path}", program]
        fds = [object.fileno() for object in (*self.programs, self.egress)]
        peer = Peer(command, *fds, cgroup, self.trie.fileno(), extra="far0")
        stack.callback(peer.close)
        return peer

    def beside(self, way: str, count: int) -> Ways:
        """The same in C, where libbpf is."""
        return {} if self.peer is None else {"libbpf in C": self.peer.timed(way, count)}

    def inside(self, measure: Callable[[], float]) -> Callable[[], float]:
        """The same where the C program is, so that nobody has to enter the namespace each time."""
        return lambda: self.network.far.inside(measure)

    def attaching(self) -> list[Table]:
        first = self.programs[0]

        def xdp() -> None:
            for _ in range(AT_INTERFACES):
                first.attach_xdp("far0").close()

        def cgroup() -> None:
            for _ in range(AT_CGROUPS):
                self.egress.attach_cgroup(self.cgroup).close()

        ways = self.beside("xdp", AT_INTERFACES)
        ways["attach_xdp(...).close()"] = self.inside(per_call(xdp, AT_INTERFACES))
        of_cgroup = self.beside("cgroup", AT_CGROUPS)
        of_cgroup["attach_cgroup(...).close()"] = per_call(cgroup, AT_CGROUPS)
        return [
            microseconds("attach XDP to veth, and detach", ways),
            microseconds("attach to a cgroup, and detach", of_cgroup),
        ]

    def replacing(self) -> Table:
        def measure() -> float:
            with self.programs[0].attach_xdp("far0") as link:
                start = time.thread_time_ns()
                for number in range(AT_INTERFACES):
                    link.update(self.programs[(number + 1) % 2])
                return (time.thread_time_ns() - start) / AT_INTERFACES

        ways = self.beside("replace", AT_INTERFACES)
        ways["link.update(program)"] = self.inside(measure)
        return microseconds("replace the program of an XDP link", ways)

    def updating(self) -> Table:
        trie = self.trie
        first = int(ipaddress.IPv4Address("10.0.0.0"))
        entries = {
            ipaddress.IPv4Network((first + (number << 8), 24)): number for number in range(NETWORKS)
        }
        trie.update(entries)
        keys, values = trie.lookup_batch()

        def assign() -> None:
            for network, value in entries.items():
                trie[network] = value

        ways = self.beside("update", NETWORKS)
        if self.peer is not None:
            ways["libbpf in C, UPDATE_BATCH"] = self.peer.timed("update_batch", NETWORKS)
        ways["m[network] = value"] = per_call(assign, NETWORKS)
        ways["m.update(dict)"] = per_call(lambda: trie.update(entries), NETWORKS)
        ways["m.update_batch(keys, values)"] = per_call(
            lambda: trie.update_batch(keys, values), NETWORKS
        )
        title = f"update {NETWORKS:,} networks of an LPM trie"
        return Table(title, "ns each", interleave(ways, ROUNDS))


def microseconds(title: str, ways: Ways) -> Table:
    samples = interleave(ways, ROUNDS)
    converted = {way: [time / 1000 for time in times] for way, times in samples.items()}
    return Table(title, "us", converted)


def run() -> list[Table]:
    with contextlib.ExitStack() as stack:
        bench = Bench(stack)
        return [*bench.attaching(), bench.replacing(), bench.updating()]
