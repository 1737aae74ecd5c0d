"""Reading a ring: every record once, whole, in order, in each of the forms."""

from __future__ import annotations

import errno
import struct
import sys
from typing import Any

import pytest

from ebpf import (
    ArrayMap,
    BpfError,
    ClosedError,
    CodecError,
    Map,
    MapFlags,
    MapType,
    NotSupportedError,
    ProgramType,
    RingBuffer,
)
from ebpf.asm import (
    R0,
    R1,
    R2,
    R3,
    R6,
    Label,
    add,
    call,
    exit_,
    jeq,
    jset,
    ld_map_fd,
    ldxdw,
    mov,
    stdw,
    stxdw,
)
from tests.kernel.samples import Flood, Producer, load, ring_map

SIZES = [0, 1, 7, 8, 9, 16, 63, 64, 65, 255, 256, 257, 500]


@pytest.mark.everywhere
@pytest.mark.parametrize("size", SIZES)
def test_records_of_every_length_arrive_whole(size: int) -> None:
    """The lengths at which the copy, or the form in which C hands them over, changes."""
    with ring_map() as ring, Producer(ring, size, batch=5) as producer, RingBuffer(ring) as reader:
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
        assert (counted.records, counted.bytes, counted.discarded) == (15, 15 * size, 0)


def test_a_ring_that_wraps_many_times_loses_nothing() -> None:
    """Records of 24 + 8 bytes in 4096: they end at another place in each round."""
    with (
        ring_map(4096) as ring,
        Producer(ring, 20, batch=30) as producer,
        RingBuffer(ring) as reader,
    ):
        for first in range(0, 3000, 30):
            assert producer.run(first) == 30
            assert reader.read_batch() == producer.records(first, 30)


def test_a_full_ring_drops_at_the_producer_and_nowhere_else() -> None:
    """What bpf_ringbuf_output() accepted is read; what it refused was never there."""
    with (
        ring_map(4096) as ring,
        Producer(ring, 8, batch=1000) as producer,
        RingBuffer(ring) as reader,
    ):
        accepted = producer.run(0)
        # One byte is the difference between full and empty.
        assert accepted == 4095 // 16
        assert producer.run(accepted) == 0
        assert reader.read_batch() == producer.records(0, accepted)
        assert producer.run(7) == accepted


def test_max_records_bounds_every_form() -> None:
    """What is left out is served next, from the ring or from what was copied already."""
    with ring_map() as ring, Producer(ring, batch=20) as producer, RingBuffer(ring) as reader:
        producer.run(0)
        seen: list[bytes] = []
        assert reader.read_batch(0) == []
        seen += reader.read_batch(3)
        assert len(seen) == 3
        seen.append(reader.read())
        # Fifteen wait in the object now.
        seen += reader.read_batch(2)
        seen += [bytes(record) for record in reader.read_buffer(4)]
        assert len(seen) == 10
        assert reader.consume(seen.append, max_records=5) == 5
        producer.run(20)
        # The rest of the old, and behind it the new.
        seen += reader.read_batch()
        assert seen == producer.records(0, 40)
    with pytest.raises(ValueError, match="max_records: -1 is negative"):
        reader.read_batch(-1)
    with pytest.raises(TypeError, match=r"max_records: 1\.0 is not an int"):
        reader.read_batch(1.0)  # type: ignore[arg-type]


def test_one_batch_is_everything_that_is_ready() -> None:
    """More than one call of the core copies: its chunks have 65536 records, or a megabyte."""
    with (
        ring_map(1 << 22) as ring,
        Producer(ring, 0, batch=1000) as producer,
        RingBuffer(ring) as reader,
    ):
        for _ in range(150):
            assert producer.run() == 1000
        assert len(reader.read_batch()) == 150_000
        for _ in range(150):
            assert producer.run() == 1000
        assert reader.consume(lambda record: None, timeout=0) == 150_000


