"""Many entries by one system call, and the same entry by entry where the kernel has no batches."""

from __future__ import annotations

import errno
import struct
import threading
from array import array
from collections.abc import Iterator
from typing import Any

import pytest

import ebpf
from ebpf import ArrayMap, HashMap, LpmTrieMap, MapFlags, MapType
from ebpf.maps import batch
from tests.kernel.maps.support import WITHOUT_BATCHES, dumped, settled

# Each CPU takes free elements of an LRU map in batches of 128: a smaller one evicts early.
ROOM = 1024
HASHES = [
    pytest.param(type, id=type.name) for type in (MapType.HASH, MapType.LRU_HASH, MapType.RHASH)
]
SQUARES = {key: key * key for key in range(200)}


@pytest.fixture(params=["batches", "entries"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each test once with the kernel's batches and once without."""
    if request.param == "entries":
        monkeypatch.setattr(batch.BatchMap, "_unbatched", WITHOUT_BATCHES)
    return str(request.param)


@pytest.fixture
def m() -> Iterator[HashMap[int, int]]:
    with HashMap.create(key="I", value="Q", max_entries=ROOM, name="counts") as map:
        yield map


def as_dict(keys: memoryview, values: memoryview) -> dict[Any, Any]:
    return dict(zip(keys, values, strict=True))


@pytest.mark.parametrize("type", HASHES)
def test_all_entries_in_two_buffers(type: MapType) -> None:
    """lookup_batch loses entries, repeats some, or puts values beside other keys."""
    with HashMap.create(type, key="I", value="Q", max_entries=ROOM) as m:
        keys, values = m.lookup_batch()
        assert (len(keys), len(values)) == (0, 0)
        m.update(SQUARES)
        assert settled(m, lambda: as_dict(*m.lookup_batch()), SQUARES) == SQUARES
        keys, values = m.lookup_batch()
        assert (keys.format, values.format) == ("I", "Q")
        packed = {struct.pack("I", k): struct.pack("Q", v) for k, v in SQUARES.items()}
        assert settled(m, lambda: dumped(m), packed) == packed


@pytest.mark.parametrize("count", [1, 2, 7, 200, 5000])
def test_chunks_are_the_whole_map(m: HashMap[int, int], count: int) -> None:
    """At the border of two chunks, or at a bucket with more entries than a chunk, some get lost."""
    m.update(SQUARES)
    chunks = [as_dict(*chunk) for chunk in m.batches(count)]
    assert sum(map(len, chunks)) == len(SQUARES)
    assert {key: value for chunk in chunks for key, value in chunk.items()} == SQUARES


def test_a_bucket_larger_than_the_buffer(m: HashMap[int, int], way: str) -> None:
    """ENOSPC, where a bucket does not fit a chunk of one entry, ends the walk."""
    # As many entries as buckets: some bucket has more than one, and comes as one chunk.
    m.update({key: key for key in range(ROOM)})
    sizes = [len(keys) for keys, _ in m.batches(1)]
    assert sum(sizes) == ROOM
    assert (max(sizes) > 1) == (way == "batches")
    assert as_dict(*m.lookup_batch()) == {key: key for key in range(ROOM)}


def test_the_buffer_for_the_whole_map_grows(
    m: HashMap[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read before the buffer had to grow is lost, or read twice."""
    monkeypatch.setattr(batch, "_WHOLE_BYTES", 1)
    monkeypatch.setattr(batch, "FIRST_CHUNK", 3)
    m.update(SQUARES)
    assert as_dict(*m.lookup_batch()) == SQUARES


def test_short_keys(way: str) -> None:
    """The kernel's cursor of 4 bytes is written beyond the buffer for a key of 1."""
    with HashMap.create(key="B", value="B", max_entries=256) as m:
        m.update({key: 255 - key for key in range(256)})
        assert m.to_dict() == {key: 255 - key for key in range(256)}
        assert sum(len(keys) for keys, _ in m.batches(10)) == 256


def test_your_own_buffers(m: HashMap[int, int]) -> None:
    """Reading into the caller's buffers leaves entries out, or writes beyond their end."""
    numpy = pytest.importorskip("numpy")
    m.update(SQUARES)
    keys, values = array("I", [7]) * 300, array("Q", [9]) * 300
    count = m.lookup_batch_into(keys, values)
    assert count == 200
    assert dict(zip(keys[:200], values[:200], strict=True)) == SQUARES
    assert set(keys[200:]) == {7}
    assert set(values[200:]) == {9}
    exact = numpy.zeros(200, "u4"), bytearray(8 * 200)
    assert m.lookup_batch_into(*exact) == 200
    assert dict(zip(exact[0].tolist(), memoryview(exact[1]).cast("Q"), strict=True)) == SQUARES
    with pytest.raises(ebpf.BpfError, match=r"buffers for 199 entries all of .*'counts'") as caught:
        m.lookup_batch_into(numpy.zeros(199, "u4"), values)
    assert caught.value.errno == errno.ENOSPC


def test_taking_all_entries(m: HashMap[int, int], way: str) -> None:
    """lookup_and_delete_batch leaves what it returned, or loses entries; without batches it says
    so."""
    m.update(SQUARES)
    if way == "entries":
        for use in (m.lookup_and_delete_batch, lambda: list(m.batches(delete=True))):
            with pytest.raises(ebpf.NotSupportedError, match=r"delete a batch of .*'counts' HASH"):
                use()
        assert m.to_dict() == SQUARES
        return
    assert as_dict(*m.lookup_and_delete_batch()) == SQUARES
    assert dumped(m) == {}
    m.update(SQUARES)
    taken: dict[int, int] = {}
    for keys, values in m.batches(16, delete=True):
        taken.update(as_dict(keys, values))
        assert not set(keys) & set(m)
    assert taken == SQUARES
    assert dumped(m) == {}


@pytest.mark.parametrize("type", HASHES)
def test_update_and_delete_batch(type: MapType) -> None:
    """Buffers of several kinds are written to other keys, or deleted entries stay."""
    numpy = pytest.importorskip("numpy")
    with HashMap.create(type, key="I", value="Q", max_entries=ROOM) as m:
        m.update_batch(array("I", [1, 2]), array("Q", [10, 20]))
        m.update_batch(struct.pack("2I", 3, 4), bytearray(struct.pack("2Q", 30, 40)))
        m.update_batch(numpy.array([5, 6], "u4"), numpy.array([50, 60], "u8"))
        m.update_batch(memoryview(array("I", [7])), [70])
        m.update_batch([8, 9], [80, 90])
        m.update_batch([], [])
        expected = {key: 10 * key for key in range(1, 10)}
        assert settled(m, m.to_dict, expected) == expected
        assert m.delete_batch(array("I", [1, 100, 2, 2, 101])) == 2
        assert m.delete_batch(numpy.array([3, 4], "u4")) == 2
        assert m.delete_batch([200, 201]) == 0
        assert m.delete_batch(key for key in (5, 200, 6)) == 2
        assert m.delete_batch([]) == 0
        expected = {7: 70, 8: 80, 9: 90}
        assert settled(m, m.to_dict, expected) == expected


@pytest.mark.parametrize("type", HASHES)
def test_the_entry_where_the_next_chunk_begins_is_gone(type: MapType, way: str) -> None:
    """EAGAIN, the kernel's word for it with an RHASH, ends the walk; or deleted entries return."""
    with HashMap.create(type, key="I", value="Q", max_entries=ROOM) as m:
        m.update(SQUARES)
        assert settled(m, m.to_dict, SQUARES) == SQUARES
        walk = m.batches(10)
        first = set(next(walk)[0])
        m.delete_batch(set(SQUARES) - first)
        m[1000] = 1
        assert {key for keys, _ in walk for key in keys} <= {1000}
        rest = first | {1000}
        assert settled(m, lambda: set(m), rest) == rest


@pytest.mark.parametrize("type", HASHES)
def test_clear_leaves_nothing(type: MapType) -> None:
    """What an RHASH hid from the first walk, because it was just growing, stays."""
    with HashMap.create(type, key="I", value="Q", max_entries=ROOM) as m:
        for _ in range(10):
            m.update(SQUARES)
            m.clear()
            assert m.lookup_many(SQUARES) == [None] * len(SQUARES)


def test_update_takes_what_a_dict_takes(m: HashMap[int, int]) -> None:
    """update() is told from dict.update by what it takes: mappings, pairs, iterators, maps."""

    class Keys:
        def keys(self) -> list[int]:
            return [5]

        def __getitem__(self, key: int) -> int:
            return key * 10

    m.update({1: 10})
    m.update([(2, 20), (2, 21)])
    m.update((key, value) for key, value in [(3, 30)])
    m.update(Keys())
    m.update()
    with HashMap.create(key="I", value="Q", max_entries=9) as other:
        other[4] = 40
        m.update(other)
    assert m.to_dict() == {1: 10, 2: 21, 3: 30, 4: 40, 5: 50}
    with pytest.raises(ebpf.CodecError, match=r"key of .*'x'"):
        m.update(x=1)
    with pytest.raises(ValueError, match=r"^other: entry 0, .* is no pair"):
        m.update([(1, 2, 3)])  # type: ignore[list-item]


def test_an_entry_that_does_not_fit_leaves_the_map_as_it_was(m: HashMap[int, int]) -> None:
    """A bad key or value in the middle leaves the entries before it written."""
    m[1] = 1
    for bad in ({2: 2, -1: 3}, {2: 2, 3: 1 << 64}, {2: 2, "3": 3}, {2: 2, 3: None}, {2: True}):
        with pytest.raises(ebpf.CodecError, match=r"^(key|value) of <ebpf.HashMap 'counts'"):
            m.update(bad)
    assert m.to_dict() == {1: 1}


def test_a_full_map_says_where_it_stopped() -> None:
    """The error does not say which entry was refused, or those before it are not written."""
    with HashMap.create(key="I", value="Q", max_entries=3, name="small") as m:
        with pytest.raises(ebpf.BpfError, match=r"entry 3 of 5, the key 13 .*full.* is 3.*'small'"):
            m.update({key: key for key in range(10, 15)})
        assert m.to_dict() == {10: 10, 11: 11, 12: 12}


def test_many_lookups(m: HashMap[int, int]) -> None:
    """lookup_many answers in another order, or takes an absent key for a zero."""
    numpy = pytest.importorskip("numpy")
    m.update({1: 10, 2: 0, 3: (1 << 64) - 1})
    assert m.lookup_many([3, 9, 2, 1, 9]) == [(1 << 64) - 1, None, 0, 10, None]
    assert m.lookup_many(array("I", [1, 2])) == [10, 0]
    assert m.lookup_many(numpy.array([2, 4], "u4")) == [0, None]
    assert m.lookup_many(struct.pack("I", 1)) == [10]
    assert m.lookup_many([]) == []
    assert m.lookup_many(iter(range(4))) == [None, 10, 0, (1 << 64) - 1]


@pytest.mark.parametrize("type", [MapType.PERCPU_HASH, MapType.LRU_PERCPU_HASH], ids=str)
def test_values_per_cpu(type: MapType) -> None:
    """The buffers of a per-CPU map are read as if it had one value an entry."""
    with HashMap.create(type, key="I", value="Q", max_entries=ROOM) as m:
        cpus = m.value_codec.ncpus  # type: ignore[attr-defined]
        expected = {key: [key * 10 + cpu for cpu in range(cpus)] for key in range(50)}
        m.update(expected)
        keys, values = m.lookup_batch()
        assert values.shape == (50, cpus)
        assert dict(zip(keys, values.tolist(), strict=True)) == expected
        assert m.to_dict() == expected
        m.update_batch(keys[:1], values[:1])
        assert m.delete_batch(keys) == 50
        assert m.to_dict() == {}
    with HashMap.create(type, key="I", value="3s", max_entries=ROOM) as m:
        m.update({1: [b"abc"] * cpus})
        assert bytes(m.lookup_batch()[1]) == b"abc\0\0\0\0\0" * cpus


@pytest.mark.parametrize("type", [MapType.ARRAY, MapType.PERCPU_ARRAY], ids=str)
def test_arrays(type: MapType) -> None:
    """Slots of an array are read or written at other indexes."""
    with ArrayMap.create(type, value="Q", max_entries=100) as m:
        one: Any = [5] * m.value_codec.ncpus if type == MapType.PERCPU_ARRAY else 5  # type: ignore[attr-defined]
        zero: Any = [0] * m.value_codec.ncpus if type == MapType.PERCPU_ARRAY else 0  # type: ignore[attr-defined]
        m.update({3: one, 99: one})
        expected = {index: one if index in (3, 99) else zero for index in range(100)}
        assert m.to_dict() == dict(m.items()) == expected
        assert list(m) == list(m.values()) == list(expected.values())
        assert m.lookup_many([3, 4, 1000]) == [one, zero, None]
        with pytest.raises(IndexError, match=r"must be 0 to 99, but 100"):
            m.update({5: one, 100: one})
        assert m[5] == zero
        m.clear()
        assert list(m) == [zero] * 100


def test_a_trie_and_a_devmap(way: str) -> None:
    """Types whose cursor is a key, or that have no batches in any kernel, lose entries."""
    with LpmTrieMap.create(key="I4s", value="I", max_entries=500) as trie:
        entries = {(32, bytes((10, 0, n >> 8, n & 255))): n for n in range(300)}
        trie.update(entries)
        assert trie.to_dict() == entries
        assert sum(len(keys) // 8 for keys, _ in trie.batches(7)) == 300
        trie.clear()
        assert trie.to_dict() == {}
    with HashMap.create(MapType.DEVMAP_HASH, key="I", value="I", max_entries=64) as devices:
        devices.update(dict.fromkeys(range(40), 1))
        assert devices.to_dict() == dict.fromkeys(range(40), 1)
        assert devices.delete_batch(range(30, 50)) == 10
        devices.clear()
        assert devices.to_dict() == {}


def test_a_refusal_is_no_reason_to_go_on_entry_by_entry(way: str) -> None:
    """An error other than ENOTSUPP makes the library try another way without a word."""
    with HashMap.create(key="I", value="Q", max_entries=4, name="cold") as m:
        m[1] = 1
        m.freeze()
        for use in (lambda: m.update({2: 2}), lambda: m.delete_batch([1]), m.clear):
            with pytest.raises(ebpf.BpfPermissionError, match=r"'cold'.*is frozen"):
                use()
        assert m._unbatched == (WITHOUT_BATCHES if way == "entries" else frozenset())
        assert m.to_dict() == {1: 1}
    with HashMap.create(key="I", value="Q", max_entries=4, flags=MapFlags.WRONLY) as m:
        for read in (m.to_dict, m.lookup_batch, lambda: m.lookup_many([1]), lambda: len(m)):
            with pytest.raises(ebpf.BpfPermissionError, match=r"write-only"):
                read()


def test_bad_buffers(m: HashMap[int, int]) -> None:
    """A buffer that does not fit is read beyond its end, or the error names neither it nor the
    sizes."""
    numpy = pytest.importorskip("numpy")
    m.update({1: 1, 2: 2})
    keys, values = array("I", [3, 4]), array("Q", [3, 4])
    odd = numpy.arange(8, dtype="u4")[::2]
    bad: list[tuple[type[Exception], str, Any, Any]] = [
        (ValueError, r"keys, values: 2 keys, but 1 values", keys, values[:1]),
        (ValueError, r"keys: 7 bytes are no whole number of items of 4", bytes(7), values),
        (ValueError, r"values: 9 bytes are no whole number of items of 8", keys, bytes(9)),
        (ValueError, r"keys: .* not side by side", odd, values),
        (
            ValueError,
            r"keys: .*items of 8 bytes \(format 'Q'\), but the map's have 4",
            values,
            values,
        ),
        (ValueError, r"values: .*items of 16 bytes", keys, numpy.zeros(2, "c16")),
        (ValueError, r"values: .*floats.*'d'.* has integers.*astype", keys, numpy.zeros(2)),
        (ValueError, r"keys: .*other byte order.*'>I'", numpy.array([3, 4], ">u4"), values),
        (ebpf.CodecError, r"key of .*None", [None], [1]),
        (TypeError, r"^keys: None is no iterable and no buffer", None, values),
        (TypeError, r"^values: 5 is no iterable and no buffer", keys, 5),
    ]
    for kind, text, bad_keys, bad_values in bad:
        with pytest.raises(kind, match=text):
            m.update_batch(bad_keys, bad_values)
    for use in (m.lookup_many, m.delete_batch):
        with pytest.raises(TypeError, match=r"^keys: None is no iterable and no buffer"):
            use(None)
    with pytest.raises(ValueError, match=r"flags: .*NOEXIST"):
        m.update_batch(keys, values, flags=ebpf.UpdateFlags.NOEXIST)
    for text, key_room, value_room in (
        (r"keys: the buffer is read-only", bytes(8), bytearray(16)),
        (r"values: the buffer is read-only", bytearray(8), bytes(16)),
        (r"keys: .* not side by side", numpy.zeros(8, "u4")[::2], bytearray(16)),
        (r"values: .*floats", bytearray(8), numpy.zeros(2)),
    ):
        with pytest.raises(ValueError, match=text):
            m.lookup_batch_into(key_room, value_room)
    with pytest.raises(TypeError, match=r"keys: int is no buffer"):
        m.lookup_batch_into(5, bytearray(8))
    for count in (0, -1, "x", 1.5):
        with pytest.raises(ValueError, match=r"count: .*1 entry or more"):
            m.batches(count)  # type: ignore[arg-type]
    assert m.to_dict() == {1: 1, 2: 2}


def test_buffers_of_the_maps_own_byte_order() -> None:
    """Numbers in network order are refused where the map has them too, or written turned round."""
    numpy = pytest.importorskip("numpy")
    with HashMap.create(key=">I", value="d", max_entries=4) as m:
        m.update_batch(numpy.array([1, 2], ">u4"), numpy.array([0.5, 1.5]))
        assert m.to_dict() == {1: 0.5, 2: 1.5}
        with pytest.raises(ValueError, match=r"keys: .*integers .*'I'.*other byte order"):
            m.update_batch(numpy.array([1], "u4"), numpy.array([2.0]))
        with pytest.raises(ValueError, match=r"values: .*integers .* has floats"):
            m.update_batch(numpy.array([1], ">u4"), numpy.array([2], "i8"))
        m.update_batch(numpy.array([1], "u4").tobytes(), numpy.array([2.0]))
        assert m[1 << 24] == 2.0


def test_keys_that_vanish_meanwhile(m: HashMap[int, int]) -> None:
    """Reading, deleting or clearing fails, or repeats entries, while others insert and delete."""
    stay = {key: key for key in range(300)}
    stop = threading.Event()
    rounds = 0

    def churn() -> None:
        nonlocal rounds
        while not stop.is_set():
            m.update({key: key for key in range(500, 600)})
            m.delete_batch(range(500, 600))
            rounds += 1

    m.update(stay)
    thread = threading.Thread(target=churn)
    thread.start()
    try:
        while rounds < 20:
            keys, values = m.lookup_batch()
            assert len(set(keys)) == len(keys)
            assert list(keys) == list(values)
            assert set(stay) <= set(keys) <= set(stay) | set(range(500, 600))
            assert m.delete_batch(range(700, 900)) == 0
    finally:
        stop.set()
        thread.join()
    assert m.to_dict() == stay


def test_the_views_outlive_the_map(m: HashMap[int, int]) -> None:
    """Buffers are freed with the map, or used again by the next batch."""
    m.update(SQUARES)
    first = m.lookup_batch()
    chunks = list(m.batches(16))
    m.update(dict.fromkeys(SQUARES, 1))
    m.lookup_batch()
    m.close()
    assert as_dict(*first) == SQUARES
    assert {key: value for chunk in chunks for key, value in as_dict(*chunk).items()} == SQUARES


def test_closed(m: HashMap[int, int]) -> None:
    """A closed map's batches fail with EBADF, or begin before the error is raised."""
    m.close()
    for use in (
        m.lookup_batch,
        m.lookup_and_delete_batch,
        m.batches,
        lambda: m.lookup_batch_into(bytearray(4), bytearray(8)),
        lambda: m.update_batch([1], [1]),
        lambda: m.update({}),
        lambda: m.delete_batch([]),
        lambda: m.lookup_many([]),
    ):
        with pytest.raises(ebpf.ClosedError, match=r"closed"):
            use()
