"""The rings of a BPF_MAP_TYPE_PERF_EVENT_ARRAY, one per CPU, as one queue of records."""

from __future__ import annotations

import errno
import os
import sys
import time

from ebpf._sys import bpf, check, ffi, lib, perf
from ebpf.errors import BpfFileNotFoundError, BpfPermissionError
from ebpf.maps.records import CHUNK_RECORDS, RecordQueue, Records, joined
from ebpf.types import MapType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ebpf.codec import Codec
    from ebpf.maps import Map


# Seconds for which the clock of an event that is on may stand still: some machines count jiffies.
_STANDSTILL = 0.1

# Seconds between two looks at records that are held back, at least.
_LOOK_AGAIN = 50e-6


class Options:
    """What the rings of all CPUs have in common."""

    def __init__(
        self,
        size: int,
        record_size: int,
        wakeup_events: int,
        wakeup_bytes: int,
        hold: float | None,
    ) -> None:
        self.size = size
        self.record_size = record_size
        self.wakeup_events = wakeup_events
        self.wakeup_bytes = wakeup_bytes
        self.hold = hold


class PerfRings(RecordQueue):
    """The mapped rings of the CPUs, in one array for the core."""

    # A header, the length of the data, and data up to the next 8 bytes.
    header_size = 16
    _backward = False

    def __init__(self, map: Map[Any, Any], codec: Codec[Any] | None, options: Options) -> None:
        if getattr(map, "type", None) != MapType.PERF_EVENT_ARRAY:
            raise TypeError(f"{map!r} is not a PERF_EVENT_ARRAY map")
        super().__init__(map, codec, ffi.new("struct ebpf_perf *"))
        self.size = options.size
        # With ordered=0, records of this very moment are held back as well.
        self.retry = max(options.hold or 0.0, _LOOK_AGAIN)
        self._options = options
        self._hold = options.hold
        self.ring.record_size = options.record_size
        self.ring.timed = self._backward or options.hold is not None
        self._cpus: list[int] = []
        self._fds: list[int] = []
        self._rings = ffi.new("struct ebpf_perf_ring[]", 1)
        # Of its own, so that the entries can be taken out when the map's is closed already.
        self._map_fd = check(lib.ebpf_dup(map.fileno()), f"duplicate the descriptor of {map!r}")
        # Of the CPUs that are gone.
        self._lost: dict[int, int] = {}
        # By CPU: how long its event was on, and when that was seen.
        self._seen: dict[int, tuple[int, float]] = {}

    def descriptors(self) -> list[int]:
        return list(self._fds)

    @property
    def cpus(self) -> list[int]:
        """The CPUs whose rings are read."""
        return list(self._cpus)

    def lost(self) -> dict[int, int]:
        """CPU -> records that the kernel had no room for, as far as it has said so."""
        with self.lock:
            lost = dict(self._lost)
            for index, cpu in enumerate(self._cpus):
                lost[cpu] = lost.get(cpu, 0) + int(self._rings[index].lost)
            return lost

    # ---- CPUs -------------------------------------------------------------------------------

    def open_cpu(self, cpu: int) -> bool:
        """Have the programs on `cpu` write to a ring of its own; False where it is offline."""
        if not 0 <= cpu < self.map.max_entries:
            raise ValueError(
                f"cpus: CPU {cpu}, but {self.map!r} has {self.map.max_entries} entries; a"
                " PERF_EVENT_ARRAY created without max_entries has one for every CPU, and"
                f" cpus=range({self.map.max_entries}) reads those that fit"
            )
        fd = perf.output_open(
            cpu,
            timed=bool(self.ring.timed),
            backward=self._backward,
            wakeup_events=self._options.wakeup_events,
            wakeup_bytes=self._options.wakeup_bytes,
        )
        if fd == -errno.ENODEV:
            return False
        if fd < 0:
            perf.fail(-fd, f"open the perf buffer of CPU {cpu}")
        ring = ffi.new("struct ebpf_perf_ring *")
        try:
            self._map_ring(fd, cpu, ring)
            self._set_entry(cpu, fd)
        except BaseException:
            lib.ebpf_perf_close(ring)
            os.close(fd)
            raise
        with self.lock:
            self._replace([*self._cpus, cpu], [*self._fds, fd], [*self._all(), ring[0]])
        return True

    def _map_ring(self, fd: int, cpu: int, ring: Any) -> None:
        result = int(lib.ebpf_perf_open(fd, self.size, self._backward, ring))
        action = f"map the perf buffer of CPU {cpu}, of {self.size} bytes"
        if result == -errno.EPERM:
            raise BpfPermissionError(
                errno.EPERM,
                f"{action}: it is more than kernel.perf_event_mlock_kb and RLIMIT_MEMLOCK leave"
                " to a process without CAP_IPC_LOCK; use a smaller size, or raise one of them",
            )
        check(result, action)

    def _set_entry(self, cpu: int, fd: int) -> None:
        order = sys.byteorder
        try:
            bpf.map_update_elem(self._map_fd, cpu.to_bytes(4, order), fd.to_bytes(4, order))
        except BpfPermissionError:
            if not self.map.closed:
                self.map._refuse_access("put perf buffers into")
            raise

    def _clear_entry(self, cpu: int) -> None:
        # Without it, programs would find the event gone only with the map's last descriptor.
        try:
            bpf.map_delete_elem(self._map_fd, cpu.to_bytes(4, sys.byteorder))
        except BpfFileNotFoundError:
            pass
        except BpfPermissionError:
            if not self.map.closed:
                self.map._refuse_access("take perf buffers, which are closed all the same, out of")
            raise

    def stopped(self) -> list[int]:
        """The CPUs whose events are over: they were offline since, even if only for an instant (a
        machine that sleeps takes all but one away)."""
        now = time.monotonic()
        found = []
        for cpu, fd in zip(self._cpus, self._fds, strict=True):
            on = perf.output_time(fd)
            before, when = self._seen.get(cpu, (-1, now))
            if on > before:
                self._seen[cpu] = (on, now)
            elif now - when > _STANDSTILL:
                found.append(cpu)
        return found

    def close_cpu(self, cpu: int) -> None:
        """Keep what was written on `cpu`, and forget its ring: the CPU is gone."""
        with self.lock:
            if self._reading:
                raise self._reentered()
            self._keep_unread()
            at = self._cpus.index(cpu)
            rings = self._all()
            self._lost[cpu] = self._lost.get(cpu, 0) + int(rings[at].lost)
            self._seen.pop(cpu, None)
            lib.ebpf_perf_close(ffi.addressof(self._rings, at))
            fd = self._fds[at]
            others = [index for index in range(len(rings)) if index != at]
            self._replace(
                [self._cpus[index] for index in others],
                [self._fds[index] for index in others],
                [rings[index] for index in others],
            )
            os.close(fd)
            self._clear_entry(cpu)

    def _keep_unread(self) -> None:
        """Make pending what is unread."""
        if self._hold is not None:
            self._hold = 0.0
        try:
            for _ in range(self.rounds()):
                self._settle()
                self._copy(CHUNK_RECORDS)
            self._settle()
        finally:
            self._hold = self._options.hold

    def _all(self) -> list[Any]:
        return [self._rings[index] for index in range(len(self._cpus))]

    def _replace(self, cpus: list[int], fds: list[int], rings: list[Any]) -> None:
        self._rings = ffi.new("struct ebpf_perf_ring[]", rings or 1)
        self._cpus, self._fds = cpus, fds
        self.ring.first = 0

    def close(self) -> None:
        """Unmap the rings, close the events, and take them out of the map.

        Raises:
            BpfPermissionError: the map is frozen; they are out of it when it is closed.
        """
        try:
            with self.lock:
                for cpu in self._cpus if self._map_fd >= 0 else []:
                    self._clear_entry(cpu)
        finally:
            super().close()

    def _close(self) -> list[int]:
        if self._map_fd < 0:
            return []
        for index in range(len(self._cpus)):
            lib.ebpf_perf_close(ffi.addressof(self._rings, index))
        fds, self._fds = [*self._fds, self._map_fd], []
        self._map_fd = -1
        return fds

    def _disown(self) -> None:
        # The kernel leaves these mappings out of a child: what is there now is something else. And
        # the child has the map too, out of which it must not take what its parent reads.
        for ring in self._rings:
            ring.base = 0
        self._cpus = []

    # ---- what the core does -----------------------------------------------------------------

    def _look(self) -> int:
        self._mark_time()
        return self._checked(lib.ebpf_perf_ready(self.ring, self._rings, self._count()))

    def _unread(self) -> int:
        return self._checked(lib.ebpf_perf_unread(self._rings, self._count()))

    def _drain(self, buffer: Any, room: int, ends: Any, limit: int) -> int:
        self._mark_time()
        return int(
            lib.ebpf_perf_drain(self.ring, self._rings, self._count(), buffer, room, ends, limit)
        )

    def _drain_pickle(self, buffer: Any, room: int, limit: int) -> int:
        self._mark_time()
        return int(
            lib.ebpf_perf_drain_pickle(self.ring, self._rings, self._count(), buffer, room, limit)
        )

    def _count(self) -> int:
        return self._checked(-errno.EBADF) if self._map_fd < 0 else len(self._cpus)

    def _mark_time(self) -> None:
        """Records of one CPU may be committed later than those of another that began later."""
        if self._hold is not None:
            self.ring.until = time.monotonic_ns() - int(self._hold * 1e9)