def test_kept_records_stay_valid() -> None:
    """The ring's space is reused; what was handed out must not change with it."""
    with ring_map(4096) as ring, Producer(ring, 16, batch=100) as producer:
        with RingBuffer(ring) as reader:
            producer.run(0)
            batch, expected = reader.read_batch(50), producer.records(0, 100)
            buffer = reader.read_buffer()
            for first in range(1000, 3000, 100):
                producer.run(first)
                reader.read_buffer()
            assert batch == expected[:50]
            assert [bytes(record) for record in buffer] == expected[50:]
        assert [bytes(record) for record in buffer] == expected[50:]


def test_a_buffer_of_records_of_several_lengths_knows_where_each_ends() -> None:
    """Then there is no common length to cut by."""
    with (
        ring_map() as ring,
        RingBuffer(ring) as reader,
        Producer(ring, 3) as short,
        Producer(ring, 12) as long,
    ):
        for from_pending in (False, True):
            for number, producer in enumerate((short, long, short, long)):
                producer.run(number)
            if from_pending:
                assert reader.poll(0)
            buffer = reader.read_buffer()
            expected = [
                short.record(0), long.record(1), short.record(2), long.record(3)
            ]  # fmt: skip
            assert buffer.record_size is None
            assert buffer.ends is not None
            assert list(buffer.ends) == [3, 15, 18, 30]
            assert [bytes(record) for record in buffer] == expected
            assert bytes(buffer.buffer) == b"".join(expected)
            assert bytes(buffer[-1]) == expected[3]
            with pytest.raises(IndexError, match="record 4 of 4"):
                buffer[4]


def test_an_empty_ring_gives_nothing_and_waits_for_nothing() -> None:
    with ring_map() as ring, RingBuffer(ring) as reader:
        assert reader.read() is None
        assert reader.read_batch() == []
        assert len(reader.read_buffer()) == 0
        assert reader.poll(0) is False
        assert reader.poll(0.01) is False
        assert reader.consume(lambda record: None, timeout=0) == 0
        assert reader.consume(lambda record: None, timeout=0.01) == 0


def submit_or_discard(ring: Any, size: int) -> list[Any]:
    """Reserve `size` bytes, count them with the context's first argument, discard odd numbers."""

    return [
        ldxdw(R6, R1 + 0),
        ld_map_fd(R1, ring),
        mov(R2, size),
        mov(R3, 0),
        call("ringbuf_reserve"),
        jeq(R0, 0, "full"),
        stxdw(R0 + 0, R6),
        mov(R1, R0),
        add(R1, size - 8),
        stdw(R1 + 0, 99),
        mov(R1, R0),
        mov(R2, 0),
        jset(R6, 1, "discard"),
        call("ringbuf_submit"),
        mov(R0, 1),
        exit_(),
        Label("discard"),
        call("ringbuf_discard"),
        Label("full"),
        mov(R0, 0),
        exit_(),
    ]


def test_discarded_records_are_counted_and_skipped() -> None:
    """They take room in the ring, also when nothing else is in it."""
    with (
        ring_map(4096) as ring,
        load(ProgramType.RAW_TRACEPOINT, submit_or_discard(ring, 16)) as program,
        RingBuffer(ring) as reader,
    ):
        for number in range(9):
            program.test_run(ctx=struct.pack("=Q", number))
        expected = [struct.pack("=QQ", number, 99) for number in range(0, 9, 2)]
        assert reader.read_batch() == expected
        assert (reader.counters.records, reader.counters.discarded) == (5, 4)
        for _ in range(500):
            program.test_run(ctx=struct.pack("=Q", 1))
            assert reader.read() is None
        assert reader.counters.discarded == 504
        assert program.test_run(ctx=struct.pack("=Q", 2)).return_value == 1
        assert len(reader.read_batch()) == 1


def test_the_longest_record_that_fits_the_ring() -> None:
    """With its header it fills the ring but for 8 bytes, so the next one wraps in the middle."""
    size = 4096 - 16
    with (
        ring_map(4096) as ring,
        load(ProgramType.RAW_TRACEPOINT, submit_or_discard(ring, size)) as program,
        RingBuffer(ring) as reader,
    ):
        for number in range(0, 20, 2):
            assert program.test_run(ctx=struct.pack("=Q", number)).return_value == 1
            record = reader.read()
            assert len(record) == size
            assert record[:8] == number.to_bytes(8, sys.byteorder)
            assert record[-8:] == (99).to_bytes(8, sys.byteorder)


