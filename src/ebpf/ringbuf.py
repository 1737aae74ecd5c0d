"""Reading BPF_MAP_TYPE_RINGBUF (5.8): every record once, in order, without a callback from C."""

from __future__ import annotations

from operator import index

from ebpf.codec import codec as make_codec
from ebpf.info import Info
from ebpf.maps.records import Records
from ebpf.maps.ring import Ring
from ebpf.reader import COALESCE, FILL_LEVEL, RecordReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, NoReturn, SupportsIndex

    from ebpf.codec import Codec
    from ebpf.maps import Map

__all__ = ["Records", "RingBuffer", "RingCounters"]


class RingCounters(Info):
    """What a RingBuffer has copied out of its rings since it was made, and what it could not."""

    records: int
    bytes: int  #: of payload
    discarded: int  #: records that programs reserved and then discarded
    overwritten: int  #: bytes that the kernel replaced unread (RB_OVERWRITE), headers included
    dropped: int | None  #: records that programs had no room for, by their own count


class RingBuffer(RecordReader):
    """The consumer of one or several RINGBUF maps.

    Iterating waits for records and never ends::

        with ebpf.RingBuffer(events, codec="QII16s") as ring:
            for time, pid, parent, name in ring:
                ...

    A ring has one consumer at a time: a second RingBuffer, or another process that reads the
    same map, takes records away from this one. Several threads may share one RingBuffer; each
    record goes to one of them. They don't share the work of a burst: the one that finds it copies a
    run of records out of the ring and goes on with them, while those that wait are woken by the
    kernel, for what comes later. Where a record takes long, hand it to a pool. Closing it ends the
    waits of the others with ClosedError. A signal handler may close it; reading in a handler that
    interrupted a read is a RuntimeError. In a forked child it is closed, which the parent does not
    notice: make one after the fork.

    Of a map in overwrite mode (RB_OVERWRITE, 6.19), where a full ring loses its oldest records and
    not the newest, each record is read that is still there; `counters` has how many bytes are not.
    """

    _rings: list[Ring]  # type: ignore[assignment]

    def __init__(
        self,
        maps: Map[Any, Any] | Iterable[Map[Any, Any]] | Mapping[Map[Any, Any], object],
        codec: object = None,
        *,
        coalesce: float = COALESCE,
        fill_level: float = FILL_LEVEL,
        drops: object = None,
    ) -> None:
        """Map the ring or rings.

        Args:
            maps: one map; several (records then come as ``(map, record)``); or a dict that gives
                each map a codec of its own.
            codec: how a record's bytes become a value. Without one it is what the object's source
                says of the map (``__type(value, struct event)``), else a record is bytes; `bytes`
                asks for these anyway. A record that the codec can't decode raises once; reading
                goes on behind it.
            coalesce: seconds between two returns of `poll` (and of what waits by it) while
                records keep coming, so that a fast program isn't slowed; a record that comes
                alone is not delayed. 0 takes each record as it comes.
            fill_level: how full a ring may become meanwhile, 0.0 to 1.0.
            drops: where the program counts the records that it had no room for: a map of
                integers (an array, per-CPU or not: all values are added), a variable of a
                collection, or a function that returns the count. `counters` has it.

        Raises:
            TypeError: a map is not a RINGBUF, or the values of `drops` are no integers.
            ValueError: a map is there twice, or a number is out of its range.
            NotSupportedError: this process has 32 bits and the kernel 64.
        """
        super().__init__(coalesce, fill_level)
        _check_drops(drops)
        self._single = hasattr(maps, "fileno")
        self._drops = drops
        self._closed = False
        try:
            for map, given in _with_codecs(maps, codec):
                self._add(Ring(map, _codec(map, given)))
            if not self._rings:
                raise ValueError("maps: at least one RINGBUF map is needed")
        except BaseException:
            self.close()
            raise

    def _add(self, ring: Ring) -> None:
        # Before the check, so that a ring which fails it is closed with the others.
        self._rings.append(ring)
        if any(other.map_id == ring.map_id for other in self._rings[:-1]):
            raise ValueError(f"maps: {ring.map!r} is there twice; a ring has one reader")

    @property
    def counters(self) -> RingCounters:
        """What was copied out so far, and what was lost."""
        return RingCounters(
            records=sum(int(ring.ring.records) for ring in self._rings),
            bytes=sum(int(ring.ring.bytes) for ring in self._rings),
            discarded=sum(int(ring.ring.discarded) for ring in self._rings),
            overwritten=sum(int(ring.ring.overwritten) for ring in self._rings),
            dropped=None if self._drops is None else _count(self._drops),
        )

    def fileno(self) -> int:
        """A descriptor that is readable while the kernel has records, for epoll and selectors.

        Records that wait in this object don't make it readable: read until there are none before
        waiting on it, or use `poll`, which knows them.
        """
        self._check_open()
        return self._rings[0].fd if self._single else super().fileno()

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        # A copy would unmap the rings that this object still reads.
        raise TypeError(
            f"{self!r} holds descriptors and can't be copied or pickled; make another RingBuffer of"
            " its maps (pin them for another process)"
        )

    def __repr__(self) -> str:
        maps = ", ".join(ring.map.name or "(no name)" for ring in self._rings)
        return f"<ebpf.RingBuffer of {maps}{' closed' if self._closed else ''}>"


def _codec(map: Map[Any, Any], given: object) -> Codec[Any] | None:
    if given is bytes:
        return None
    return getattr(map, "record_codec", None) if given is None else make_codec(given)


def _check_drops(drops: Any) -> None:
    if drops is None or callable(drops) or _is_value(drops):
        return
    if not hasattr(drops, "items"):
        raise TypeError(f"drops: {drops!r} is no map, variable or function")
    codec = getattr(drops, "value_codec", None)
    zero = 0 if codec is None else codec.unpack(bytes(codec.size))
    if not all(hasattr(one, "__index__") for one in _each(zero)):
        raise TypeError(
            f"drops: the values of {drops!r} are no integers, but such as {zero!r}; open the map"
            ' with value="Q", or pass a function that returns the count'
        )


def _count(drops: Any) -> int:
    """The number of drops, from wherever the program counts them."""
    if callable(drops):
        return int(drops())
    if hasattr(drops, "items"):
        return sum(index(one) for _, value in drops.items() for one in _each(value))
    return int(drops.value)


def _each(value: Any) -> Any:
    """The numbers in a map's value, which may have one for each CPU."""
    return value if isinstance(value, (list, tuple)) else (value,)


def _is_value(drops: object) -> bool:
    # Not hasattr() of an instance, which would read the variable.
    return hasattr(type(drops), "value")


def _with_codecs(maps: Any, codec: object) -> list[tuple[Map[Any, Any], object]]:
    if hasattr(maps, "fileno"):
        return [(maps, codec)]
    if not hasattr(maps, "__iter__"):
        raise TypeError(f"maps: {maps!r} is no map, and no list or dict of maps")
    if hasattr(maps, "keys"):
        if codec is not None:
            raise TypeError("codec: with a dict of maps each map has its codec there")
        return list(maps.items())
    return [(map, codec) for map in maps]
