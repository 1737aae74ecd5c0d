"""Reading a perf buffer: every record once, whole, from every CPU, and what was lost is counted."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from ebpf import ClosedError, CodecError, Map, MapType, PerfBuffer
from ebpf._sys import facts
from ebpf.codec import u64
from ebpf.errors import BpfError, BpfPermissionError
from tests.kernel.perfbuf.support import PerfProducer, cpus, padded, perf_map
from tests.kernel.samples import python, ring_map

PAGE = resource.getpagesize()
SIZES = [1, 7, 8, 9, 12, 16, 20, 63, 64, 65, 251, 252, 253, 255, 256, 500]


@pytest.mark.parametrize("size", SIZES)
def test_records_of_every_length_arrive_whole(size: int) -> None:
    """The lengths at which the copy, or the form in which C hands them over, changes."""
    with perf_map() as events, PerfProducer(events, size, batch=5) as producer:
        with PerfBuffer(events, record_size=size) as reader:
            expected = producer.records(3, 5)
            assert producer.run(3) == 5
            assert reader.read_batch() == expected
            producer.run(3)
            assert [reader.read() for _ in range(6)] == [*expected, None]
            producer.run(3)
            buffer = reader.read_buffer()
            assert (len(buffer), buffer.record_size) == (5, size)
            assert [bytes(record) for record in buffer] == expected
            counted = reader.counters
            assert (counted.records, counted.bytes, counted.lost) == (15, 15 * size, 0)
        with PerfBuffer(events) as reader:
            # Without the size, the kernel's padding is a part of them.
            producer.run(3)
            whole = reader.read_batch()
            assert [len(record) for record in whole] == [padded(size)] * 5
            assert [record[:size] for record in whole] == expected


@pytest.mark.parametrize("size", [4, 20, 28, 100, 500])
def test_rings_that_wrap_many_times_lose_nothing(size: int) -> None:
    """Records end at another place in each round, also in the middle of their data."""
    many = (PAGE - 8) // (padded(size) + 12)
    with (
        perf_map() as events,
        PerfProducer(events, size, batch=many) as producer,
        PerfBuffer(events, size=PAGE, record_size=size) as reader,
    ):
        for round in range(100):
            assert producer.run(round) == many
            got = reader.read_batch() if round % 2 else list(map(bytes, reader.read_buffer()))
            assert got == producer.records(round, many)
        assert reader.counters.lost == 0


def test_a_full_ring_counts_what_it_loses_on_each_cpu() -> None:
    """A gap in the records that nobody tells of is the worst a tracer can have."""
    with (
        perf_map() as events,
        PerfProducer(events, 16, batch=1000) as producer,
        PerfProducer(events, 16) as once,
        PerfBuffer(events, size=PAGE, record_size=16) as reader,
    ):
        refused = {}
        for round, cpu in enumerate(cpus(), 1):
            accepted = producer.run(0, cpu)
            assert 0 < accepted < 1000
            # The first of them ended the batch; each of these is refused as well.
            refused[cpu] = 1 + 5 * round
            assert [once.run(0, cpu) for _ in range(5 * round)] == [0] * 5 * round
            assert reader.read_batch() == producer.records(0, accepted)
            # The kernel says what it lost with the next record.
            assert once.run(7, cpu) == 1
            assert reader.read() == once.record(7)
        assert reader.counters.lost_by_cpu == dict.fromkeys(reader.cpus, 0) | refused
        assert reader.counters.lost == sum(refused.values())


def test_every_cpu_is_read_and_none_starves_another() -> None:
    """However full the ring of one is."""
    several = cpus()
    with (
        perf_map() as events,
        PerfProducer(events, 8, batch=100) as producer,
        PerfBuffer(events, codec="Q") as reader,
    ):
        expected = [
            1000 * index + value for index in range(1, len(several)) for value in range(100)
        ]
        for index, cpu in enumerate(several):
            producer.run(1000 * index, cpu)
        seen: list[int] = []
        # As fast as one is read, its ring is filled again.
        for _ in range(100 * len(several)):
            producer.run(0, several[0])
            seen += reader.read_batch(3)
        assert sorted(value for value in seen if value >= 1000) == expected
        assert seen.count(0) >= 1


def test_max_records_bounds_every_form() -> None:
    """What is left out is served next, from the rings or from what was copied already."""
    with (
        perf_map() as events,
        PerfProducer(events, 8, batch=20) as producer,
        PerfBuffer(events, record_size=8) as reader,
    ):
        here = cpus()[0]
        producer.run(0, here)
        seen: list[bytes] = []
        assert reader.read_batch(0) == []
        seen += reader.read_batch(3)
        seen.append(reader.read())
        seen += reader.read_batch(2)
        seen += [bytes(record) for record in reader.read_buffer(4)]
        assert len(seen) == 10
        assert reader.consume(seen.append, max_records=5) == 5
        producer.run(20, here)
        seen += reader.read_batch()
        assert seen == producer.records(0, 40)


def test_ordered_records_come_in_the_order_of_their_time() -> None:
    """Also where the rings of several CPUs were written in turn."""
    several = cpus()
    with (
        perf_map() as events,
        PerfProducer(events, 8, batch=3) as producer,
        PerfBuffer(events, codec="Q", ordered=True) as ordered,
    ):
        for round in range(50):
            producer.run(3 * round, several[round % len(several)])
        seen: list[int] = []
        while len(seen) < 150:
            assert ordered.poll(60)
            # In parts, so that what is left is in order too.
            seen += ordered.read_batch(7)
        assert seen == list(range(150))
        for round in range(50):
            producer.run(3 * round, several[round % len(several)])
        assert ordered.poll(60)
        taken = [int.from_bytes(record, sys.byteorder) for record in ordered.read_buffer(150)]
        assert taken == list(range(len(taken)))


def test_nothing_is_ready_while_all_is_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that is told so finds nothing, and asks again without an end."""
    with perf_map() as events, PerfBuffer(events, codec="Q", ordered=0.0) as reader:
        (rings,) = reader._rings
        monkeypatch.setattr(rings, "_look", lambda: 2)
        assert not reader.poll(0.01)