def test_a_record_longer_than_what_one_call_copies() -> None:
    """Two megabytes, when a chunk has one."""
    size = 1 << 21
    with (
        ring_map(1 << 22) as ring,
        load(ProgramType.RAW_TRACEPOINT, submit_or_discard(ring, size)) as program,
        RingBuffer(ring) as reader,
    ):
        for number, read in enumerate((reader.read, lambda: bytes(reader.read_buffer()[0]))):
            assert program.test_run(ctx=struct.pack("=Q", 2 * number)).return_value == 1
            record = read()
            assert len(record) == size
            assert record[:8] == (2 * number).to_bytes(8, sys.byteorder)
            assert record[-8:] == (99).to_bytes(8, sys.byteorder)


# ---- codecs ---------------------------------------------------------------------------------


@pytest.mark.everywhere
def test_records_are_decoded_in_every_form() -> None:
    with (
        ring_map() as ring,
        Producer(ring, 16, batch=4) as producer,
        RingBuffer(ring, codec="QQ") as reader,
    ):
        producer.run(10)
        assert reader.read() == (10, 0)
        assert reader.read_batch(1) == [(11, 0)]
        assert next(iter(reader)) == (12, 0)
        seen: list[Any] = []
        reader.consume(seen.append, max_records=1)
        assert seen == [(13, 0)]
        producer.run(20)
        assert reader.read_batch() == [(20, 0), (21, 0), (22, 0), (23, 0)]


@pytest.mark.parametrize("form", ["read", "batch", "batch of pending", "iterate", "consume"])
def test_a_record_that_does_not_fit_raises_once_and_reading_goes_on(form: str) -> None:
    """One odd record must not stop a tool for good, nor take its neighbours with it."""
    with (
        ring_map() as ring,
        RingBuffer(ring, codec="Q") as reader,
        Producer(ring, 8, batch=2) as good,
        Producer(ring, 4) as bad,
    ):
        good.run(1)
        bad.run()
        good.run(3)
        seen: list[int] = []
        errors = []
        if form == "batch of pending":
            assert reader.poll(0)
        for _ in range(6):
            try:
                if form == "read":
                    record = reader.read()
                    seen += [] if record is None else [record]
                elif form == "iterate":
                    for record in reader:
                        seen.append(record)
                        if len(seen) == 4:
                            break
                elif form == "consume":
                    reader.consume(seen.append, timeout=0)
                else:
                    seen += reader.read_batch()
            except CodecError as error:
                errors.append((len(seen), str(error)))
            if len(seen) == 4:
                break
        assert seen == [1, 2, 3, 4]
        assert [at for at, _ in errors] == [2]
        assert "got 4 bytes, but" in errors[0][1]
        assert reader.read() is None


class Picky:
    """A codec of the user's own, whose decoder fails as no codec of ours does."""

    size = 8

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def pack(self, value: int) -> bytes:
        return value.to_bytes(8, sys.byteorder)

    def unpack(self, data: bytes) -> int:
        value = int.from_bytes(data, sys.byteorder)
        if value == 3:
            raise self.error
        return value


def test_an_index_error_of_a_codec_is_not_taken_for_an_empty_ring() -> None:
    """The record would vanish without a word."""
    with (
        ring_map() as ring,
        Producer(ring, batch=5) as producer,
        RingBuffer(ring, codec=Picky(IndexError("mine"))) as reader,
    ):
        producer.run(2)
        assert reader.read() == 2
        with pytest.raises(IndexError, match="mine"):
            reader.read()
        assert reader.read_batch() == [4, 5, 6]


