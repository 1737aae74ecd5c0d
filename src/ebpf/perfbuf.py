"""Reading BPF_MAP_TYPE_PERF_EVENT_ARRAY (4.4): what programs send by bpf_perf_event_output()."""

from __future__ import annotations

import os

from ebpf._sys import facts
from ebpf.codec import codec as make_codec
from ebpf.info import Info
from ebpf.maps.perf import Options, PerfRings, Snapshots
from ebpf.reader import COALESCE, FILL_LEVEL, RecordReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, NoReturn, SupportsIndex

    from ebpf.maps import Map

__all__ = ["PerfBuffer", "PerfCounters"]

# Bytes of a ring, of which each CPU has one.
_SIZE = 1 << 18

# Seconds between two looks at which CPUs are online.
_CPU_INTERVAL = 1.0

# Seconds for which `ordered` holds a record back, unless it says so itself.
_HOLD = 0.001

# A record's length has 16 bits in the kernel; the headers are in it.
_LONGEST_RECORD = (1 << 16) - 24


class PerfCounters(Info):
    """What a PerfBuffer has copied out of its rings since it was made, and what it could not."""

    records: int
    bytes: int  #: of payload
    lost: int  #: records that the kernel had no room for; it says so with the next one that fits
    lost_by_cpu: dict[int, int]


class PerfBuffer(RecordReader):
    """The consumer of a PERF_EVENT_ARRAY map: one ring per CPU, read as one.

    It opens a perf event on every CPU and puts it into the map, so that a program's
    ``bpf_perf_event_output(ctx, &map, BPF_F_CURRENT_CPU, data, size)`` arrives here::

        with ebpf.PerfBuffer(events, codec="QII16s") as buffer:
            for time, pid, parent, name in buffer:
                ...

    It is read as a RingBuffer is: iterate, `read`, `read_batch`, `read_buffer`, `poll`, `consume`,
    ``async for``, by one reader per map, and not in a forked child, where it is closed. Where the
    kernel has it (5.8), a RINGBUF takes less memory and keeps records in order.

    The kernel pads a record to a multiple of 8 bytes less 4, and does not say what the program
    wrote: 16 bytes arrive as 20, the last four of no meaning. With a codec, or `record_size`, they
    are cut off.
    """

    _slice = _CPU_INTERVAL
    _rings: list[PerfRings]  # type: ignore[assignment]

    def __init__(
        self,
        map: Map[Any, Any],
        codec: object = None,
        *,
        size: int = _SIZE,
        record_size: int | None = None,
        cpus: Iterable[int] | None = None,
        ordered: bool | float = False,
        overwrite: bool = False,
        wakeup_events: int | None = None,
        wakeup_bytes: int | None = None,
        coalesce: float = COALESCE,
        fill_level: float = FILL_LEVEL,
    ) -> None:
        """Open and map a ring on every CPU that is online.

        CPUs that come online later, or again, are noticed within a second by `poll` and whatever
        waits, and those that go offline are read to the end.

        Args:
            map: the PERF_EVENT_ARRAY.
            codec: how a record's bytes become a value; without one a record is bytes.
            size: bytes of each CPU's ring, a power of two, at least a page.
            record_size: bytes that the program writes, where every record has the same; of a
                codec by default its own.
            cpus: the numbers of the CPUs to read, where not all. An offline one is read once it
                is online.
            ordered: hand out records in the order of their time across CPUs. Each is held back
                for a millisecond, or as many seconds as this says, because a record may become
                visible after a later one of another CPU.
            overwrite: let the kernel replace the oldest records, and not drop the newest: the
                rings then hold what happened last. Each read takes a snapshot, for which writing
                is paused; records are in the order of time.
            wakeup_events: records on one CPU after which a waiting reader is woken; 1 by default.
                Those that it doesn't wake for are found when the wait ends.
            wakeup_bytes: the same in bytes, headers included; not together with wakeup_events.
            coalesce, fill_level: as of a RingBuffer.

        Raises:
            TypeError: `map` is no PERF_EVENT_ARRAY.
            ValueError: a number is out of its range, or the map has no entry for a CPU.
            BpfPermissionError: no right to open perf events (CAP_PERFMON), or to lock so much
                memory for them (kernel.perf_event_mlock_kb).
        """
        super().__init__(coalesce, fill_level)
        made = None if codec is None else make_codec(codec)
        options = Options(
            size=_power_of_two(size),
            record_size=_record_size(record_size, 0 if made is None else made.size),
            wakeup_events=_wakeup(wakeup_events, wakeup_bytes),
            wakeup_bytes=wakeup_bytes or 0,
            hold=_hold(ordered),
        )
        self._wanted = None if cpus is None else _cpus(cpus)
        kind = Snapshots if overwrite else PerfRings
        self._closed = False
        try:
            self._rings.append(kind(map, made, options))
            self._refresh()
        except BaseException:
            self.close()
            raise

    @property
    def cpus(self) -> list[int]:
        """The CPUs whose rings are read now."""
        return self._rings[0].cpus

    @property
    def counters(self) -> PerfCounters:
        """What was copied out so far, and what was lost."""
        rings = self._rings[0]
        lost = rings.lost()
        return PerfCounters(
            records=int(rings.ring.records),
            bytes=int(rings.ring.bytes),
            lost=sum(lost.values()),
            lost_by_cpu=lost,
        )

    def _refresh(self) -> None:
        """Open the rings of CPUs that came online, and close those of CPUs that went."""
        with self._lock:
            self._check_open()
            rings = self._rings[0]
            online = facts.online_cpus()
            wanted = [cpu for cpu in online if self._wanted is None or cpu in self._wanted]
            gone = {cpu for cpu in rings.cpus if cpu not in wanted}
            for cpu in gone.union(rings.stopped()):
                rings.close_cpu(cpu)
            # Before a new descriptor has the number of an old one.
            self._follow()
            for cpu in wanted:
                if cpu not in rings.cpus:
                    rings.open_cpu(cpu)
            self._follow()

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        # A copy would unmap the rings that this object still reads.
        raise TypeError(
            f"{self!r} holds descriptors and can't be copied or pickled; make another PerfBuffer of"
            " its map (pin it for another process)"
        )

    def __repr__(self) -> str:
        name = self._rings[0].map.name if self._rings else ""
        state = " closed" if self._closed else ""
        return f"<ebpf.PerfBuffer of {name or '(no name)'}{state}>"