def test_ordered_records_are_held_back_until_nothing_older_can_come() -> None:
    """Ten seconds are longer than this test; what is held back stays in the ring."""
    with (
        perf_map() as events,
        PerfProducer(events, 8) as producer,
        PerfBuffer(events, codec="Q", ordered=3600 / 60) as reader,
    ):
        producer.run(1)
        assert not reader.poll(0)
        assert not reader.poll(0.05)
        assert reader.read() is None
        assert reader.read_batch() == []


@pytest.mark.parametrize("form", ["batch", "read", "buffer"])
def test_overwritten_rings_hold_what_happened_last(form: str) -> None:
    """A flight recorder that stops when it is full records the wrong flight."""
    several = cpus()
    with (
        perf_map() as events,
        PerfProducer(events, 12, batch=2) as producer,
        PerfBuffer(events, overwrite=True, size=PAGE, record_size=12) as reader,
    ):

        def everything() -> list[bytes]:
            if form == "batch":
                return reader.read_batch()
            if form == "buffer":
                return [bytes(record) for record in reader.read_buffer()]
            return list(iter(reader.read, None))

        assert everything() == []
        # Header, time, length and data are 32 bytes.
        fit = PAGE // 32
        rounds = 4 * fit * len(several)
        for round in range(rounds):
            producer.run(2 * round, several[round % len(several)])
        last = 2 * rounds
        assert everything() == producer.records(last - fit * len(several), fit * len(several))
        assert everything() == []
        # What comes now is told from what was read before.
        producer.run(last)
        assert reader.poll(60)
        assert everything() == producer.records(last, 2)
        assert reader.counters.lost == 0


def test_a_limit_keeps_the_rest_of_a_snapshot() -> None:
    """It was taken out of the ring already."""
    with (
        perf_map() as events,
        PerfProducer(events, 8, batch=10) as producer,
        PerfBuffer(events, codec="Q", overwrite=True) as reader,
    ):
        here = cpus()[0]
        producer.run(0, here)
        assert reader.read_batch(4) == [0, 1, 2, 3]
        producer.run(10, here)
        assert [*reader.read_batch(3), reader.read()] == [4, 5, 6, 7]
        assert reader.poll(0)
        assert reader.read_batch(2) == [8, 9]
        assert reader.read_batch() == list(range(10, 20))