class Snapshots(PerfRings):
    """Rings in which the kernel replaces the oldest records; they are read all at once.

    Records are in the order of time across all CPUs.
    """

    _backward = True

    def _look(self) -> int:
        self._copy(CHUNK_RECORDS)
        return bool(self.pending)

    def _unread(self) -> int:
        # It would be worth nothing: what is unread now may be overwritten by then.
        return self._count() and 0

    def _take_chunk(self, limit: int, taken: list[Any], defer: bool) -> None:
        self._copy(limit)
        self._decode(self._pop(limit), taken, defer)

    def _drain_buffer(self, limit: int) -> Records:
        self._copy(limit)
        return joined(self._pop(limit), self.codec)

    def _copy(self, limit: int) -> None:
        """Make pending everything that was written since the last time and is still there."""
        self._count()
        buffer = bytearray(self.size + lib.EBPF_RING_PICKLE_OVERHEAD)
        paused: list[int] = []
        # What programs write meanwhile is lost, so nothing but copying is done there. All rings are
        # paused together: else a record that is read next time could be older than those of now.
        try:
            for fd in self._fds:
                check(lib.ebpf_perf_pause(fd, 1), f"pause the perf buffers of {self.map!r}")
                paused.append(fd)
            copies = [self._snapshot(at, buffer) for at in range(len(self._cpus))]
        finally:
            for fd in paused:
                lib.ebpf_perf_pause(fd, 0)
        found: list[bytes] = [record for copy in copies for record in self._loads(copy)]
        found.sort(key=_time)
        self.pending += [record[8:] for record in found]

    def _snapshot(self, at: int, buffer: bytearray) -> bytes:
        ring = ffi.addressof(self._rings, at)
        self._checked(lib.ebpf_perf_snapshot(self.ring, ring, ffi.from_buffer(buffer), len(buffer)))
        return bytes(memoryview(buffer)[: self.ring.used])


def _time(record: bytes) -> int:
    return int.from_bytes(record[:8], sys.byteorder)