def _power_of_two(size: int) -> int:
    page = os.sysconf("SC_PAGESIZE")
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(f"size: {size!r} is not an int")
    if size < page or size & (size - 1) or size > 1 << 30:
        raise ValueError(
            f"size: {size} bytes; a ring has a power of two of them, from {page} to {1 << 30}"
        )
    return size


def _record_size(given: int | None, of_codec: int) -> int:
    size = of_codec if given is None else given
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(f"record_size: {size!r} is not an int")
    if given is not None and of_codec and given != of_codec:
        raise ValueError(f"record_size: {given}, but the codec takes {of_codec} bytes")
    if given == 0 or not 0 <= size <= _LONGEST_RECORD:
        raise ValueError(
            f"record_size: {size} bytes; bpf_perf_event_output() takes 1 to {_LONGEST_RECORD}"
        )
    return size


def _cpus(cpus: Iterable[int]) -> list[int]:
    numbers = list(cpus)
    possible = facts.possible_cpu_numbers()
    for cpu in numbers:
        if isinstance(cpu, bool) or not isinstance(cpu, int):
            raise TypeError(f"cpus: {cpu!r} is not an int")
        if cpu not in possible:
            raise ValueError(
                f"cpus: {cpu}, but the possible CPUs are {possible[0]} to {possible[-1]}"
            )
    if not numbers:
        raise ValueError("cpus: empty; there is nothing to read")
    return sorted(set(numbers))


def _wakeup(events: int | None, size: int | None) -> int:
    """``wakeup_events``, 0 where bytes are counted."""
    for name, number in (("wakeup_events", events), ("wakeup_bytes", size)):
        if number is None:
            continue
        if isinstance(number, bool) or not isinstance(number, int):
            raise TypeError(f"{name}: {number!r} is not an int")
        if not 1 <= number < 1 << 32:
            raise ValueError(f"{name}: {number} is not between 1 and {(1 << 32) - 1}")
    if events is not None and size is not None:
        raise ValueError("wakeup_bytes: the kernel counts records or bytes, not both")
    return 0 if size is not None else events or 1


def _hold(ordered: bool | float) -> float | None:
    if isinstance(ordered, bool):
        return _HOLD if ordered else None
    if not isinstance(ordered, (int, float)):
        raise TypeError(f"ordered: {ordered!r} is neither a bool nor seconds")
    if not 0 <= ordered <= 60:
        raise ValueError(f"ordered: {ordered} seconds are not between 0 and 60")
    return float(ordered)