def test_a_record_that_the_codec_cannot_decode_raises_once() -> None:
    """A program that writes something else must not end in silence, nor end the reading."""
    with (
        perf_map() as events,
        PerfProducer(events, 8) as right,
        PerfProducer(events, 16) as wrong,
        PerfBuffer(events, codec="Q") as reader,
    ):
        here = cpus()[0]
        for producer in (right, wrong, right):
            producer.run(5, here)
        assert reader.read() == 5
        with pytest.raises(CodecError, match="got 20 bytes"):
            reader.read()
        assert reader.read() == 5


def test_records_with_names() -> None:
    @dataclass
    class Event:
        number: u64
        rest: u64

    with (
        perf_map() as events,
        PerfProducer(events, 16, batch=2) as producer,
        PerfBuffer(events, codec=Event) as reader,
    ):
        producer.run(8)
        assert reader.read_batch() == [Event(8, 0), Event(9, 0)]


def test_the_longest_record() -> None:
    """Its length has 16 bits in the kernel, headers included."""
    longest = 65512
    with perf_map() as events:
        with pytest.raises(ValueError, match="record_size: 65513 bytes"):
            PerfBuffer(events, record_size=longest + 1)
        with PerfBuffer(events, size=1 << 17, record_size=longest) as reader:
            assert reader.read() is None


def test_closing_takes_the_events_out_of_the_map() -> None:
    """Programs would go on writing into rings that nobody reads."""
    with perf_map() as events, PerfProducer(events, 8) as producer:
        reader = PerfBuffer(events, codec="Q")
        assert producer.run() == 1
        reader.close()
        reader.close()
        assert producer.run() == 0
        with PerfBuffer(events, codec="Q") as second:
            assert producer.run(4) == 1
            assert second.read() == 4
        for use in (reader.read, reader.read_batch, reader.read_buffer, reader.poll, reader.fileno):
            with pytest.raises(ClosedError):
                use()


def test_a_child_that_ends_leaves_the_events_to_its_parent() -> None:
    """Leaving the with block there as well, it would take them out of the map that both have."""
    told = python(
        """
import os, sys
from ebpf import PerfBuffer
from tests.kernel.perfbuf.support import PerfProducer, cpus, perf_map
with perf_map() as events, PerfProducer(events, 8) as producer:
    with PerfBuffer(events, codec="Q") as reader:
        child = os.fork()
        if not child:
            sys.exit(3)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
        print(producer.run(7, cpus()[0]), reader.read())
"""
    )
    assert told == "1 7\n"


def test_a_reader_outlives_the_map_object() -> None:
    with perf_map() as events, PerfProducer(events, 8) as producer:
        copy = events.duplicate()
        with PerfBuffer(copy, codec="Q") as reader:
            copy.close()
            producer.run(3)
            assert reader.read() == 3
        assert producer.run(3) == 0


def mapped() -> int:
    with open("/proc/self/maps") as maps:
        return sum("[perf_event]" in line for line in maps)