def test_ctrl_c_in_a_codec_is_not_put_off() -> None:
    """Unlike an error of the codec, it is for now; the records stay."""
    with ring_map() as ring, Producer(ring, batch=5) as producer:
        picky = Picky(KeyboardInterrupt())
        with RingBuffer(ring, codec=picky) as reader:
            producer.run(2)
            with pytest.raises(KeyboardInterrupt):
                reader.read_batch()
            picky.error = ValueError("again")
            assert reader.read_batch() == [2]
            with pytest.raises(ValueError, match="again"):
                reader.read_batch()
            assert reader.read_batch() == [4, 5, 6]


# ---- several maps ---------------------------------------------------------------------------


def test_several_maps_give_pairs() -> None:
    with (
        ring_map() as one,
        ring_map() as two,
        Producer(one, batch=2) as first,
        Producer(two, batch=2) as second,
        RingBuffer([one, two]) as reader,
    ):
        first.run(1)
        second.run(5)
        pairs = [reader.read() for _ in range(4)]
        assert [record for map, record in pairs if map is one] == first.records(1, 2)
        assert [record for map, record in pairs if map is two] == second.records(5, 2)
        assert reader.read() is None
        first.run(3)
        second.run(7)
        pairs = reader.read_batch()
        assert [record for map, record in pairs if map is one] == first.records(3, 2)
        assert [record for map, record in pairs if map is two] == second.records(7, 2)
        with pytest.raises(TypeError, match="reads several maps"):
            reader.read_buffer()
        assert reader.counters.records == 8


def test_each_map_may_have_a_codec_of_its_own() -> None:
    with (
        ring_map() as one,
        ring_map() as two,
        ring_map() as three,
        Producer(one) as first,
        Producer(two, 16) as second,
        Producer(three) as third,
        RingBuffer({one: "Q", two: "QQ", three: None}) as reader,
    ):
        first.run(1)
        second.run(2)
        third.run(3)
        assert sorted(reader.read_batch(), key=str) == sorted(
            [(one, 1), (two, (2, 0)), (three, third.record(3))], key=str
        )


def test_a_busy_ring_does_not_starve_the_other() -> None:
    """Each read begins with another ring."""
    with (
        ring_map() as busy,
        ring_map() as quiet,
        Producer(busy, batch=1000) as much,
        Producer(quiet) as little,
        RingBuffer([busy, quiet]) as reader,
    ):
        much.run()
        little.run(42)
        read = [reader.read()[0] for _ in range(2)]
        assert quiet in read
        little.run(43)
        assert quiet in [map for map, _ in reader.read_batch(2)] + [
            map for map, _ in reader.read_batch(1)
        ]


def test_a_bad_record_of_one_map_takes_nothing_from_the_other() -> None:
    """Those of the first map are read already when the second one's first record fails."""
    with (
        ring_map() as one,
        ring_map() as two,
        Producer(one, batch=3) as good,
        Producer(two, 4) as bad,
        RingBuffer([one, two], codec="Q") as reader,
    ):
        for _ in range(2):
            good.run(1)
            bad.run()
            seen, failed = [], 0
            for _ in range(3):
                try:
                    seen += [record for _, record in reader.read_batch()]
                except CodecError:
                    failed += 1
            assert (seen, failed) == ([1, 2, 3], 1)


# ---- what cannot be read --------------------------------------------------------------------


def test_what_is_no_ring_is_refused() -> None:
    with Map.create(MapType.ARRAY, value="I", max_entries=1) as array, ring_map() as ring:
        with pytest.raises(TypeError, match=r"ARRAY .* is not a RINGBUF map"):
            RingBuffer(array)
        with pytest.raises(TypeError, match="is not a RINGBUF map"):
            RingBuffer([ring, array])
        with pytest.raises(ValueError, match="at least one RINGBUF map"):
            RingBuffer([])
        with pytest.raises(TypeError, match="each map has its codec there"):
            RingBuffer({ring: "Q"}, codec="Q")


def test_one_ring_twice_is_refused() -> None:
    """Two readers of one ring take each other's records, and out of order."""
    with ring_map() as ring, ring.duplicate() as same, ring_map() as other:
        for maps in ([ring, ring], [ring, other, same], {ring: "Q", same: "I"}):
            with pytest.raises(ValueError, match=r"maps: .* is there twice"):
                RingBuffer(maps)


