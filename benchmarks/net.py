"""XDP under load: a million frames over veth are dropped or redirected, by the same program.

It is loaded and attached by bpftool, by ip, and by this library, in turn. Frames are made by a test
run with live frames (5.18), which gives them to one end of a veth pair; the program is at the other
end, in another network namespace. A redirected frame goes on over a second pair, to a third one.

All of this happens on one CPU, in the system call of the test run or right after it, so that times
are those of the CPU: on a busy machine the clock would measure who else runs.
"""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import ebpf
from benchmarks.table import Table, interleave
from tests.kernel import environment
from tests.kernel.net.network import Chain, one_cpu
from tests.objects import compiled
from tests.tools import bpftool

HERE = Path(__file__).parent
FRAMES = 1_000_000
ROUNDS = 15
# Of Ethernet without its checksum: the least that there is.
FRAME = b"\x02\0\0\0\0\x02" + b"\x02\0\0\0\0\x01" + b"\x08\x00" + bytes(46)
# How long frames may be on their way, in seconds.
PATIENCE = 60.0

Attached = contextlib.AbstractContextManager[object]


def clock() -> Callable[[], int]:
    """The thread's CPU time, of which receiving is a part unless the kernel counts that apart."""
    apart = environment.kernel_has("CONFIG_IRQ_TIME_ACCOUNTING")
    return time.perf_counter_ns if apart else time.thread_time_ns


class Bench:
    """Three namespaces in a row, the program that sends, and those that are measured."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.now = clock()
        self.network = Chain()
        stack.callback(self.network.close)
        spec = ebpf.CollectionSpec.from_file(compiled("net", folder=HERE))
        self.objects = stack.enter_context(spec.load())
        frames = self.objects.maps["frames"]
        assert isinstance(frames, ebpf.ArrayMap)
        self.frames = frames
        self.far = ebpf.Interface("far0", netns=self.network.far)
        self._aim("sending", ebpf.Interface("near0", netns=self.network.near))
        self._aim("devices", ebpf.Interface("out0", netns=self.network.far))
        end = ebpf.Interface("end0", netns=self.network.end)
        self.objects.programs["end"].attach(interface=end)
        self.bpftool = bpftool() or ""
        if not self.bpftool:
            raise SystemExit("net: it takes bpftool (apt-get install bpftool)")
        self.pins = self._pinned(stack)

    def _aim(self, name: str, interface: ebpf.Interface) -> None:
        map = self.objects.maps[name]
        assert isinstance(map, ebpf.DescriptorArray)
        interface.inside(lambda: map.put(0, interface.index))

    def _pinned(self, stack: contextlib.ExitStack) -> str:
        """Where bpftool has pinned its programs, which use the same maps."""
        folder = tempfile.mkdtemp(prefix="benchmark-", dir="/sys/fs/bpf")
        stack.callback(lambda: subprocess.run(["rm", "-r", folder], check=True))
        command = [self.bpftool, "prog", "loadall", str(compiled("net", folder=HERE)), folder]
        for name in ("frames", "sending", "devices"):
            command += ["map", "name", name, "id", str(self.objects.maps[name].info().id)]
        subprocess.run(command, check=True, capture_output=True)
        return folder

    @contextlib.contextmanager
    def by_bpftool(self, name: str) -> Iterator[None]:
        pinned = f"{self.pins}/{name}"
        attach = (self.bpftool, "net", "attach", "xdpdrv", "pinned", pinned, "dev", "far0")
        self.network.far.command(*attach)
        yield
        self.network.far.command(self.bpftool, "net", "detach", "xdpdrv", "dev", "far0")

    @contextlib.contextmanager
    def by_ip(self, name: str) -> Iterator[None]:
        device = ("link", "set", "dev", "far0", "xdpdrv")
        self.network.far.run(*device, "pinned", f"{self.pins}/{name}")
        yield
        self.network.far.run(*device, "off")

    def by_link(self, name: str) -> Attached:
        program = self.objects.programs[name]
        return program.attach_xdp(self.far, mode=ebpf.XdpMode.DRIVER)

    def by_netlink(self, name: str) -> Attached:
        program = self.objects.programs[name]
        return program.attach_xdp_netlink(self.far, mode=ebpf.XdpMode.DRIVER)

    def measure(self, attach: Callable[[str], Attached], name: str) -> Callable[[], float]:
        """Nanoseconds for a frame, from its sending to its end."""

        def measure() -> float:
            with attach(name), one_cpu():
                return self.network.near.inside(self._million)

        return measure

    def _million(self) -> float:
        before = self._arrived()
        start = self.now()
        self.objects.programs["send"].test_run(
            FRAME, repeat=FRAMES, flags=ebpf.TestRunFlags.XDP_LIVE_FRAMES, data_out_size=0
        )
        while (arrived := self._arrived() - before) < FRAMES:
            if self.now() - start > PATIENCE * 1e9:
                raise SystemExit(f"of {FRAMES:,} frames {arrived:,} arrived: the figure is none")
        return (self.now() - start) / FRAMES

    def _arrived(self) -> int:
        return int(self.frames[0].sum())

    def table(self, name: str, title: str) -> Table:
        ways = {
            "loaded and attached by bpftool": self.by_bpftool,
            "loaded by bpftool, attached by ip": self.by_ip,
            "attach_xdp": self.by_link,
            "attach_xdp_netlink": self.by_netlink,
        }
        measures = {way: self.measure(attach, name) for way, attach in ways.items()}
        return Table(title, "ns per frame", interleave(measures, ROUNDS))


def run() -> list[Table]:
    """The load test: a drop, and a redirect."""
    environment.private_mounts()
    with contextlib.ExitStack() as stack:
        bench = Bench(stack)
        return [
            bench.table("drop", "drop a million frames that come over veth"),
            bench.table("redirect", "redirect a million frames to another interface"),
        ]
