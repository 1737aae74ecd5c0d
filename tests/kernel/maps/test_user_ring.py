"""UserRingBuffer: what Python writes into a ring is what a program reads out of it."""

from __future__ import annotations

import errno
import os
import struct
import threading
from collections.abc import Iterator

import pytest

import ebpf
from ebpf import MapType, UserRingBuffer
from tests.kernel.samples import NO_TIMES, Holding, in_child
from tests.objects import compiled

SIZE = 4096


class Consumer:
    """A program that drains the ring."""

    def __init__(self, objects: ebpf.Collection) -> None:
        self.map = objects.maps["ring"]
        self._objects = objects

    def drain(self) -> int:
        """How many records the program took (32 bits, signed)."""
        count = self._objects.programs["drain"].test_run().return_value
        return count - (1 << 32) if count >= 1 << 31 else count

    def order(self) -> list[int]:
        """The numbers of all records so far."""
        records: int = self._objects.variables["records"].value
        return list(self._objects.variables["order"].value)[:records]

    @property
    def sum(self) -> int:
        return int(self._objects.variables["sum"].value)


@pytest.fixture
def consumer() -> Iterator[Consumer]:
    # The map is made here, because that says which kernel has it.
    with (
        ebpf.Map.create(MapType.USER_RINGBUF, max_entries=SIZE, name="ring") as map,
        ebpf.CollectionSpec.from_file(compiled("user_ring")).load(maps={"ring": map}) as objects,
    ):
        yield Consumer(objects)


def test_a_program_reads_what_was_written(consumer: Consumer) -> None:
    """Records come out in another order, with other contents, or not at all."""
    with UserRingBuffer(consumer.map) as ring:
        for number in (5, 6, 7):
            ring.write(struct.pack("Q", number))
        ring.write(struct.pack("I", 8))
        assert consumer.drain() == 4
        assert consumer.order() == [5, 6, 7, 8]
        assert consumer.drain() == 0
    with UserRingBuffer(consumer.map, codec="QI") as ring:
        ring.write((9, 1))
        assert consumer.drain() == 1
    assert consumer.order() == [5, 6, 7, 8, 9]


def test_many_rounds(consumer: Consumer) -> None:
    """A record at the end of the ring, whose payload is at its beginning, is written wrongly."""
    with UserRingBuffer(consumer.map, codec="QI") as ring:
        expected = 0
        for round in range(300):
            for number in range(7):
                ring.write((round * 7 + number, 0))
                expected += round * 7 + number
            assert consumer.drain() == 7
        assert consumer.sum == expected