def test_a_process_of_32_bits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The core says EOPNOTSUPP where its words are narrower than the kernel's positions."""
    from ebpf.maps import ring as module

    class Narrow:
        def __getattr__(self, name: str) -> Any:
            return getattr(lib, name)

        def ebpf_ring_supported(self) -> int:
            return -errno.EOPNOTSUPP

    lib = module.lib
    monkeypatch.setattr(module, "lib", Narrow())
    with ring_map() as ring, pytest.raises(NotSupportedError, match="use a 64-bit Python") as told:
        RingBuffer(ring)
    assert told.value.minimum_version is None


def test_a_slice_of_records_is_refused() -> None:
    """Two comparisons of a slice with a number explain nothing."""
    with ring_map() as ring, Producer(ring, batch=3) as producer, RingBuffer(ring) as reader:
        producer.run()
        records: Any = reader.read_buffer()
        with pytest.raises(TypeError, match="Records takes no slices"):
            records[0:2]
        assert [bytes(record) for record in list(records)[0:2]] == producer.records(0, 2)


def overwritten_ring(size: int = 4096) -> Map[Any, Any]:
    made: Map[Any, Any] = Map.create(
        MapType.RINGBUF, max_entries=size, flags=MapFlags.RB_OVERWRITE, name="recorder"
    )
    return made


@pytest.mark.parametrize("form", ["batch", "read", "buffer"])
def test_a_ring_in_overwrite_mode_has_the_newest_records(form: str) -> None:
    """A flight recorder that stops when it is full records the wrong flight (6.19)."""
    with (
        overwritten_ring() as ring,
        Producer(ring, 8, batch=1000) as producer,
        RingBuffer(ring) as reader,
    ):

        def everything() -> list[bytes]:
            if form == "batch":
                return reader.read_batch()
            if form == "buffer":
                return [bytes(record) for record in reader.read_buffer()]
            return list(iter(reader.read, None))

        fit = 4095 // 16
        assert producer.run(0) == 1000
        assert reader.poll(10)
        assert everything() == producer.records(1000 - fit, fit)
        assert reader.counters.overwritten == 16 * (1000 - fit)
        assert everything() == []
        assert reader.poll(0) is False
        assert producer.run(1000) == 1000
        assert everything() == producer.records(2000 - fit, fit)
        assert reader.counters.records == 2 * fit