def test_failing_to_open_leaves_nothing_open() -> None:
    """Each step may fail: what was opened and mapped before it is given back."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with perf_map() as events, PerfProducer(events) as producer:
        failures = 0
        first = producer.program.fileno() + 1
        limits = range(first, first + len(cpus()) + 8)
        for limit in limits:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            try:
                reader = PerfBuffer(events)
                try:
                    reader.poll(0.01)
                finally:
                    reader.close()
            except OSError:
                failures += 1
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert producer.run() == 0
        assert 1 < failures < len(limits)
        assert mapped() == 0


def test_bad_arguments() -> None:
    """Each is named, with what would be right, and nothing stays open."""
    with perf_map() as events, ring_map() as ring:
        for arguments, words in (
            ({"size": 5000}, "size: 5000 bytes; a ring has a power of two"),
            ({"size": PAGE // 2}, f"from {PAGE}"),
            ({"record_size": 0}, "record_size: 0"),
            ({"record_size": 8, "codec": "II16s"}, "but the codec takes 24 bytes"),
            ({"wakeup_events": 0}, "wakeup_events: 0 is not between 1"),
            ({"wakeup_bytes": 1 << 32}, "wakeup_bytes: 4294967296"),
            ({"wakeup_events": 1, "wakeup_bytes": 1}, "records or bytes, not both"),
            ({"ordered": -1.0}, r"ordered: -1\.0 seconds"),
            ({"coalesce": -1}, "coalesce: -1 is not between 0"),
            ({"fill_level": 2}, "fill_level: 2 is not between 0 and 1"),
            # These would read nothing, for ever.
            ({"cpus": [-1]}, r"cpus: -1, but the possible CPUs are 0 to \d"),
            ({"cpus": [0, 100_000]}, "cpus: 100000, but"),
            ({"cpus": []}, "cpus: empty"),
        ):
            with pytest.raises(ValueError, match=words):
                PerfBuffer(events, **arguments)
        for arguments, words in (
            ({"size": 8192.0}, "size: 8192.0 is not an int"),
            ({"record_size": "8"}, "record_size: '8' is not an int"),
            ({"wakeup_events": True}, "wakeup_events: True is not an int"),
            ({"ordered": "yes"}, "ordered: 'yes' is neither"),
            ({"coalesce": "1"}, "coalesce: '1' is not a number"),
            ({"cpus": ["0"]}, "cpus: '0' is not an int"),
        ):
            with pytest.raises(TypeError, match=words):
                PerfBuffer(events, **arguments)
        with pytest.raises(TypeError, match="is not a PERF_EVENT_ARRAY map"):
            PerfBuffer(ring)
        with pytest.raises(TypeError, match="can't be copied or pickled"), PerfBuffer(events) as r:
            r.__reduce_ex__(4)
        assert mapped() == 0


def test_a_map_without_an_entry_for_a_cpu() -> None:
    """Programs on that CPU would write nowhere."""
    last = cpus()[-1]
    if last == 0:
        with perf_map() as events, PerfBuffer(events) as reader:
            assert reader.cpus == [0]
        return
    with perf_map(max_entries=last) as events:
        wanted = rf"CPU {last}, but .* has {last} entries;.* cpus=range\({last}\) reads"
        with pytest.raises(ValueError, match=wanted):
            PerfBuffer(events)
        with PerfBuffer(events, cpus=range(last)) as reader:
            assert reader.cpus == list(range(last))
        assert mapped() == 0


def test_a_frozen_map_is_refused_with_nothing_left(tmp_path: Any) -> None:
    """Its entries cannot be set."""
    with perf_map() as events:
        events.freeze()
        with pytest.raises(BpfError, match=r"put perf buffers into .*: the map is frozen"):
            PerfBuffer(events)
        assert mapped() == 0


def test_a_map_that_was_frozen_since() -> None:
    """Its entries stay, but memory and descriptors must not stay with them."""
    before = len(os.listdir("/proc/self/fd"))
    with perf_map() as events:
        reader = PerfBuffer(events)
        waiting = reader.fileno()
        events.freeze()
        with pytest.raises(BpfPermissionError, match=r"which are closed .*: the map is frozen"):
            reader.close()
        reader.close()
        assert not os.path.exists(f"/proc/self/fd/{waiting}")
        assert mapped() == 0
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_cpu_that_goes_after_the_map_was_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read then on is said to be closed."""
    several = cpus()
    with perf_map() as events, PerfProducer(events, 8) as producer:
        reader = PerfBuffer(events, codec="Q")
        events.freeze()
        monkeypatch.setattr(facts, "online_cpus", lambda: several[1:])
        with pytest.raises(BpfPermissionError, match="the map is frozen"):
            reader._refresh()
        assert reader.cpus == several[1:]
        assert reader.read() is None
        for cpu in several[1:]:
            assert producer.run(7, cpu) == 1
            assert reader.read() == 7
        with contextlib.ExitStack() as stack:
            if several[1:]:
                stack.enter_context(pytest.raises(BpfPermissionError, match="the map is frozen"))
            reader.close()


def test_a_forgotten_reader_warns_and_unmaps() -> None:
    """Mapped memory and descriptors would stay until the process ends."""
    with perf_map(name="forgotten") as events:
        reader = PerfBuffer(events)
        assert mapped() == len(reader.cpus)
        with pytest.warns(ResourceWarning, match="unclosed <ebpf.PerfBuffer of forgotten>"):
            del reader
        assert mapped() == 0


def test_a_plain_map_object_of_the_type_will_do() -> None:
    with (
        perf_map() as events,
        PerfProducer(events, 8) as producer,
        Map.from_id(events.info().id) as other,
        PerfBuffer(other, codec="Q") as reader,
    ):
        assert other.type == MapType.PERF_EVENT_ARRAY
        producer.run(9)
        assert reader.read() == 9