def test_a_full_ring(consumer: Consumer) -> None:
    """A full ring overwrites what was not read, or refuses without saying why."""
    with UserRingBuffer(consumer.map, codec="Q") as ring:
        assert ring.write_many(range(1000)) == SIZE // 16
        with pytest.raises(ebpf.BpfError, match=r"8 bytes to .*'ring'.* no room until") as caught:
            ring.write(1)
        assert caught.value.errno == errno.ENOSPC
        with pytest.raises(ebpf.BpfError, match="no room until"):
            ring.write(1, timeout=0.05)
        assert ring.write_many([1]) == 0
        assert consumer.drain() == SIZE // 16
        assert consumer.sum == sum(range(SIZE // 16))
        ring.write(7)
        assert consumer.drain() == 1


def test_waiting_for_room(consumer: Consumer) -> None:
    """A writer that waits is not woken when a program drains the ring."""
    with UserRingBuffer(consumer.map, codec="Q") as ring:
        ring.write_many(range(1000))
        written = threading.Event()

        def write() -> None:
            ring.write(77, timeout=None)
            written.set()

        thread = threading.Thread(target=write)
        thread.start()
        assert not written.wait(0.05)
        consumer.drain()
        thread.join()
        assert written.is_set()
        assert consumer.drain() == 1
        assert consumer.sum == sum(range(SIZE // 16)) + 77


def test_reservations(consumer: Consumer) -> None:
    """A reserved record is read before it is committed, or a discarded one at all."""
    with UserRingBuffer(consumer.map) as ring:
        first = ring.reserve(8)
        with ring.reserve(8) as buffer:
            assert (len(buffer), buffer.readonly) == (8, False)
            buffer[:] = struct.pack("Q", 2)
        # The first is busy, so nothing behind it may be read either.
        assert consumer.drain() <= 0
        first.buffer[:] = struct.pack("Q", 1)
        first.commit()
        with pytest.raises(ZeroDivisionError), ring.reserve(8) as buffer:
            buffer[:] = struct.pack("Q", 3 // 0)
        given_up = ring.reserve(8)
        given_up.discard()
        ring.write(struct.pack("Q", 4))
        # The kernel counts the records that it passes over too.
        consumer.drain()
        assert consumer.order() == [1, 2, 4]
        for use in (first.commit, first.discard):
            with pytest.raises(ValueError, match="already"):
                use()
        with pytest.raises(ValueError, match="released"):
            first.buffer[0] = 1


def test_waiting_for_more_room_than_there_is(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel says that there is room where a byte is free: a writer that believes it uses up
    a processor."""
    pauses = 0

    def pause(seconds: float) -> None:
        nonlocal pauses
        pauses += 1
        if pauses == 3:
            consumer.drain()

    monkeypatch.setattr("time.sleep", pause)
    with UserRingBuffer(consumer.map) as ring:
        ring.reserve(2000).discard()
        ring.write(bytes(2000), timeout=0.0)
        ring.write(bytes(3000), timeout=None)
        assert pauses == 3
        with pytest.raises(ebpf.BpfError, match="no room until"):
            ring.write(bytes(3000))


def test_a_numpy_array_over_a_reservation(consumer: Consumer) -> None:
    """The array still has the buffer when the block ends: an error would come of a commit that
    was none."""
    numpy = pytest.importorskip("numpy")
    with UserRingBuffer(consumer.map) as ring:
        with ring.reserve(8) as buffer:
            numbers = numpy.frombuffer(buffer, "u8")
            numbers[0] = 6
        assert consumer.drain() == 1
        assert consumer.order() == [6]


def test_a_forgotten_reservation(consumer: Consumer) -> None:
    """Nothing behind it would ever be read."""
    with UserRingBuffer(consumer.map) as ring:
        with pytest.warns(ResourceWarning, match="neither committed nor discarded"):
            ring.reserve(8)
        ring.write(struct.pack("Q", 4))
        consumer.drain()
        assert consumer.order() == [4]


def test_a_child_that_ends_leaves_the_reservation_to_its_parent(consumer: Consumer) -> None:
    """It would hand over what the parent has not filled."""
    with UserRingBuffer(consumer.map) as ring:
        reservation = ring.reserve(8)
        child = os.fork()
        if not child:
            try:
                reservation.__exit__(None)
                reservation.__del__()
            finally:
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert consumer.drain() <= 0
        reservation.buffer[:] = struct.pack("Q", 5)
        reservation.commit()
        assert consumer.drain() == 1
        assert consumer.order() == [5]


def test_a_lock_that_a_thread_held_when_it_was_forked(consumer: Consumer) -> None:
    """The thread is not in the child, so whoever waits for its lock there does so for ever."""
    with UserRingBuffer(consumer.map, codec="Q") as ring:
        with Holding(ring._lock):
            assert in_child(lambda: ring.write(5)) == 0
        assert consumer.drain() == 1
        assert consumer.order() == [5]


def test_wrong_sizes(consumer: Consumer) -> None:
    """A record larger than the ring is cut, or the error does not say how large that is."""
    with UserRingBuffer(consumer.map) as ring:
        with pytest.raises(ebpf.BpfError, match=r"5000 bytes to .*the ring has 4096 bytes") as e:
            ring.write(bytes(5000))
        assert e.value.errno == errno.E2BIG
        with pytest.raises(ebpf.BpfError, match=r"reserve 4089 bytes of"):
            ring.reserve(4089)
        ring.reserve(4088).discard()
        consumer.drain()
        # Programs read less than 16 MiB of a record, and would never pass a longer one.
        for bad in (0, -1, 1 << 24, 1 << 30, "8", 1.5):
            with pytest.raises(ValueError, match=r"^size: "):
                ring.reserve(bad)  # type: ignore[arg-type]
        for record in (b"", "text", None, 5):
            with pytest.raises(ebpf.CodecError, match=r"^record: "):
                ring.write(record)
        with pytest.raises(ebpf.CodecError, match="one size"):
            ring.write_many([b"1", b"22"])
        assert ring.write_many([]) == 0
    with UserRingBuffer(consumer.map, codec="I") as ring:
        with pytest.raises(ebpf.CodecError, match=r"u32"):
            ring.write(-1)
        with pytest.raises(ebpf.CodecError, match=r"u32"):
            ring.write_many([1, 1 << 32])
    assert consumer.drain() == 0


def test_a_timeout_that_is_no_time(consumer: Consumer) -> None:
    """The error comes from a sum inside, or there is none while there is room."""
    with UserRingBuffer(consumer.map) as ring:
        for timeout, error in NO_TIMES:
            with pytest.raises(error, match=r"^timeout: "):
                ring.write(b"12345678", timeout=timeout)
            with pytest.raises(error, match=r"^timeout: "):
                ring.reserve(8, timeout=timeout)
    assert consumer.drain() == 0


def test_threads_share_one_ring(consumer: Consumer) -> None:
    """Two threads get the same room, and one record is lost."""
    with UserRingBuffer(consumer.map, codec="Q") as ring:
        done = threading.Event()

        def write(base: int) -> None:
            for number in range(500):
                ring.write(base + number, timeout=None)

        def drain() -> None:
            while not done.is_set():
                consumer.drain()

        reader = threading.Thread(target=drain)
        writers = [threading.Thread(target=write, args=(base << 20,)) for base in range(3)]
        for thread in (reader, *writers):
            thread.start()
        for thread in writers:
            thread.join()
        done.set()
        reader.join()
        consumer.drain()
        assert consumer.sum == sum((base << 20) + n for base in range(3) for n in range(500))


def test_closing_lets_go_of_the_memory(consumer: Consumer) -> None:
    """The kernel keeps the map for as long as anything of it is mapped."""
    before = mappings()
    with UserRingBuffer(consumer.map) as ring:
        assert mappings() > before
        reserved = ring.reserve(8)
    assert mappings() > before
    reserved.discard()
    del reserved
    assert mappings() == before
    with pytest.warns(ResourceWarning, match="unclosed <ebpf.UserRingBuffer of"):
        UserRingBuffer(consumer.map)
    assert mappings() == before


def test_writing_after_the_map_object_was_closed(consumer: Consumer) -> None:
    """All goes well until the ring is full, and the writer waits for the descriptor of the map."""
    copy = consumer.map.duplicate()
    with UserRingBuffer(copy, codec="Q") as ring:
        copy.close()
        ring.write_many(range(1000))
        with pytest.raises(ebpf.BpfError, match="no room until"):
            ring.write(1, timeout=0.01)
        assert consumer.drain() == SIZE // 16
        ring.write(1, timeout=None)


def test_a_process_of_fewer_bits(consumer: Consumer, monkeypatch: pytest.MonkeyPatch) -> None:
    """After 4 GiB the position goes round in a 32-bit process, and the kernel's does not."""

    class Narrow:
        def ebpf_ring_supported(self) -> int:
            return -errno.EOPNOTSUPP

    monkeypatch.setattr("ebpf.maps.ring.lib", Narrow())
    with pytest.raises(ebpf.NotSupportedError, match="32-bit process on a 64-bit kernel"):
        UserRingBuffer(consumer.map)


def mappings() -> int:
    with open("/proc/self/maps") as maps:
        return sum("bpf-map" in line for line in maps)


def test_closed_and_wrong_maps(consumer: Consumer) -> None:
    """A closed ring is written through unmapped memory, or any map is taken for a ring."""
    ring = UserRingBuffer(consumer.map)
    reserved = ring.reserve(8)
    ring.close()
    assert ring.closed
    for use in (
        lambda: ring.write(b"1"),
        lambda: ring.write_many([b"1"]),
        lambda: ring.reserve(1),
        ring.__enter__,
    ):
        with pytest.raises(ebpf.ClosedError, match=r"UserRingBuffer of .*'ring'.* is closed"):
            use()
    reserved.buffer[:] = struct.pack("Q", 3)
    reserved.commit()
    assert consumer.drain() == 1
    assert consumer.order() == [3]
    with (
        ebpf.HashMap.create(key="I", value="I", max_entries=1) as m,
        pytest.raises(TypeError, match=r"is not a USER_RINGBUF"),
    ):
        UserRingBuffer(m)