@pytest.mark.parametrize("form", ["batch", "read", "buffer"])
def test_a_longer_record_in_the_place_of_what_was_measured(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ring is said to be out of space, though only the reader's buffer is."""
    with ring_map() as ring, Producer(ring, 400) as producer, RingBuffer(ring) as reader:
        # A ring of any kernel, in which there was a record of 8 bytes before.
        monkeypatch.setattr(reader._rings[0], "_overwritten", True)
        monkeypatch.setattr(reader._rings[0], "_unread", lambda: 16)
        producer.run(3)
        read = {"batch": reader.read_batch, "read": lambda: [reader.read()]}
        records = read.get(form, reader.read_buffer)()
        assert [bytes(record) for record in records] == producer.records(3, 1)


def test_records_that_are_overwritten_meanwhile_are_left_out_whole() -> None:
    """A reader that is overtaken must not hand out one half of an old record and one of a new."""
    with (
        overwritten_ring() as ring,
        Producer(ring, 64, batch=2000) as producer,
        RingBuffer(ring) as reader,
    ):
        seen: list[bytes] = []
        with Flood(producer):
            while len(seen) < 5000 or reader.counters.overwritten < 100_000:
                reader.poll(10)
                seen += reader.read_batch(20)
                seen += map(bytes, reader.read_buffer(20))
        numbers = [int.from_bytes(record[:8], sys.byteorder) for record in seen]
        assert seen == [producer.record(number) for number in numbers]
        assert numbers == sorted(set(numbers))


def test_drops_that_the_program_counts_are_read_with_the_ring() -> None:
    """The kernel counts none: without this, nobody knows what is missing."""
    with (
        ring_map(4096) as ring,
        Producer(ring, 8, batch=300) as producer,
        ArrayMap.create(value="Q", max_entries=2) as drops,
        ArrayMap.create(MapType.PERCPU_ARRAY, value="Q", max_entries=1) as by_cpu,
    ):
        with RingBuffer(ring, drops=drops) as reader:
            assert reader.counters.dropped == 0
            drops[0] = 300 - producer.run(0)
            drops[1] = 5
            assert reader.counters.dropped == 300 - 4095 // 16 + 5
        by_cpu[0] = [2] * len(by_cpu[0])
        with RingBuffer(ring, drops=by_cpu) as reader:
            assert reader.counters.dropped == 2 * len(by_cpu[0])
        with RingBuffer(ring, drops=lambda: 9) as reader:
            assert reader.counters.dropped == 9
        with RingBuffer(ring) as reader:
            assert reader.counters.dropped is None
        with pytest.raises(TypeError, match="drops: 7 is no map"), RingBuffer(ring, drops=7):
            pass


def test_drops_that_are_no_integers() -> None:
    """Only the counters say, in words about int and bytes, that the map's values are raw."""
    with ring_map() as ring, ArrayMap.create(value="Q", max_entries=2) as drops:
        drops[1] = 7
        with ArrayMap.from_fd(drops.fileno(), value=8) as raw:
            text = r"^drops: the values of <.*> are no integers, .* value=\"Q\""
            with pytest.raises(TypeError, match=text), RingBuffer(ring, drops=raw):
                pass
        numpy = pytest.importorskip("numpy")
        with (
            ArrayMap.from_fd(drops.fileno(), value=numpy.uint64) as numbers,
            RingBuffer(ring, drops=numbers) as reader,
        ):
            assert reader.counters.dropped == 7


def test_a_ring_buffer_holds_its_map_open() -> None:
    """Closing the Map object must not take the ring from its reader."""
    ring = ring_map()
    with Producer(ring) as producer, RingBuffer(ring) as reader:
        ring.close()
        producer.run(5)
        assert reader.poll(10)
        assert reader.read() == producer.record(5)


def test_after_close_every_use_says_so() -> None:
    """Not "bad file descriptor", and never a look into memory that is unmapped."""
    with ring_map() as ring, Producer(ring, batch=3) as producer:
        reader = RingBuffer(ring)
        producer.run()
        reader.read()
        reader.close()
        reader.close()
        uses: list[Any] = [
            reader.read, reader.read_batch, reader.read_buffer, reader.poll, reader.fileno,
            lambda: reader.poll(0), lambda: next(iter(reader)), reader.__enter__,
            lambda: reader.consume(print), lambda: reader.consume(print, timeout=0),
        ]  # fmt: skip
        for use in uses:
            with pytest.raises(ClosedError, match="closed"):
                use()
        assert reader.counters.records == 3


def test_a_second_reader_takes_over_where_the_first_stopped() -> None:
    """The position is the ring's own."""
    with ring_map() as ring, Producer(ring, batch=4) as producer:
        producer.run(0)
        with RingBuffer(ring) as reader:
            assert len(reader.read_buffer(1)) == 1
        with RingBuffer(ring) as reader:
            assert reader.read_batch() == producer.records(1, 3)


def test_a_corrupt_position_is_an_error_not_a_crash() -> None:
    """Whoever can map the ring can write the reader's position: it must not lead us astray."""
    import mmap

    with ring_map(4096) as ring, Producer(ring) as producer, RingBuffer(ring) as reader:
        producer.run()
        with mmap.mmap(ring.fileno(), mmap.PAGESIZE) as page:
            for position in (1 << 40, 4, (1 << 64) - 4096):
                page[:8] = position.to_bytes(8, sys.byteorder)
                for read in (reader.read, reader.read_batch, reader.read_buffer):
                    with pytest.raises(BpfError, match=r"read the ring of .*EPROTO"):
                        read()
            page[:8] = bytes(8)
            assert reader.read() == producer.record(0)
