"""Iterating maps that change meanwhile: it ends, and sees each key at most once."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

import ebpf
from ebpf import HashMap, MapFlags, MapType
from ebpf.maps import batch, keyed
from tests.kernel.maps.support import WITHOUT_BATCHES

TYPES = [
    pytest.param(MapType.HASH, MapFlags(0), id="HASH"),
    pytest.param(MapType.HASH, MapFlags.NO_PREALLOC, id="HASH-NO_PREALLOC"),
    pytest.param(MapType.LRU_HASH, MapFlags(0), id="LRU_HASH"),
]


@pytest.fixture
def m() -> Iterator[HashMap[int, int]]:
    with HashMap.create(key="I", value="I", max_entries=64) as map:
        yield map


@pytest.fixture(params=["batches", "entries"])
def small_chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk fetches about 4 keys at a time, so that small maps show what large ones do; once by
    the kernel's batches, and once key by key."""
    if request.param == "entries":
        monkeypatch.setattr(batch.BatchMap, "_unbatched", WITHOUT_BATCHES)
    for module in (keyed, batch):
        monkeypatch.setattr(module, "CHUNK", 4)
        monkeypatch.setattr(module, "FIRST_CHUNK", 4)


@pytest.mark.usefixtures("small_chunks")
def test_a_walk_in_chunks_sees_everything_once(m: HashMap[int, int]) -> None:
    """A key at the border of two chunks is left out or comes twice."""
    for count in (0, 1, 3, 4, 5, 8, 64):
        m.update({key: key for key in range(count)})
        assert sorted(m) == list(range(count))
        assert len(m) == count


@pytest.mark.everywhere
def test_more_keys_than_one_chunk() -> None:
    """A map with more keys than one call of the core fetches is read in part."""
    count = batch.CHUNK + 100
    with HashMap.create(key="I", value="I", max_entries=count) as m:
        m.update({key: key for key in range(count)})
        assert len(m) == count
        for key in m:
            del m[key]
        assert len(m) == 0


@pytest.mark.usefixtures("small_chunks")
def test_deleting_the_current_key(m: HashMap[int, int]) -> None:
    """After the current key was deleted the walk starts over and sees keys twice, or stops."""
    m.update({key: key for key in range(64)})
    seen = []
    for key in m:
        seen.append(key)
        del m[key]
    assert sorted(seen) == list(range(64))
    assert m.to_dict() == {}


@pytest.mark.usefixtures("small_chunks")
def test_deleting_every_other_key(m: HashMap[int, int]) -> None:
    """Keys that stay are left out when others are deleted during the walk."""
    m.update({key: key for key in range(64)})
    seen = []
    for key in m:
        seen.append(key)
        m.delete(key ^ 1)
    assert len(seen) == len(set(seen))
    assert set(m) <= set(seen)


@pytest.mark.usefixtures("small_chunks")
def test_deleting_everything_at_the_first_key(m: HashMap[int, int]) -> None:
    """A walk over a map that was emptied fails, or goes on with entries that are long gone."""
    m.update({key: key for key in range(64)})
    entries = iter(m.items())
    next(entries)
    m.clear()
    # What was fetched already may still come: a chunk, and the key that it was held back for. A
    # bucket with more keys than that is fetched as a whole.
    assert len(list(entries)) <= 8
    m.update({key: key for key in range(64)})
    keys = iter(m)
    next(keys)
    m.clear()
    assert len(list(keys)) <= 8


@pytest.mark.usefixtures("small_chunks")
def test_a_walk_that_feeds_itself_ends(m: HashMap[int, int]) -> None:
    """Replacing each key by a new one makes the walk go on for ever."""
    m.update({key: key for key in range(64)})
    seen = []
    fresh = 64
    try:
        for key in m:
            seen.append(key)
            del m[key]
            m[fresh] = fresh
            fresh += 1
    except ebpf.EbpfError as error:
        assert "without an end" in str(error)  # noqa: PT017
    assert 64 <= len(seen) <= 16 * 64 + 64
    assert len(seen) == len(set(seen))


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize(("type", "flags"), TYPES)
def test_while_another_thread_inserts_and_deletes(type: MapType, flags: MapFlags) -> None:
    """Under concurrent changes a walk loses keys that stay, repeats some, fails or hangs."""
    stay = set(range(32))
    stop = threading.Event()
    rounds = 0
    with HashMap.create(type, key="I", value="I", max_entries=1024, flags=flags) as m:
        m.update({key: key for key in stay})

        def churn() -> None:
            nonlocal rounds
            while not stop.is_set():
                for key in range(100, 132):
                    m[key] = key
                for key in range(100, 132):
                    m.delete(key)
                rounds += 1

        thread = threading.Thread(target=churn)
        thread.start()
        try:
            while rounds < 3:
                for seen in (list(m), [key for key, _ in m.items()]):
                    assert len(seen) == len(set(seen))
                    assert stay <= set(seen) <= stay | set(range(100, 132))
                assert all(key == value for key, value in m.to_dict().items())
        finally:
            stop.set()
            thread.join()


@pytest.mark.usefixtures("small_chunks")
def test_two_threads_clear_and_pop(m: HashMap[int, int]) -> None:
    """Two threads that empty the same map trip over each other, or get the same entry."""
    m.update({key: key for key in range(64)})
    popped: list[tuple[int, int]] = []

    def drain() -> None:
        while True:
            try:
                popped.append(m.popitem())
            except KeyError:
                return

    threads = [threading.Thread(target=drain) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert m.to_dict() == {}
    assert sorted(popped) == [(key, key) for key in range(64)]
