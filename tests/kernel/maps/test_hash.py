"""HashMap: a MutableMapping over the hashes in the kernel."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest

import ebpf
from ebpf import HashMap, MapType, UpdateFlags
from tests.kernel.maps.support import dumped, increment, update

# Each CPU takes free elements of an LRU map in batches of 128: a smaller one evicts early.
ROOM = 1024
HASHES = [
    pytest.param(type, id=type.name) for type in (MapType.HASH, MapType.LRU_HASH, MapType.RHASH)
]


@pytest.fixture
def m() -> Iterator[HashMap[int, int]]:
    with HashMap.create(key="I", value="Q", max_entries=4, name="counts") as map:
        yield map


def packed(entries: dict[int, int]) -> dict[bytes, bytes]:
    return {struct.pack("I", key): struct.pack("Q", value) for key, value in entries.items()}


@pytest.mark.parametrize("type", HASHES)
def test_writes_are_what_bpftool_sees(type: MapType) -> None:
    """Writing or deleting has another effect in the kernel than on a dict."""
    with HashMap.create(type, key="I", value="Q", max_entries=ROOM) as m:
        m[1] = 100
        m[2] = 1 << 63
        m[1] = 101
        m.put(3, 3)
        assert dumped(m) == packed({1: 101, 2: 1 << 63, 3: 3})
        del m[2]
        assert m.delete(3) is True
        assert m.delete(3) is False
        assert dumped(m) == packed({1: 101})
        m.update({7: 70, 8: 80})
        m.update([(9, 90)])
        assert dumped(m) == packed({1: 101, 7: 70, 8: 80, 9: 90})
        m.clear()
        assert dumped(m) == {}


@pytest.mark.parametrize("type", HASHES)
def test_it_reads_like_a_dict(type: MapType) -> None:
    """A reading method of the mapping gives something else than a dict's."""
    with HashMap.create(type, key="I", value="Q", max_entries=ROOM) as m:
        expected = {key: key * key for key in range(20)}
        m.update(expected)
        assert isinstance(m, MutableMapping)
        assert m.to_dict() == dict(m) == dict(m.items()) == expected
        assert sorted(m) == sorted(m.keys()) == sorted(expected)
        assert sorted(m.values()) == sorted(expected.values())
        assert len(m) == len(m.items()) == len(m.keys()) == 20
        assert 7 in m
        assert 20 not in m
        assert (7, 49) in m.items()
        assert (7, 50) not in m.items()
        assert 49 in m.values()
        assert m.get(7) == m.lookup(7) == 49
        assert m.get(99) is None
        assert m.get(99, -1) == -1
        assert m.lookup(99) is None


def test_missing_keys(m: HashMap[int, int]) -> None:
    """A key that is not there raises something else than KeyError(key)."""
    for use in (lambda: m[5], lambda: m.__delitem__(5), lambda: m.pop(5)):
        with pytest.raises(KeyError) as caught:
            use()
        assert caught.value.args == (5,)
    with pytest.raises(KeyError):
        m.popitem()


@pytest.mark.parametrize("type", HASHES)
def test_pop_and_popitem_remove_what_they_return(type: MapType) -> None:
    """pop or popitem leave the entry, return a wrong value, or lose entries."""
    with HashMap.create(type, key="I", value="Q", max_entries=ROOM) as m:
        m.update({1: 10, 2: 20, 3: 30})
        assert m.pop(1) == 10
        assert m.pop(1, None) is None
        assert m.pop(1, -5) == -5
        assert dict([m.popitem(), m.popitem()]) == {2: 20, 3: 30}
        assert dumped(m) == {}


def test_pop_of_zero_is_not_taken_for_missing(m: HashMap[int, int]) -> None:
    """A value that is false counts as absent."""
    m[1] = 0
    assert m.get(1, 5) == 0
    assert m.setdefault(1, 5) == 0
    assert m.pop(1, 5) == 0


def test_setdefault_writes_only_where_nothing_is(m: HashMap[int, int]) -> None:
    """setdefault replaces a value, or does not create one."""
    assert m.setdefault(1, 10) == 10
    assert m.setdefault(1, 11) == 10
    assert dumped(m) == packed({1: 10})
    m.update({2: 0, 3: 0, 4: 0})
    # The map is full, but the key is there.
    assert m.setdefault(1, 11) == 10


def test_setdefault_is_one_noexist_update(
    m: HashMap[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the write of setdefault, another writer's value could be lost."""
    put = HashMap.put

    def after_another_writer(self: Any, key: int, value: int, flags: int = 0) -> None:
        put(self, key, 77)
        put(self, key, value, flags)

    monkeypatch.setattr(HashMap, "put", after_another_writer)
    assert m.setdefault(1, 10) == 77
    assert m[1] == 77


@pytest.mark.parametrize(
    "type",
    [MapType.HASH, MapType.LRU_HASH, MapType.PERCPU_HASH, MapType.LRU_PERCPU_HASH, MapType.RHASH],
    ids=str,
)
def test_lookup_and_delete_is_one_step(type: MapType) -> None:
    """LOOKUP_AND_DELETE (5.14 for hashes) does not delete, or is not dated on old kernels."""
    with HashMap.create(type, key="I", value="Q", max_entries=ROOM) as m:
        value = m.lookup(1) or ([5] * m.value_codec.ncpus if "PERCPU" in type.name else 5)
        m[1] = value
        assert m.lookup_and_delete(2) is None
        assert m.lookup_and_delete(1) == value
        assert 1 not in m


def test_lookup_and_delete_where_the_type_has_none() -> None:
    """A type that never had LOOKUP_AND_DELETE is blamed on the kernel's age, or pop fails."""
    with HashMap.create(MapType.LPM_TRIE, key="I4s", value="Q", max_entries=4) as m:
        m[8, b"\x0a\0\0\0"] = 1
        with pytest.raises(ebpf.NotSupportedError) as caught:
            m.lookup_and_delete((8, b"\x0a\0\0\0"))
        assert caught.value.minimum_version is None
        assert m.pop((8, b"\x0a\0\0\0")) == 1


def test_put_flags(m: HashMap[int, int]) -> None:
    """NOEXIST replaces, EXIST creates, or the error doesn't say which of them it was."""
    m.put(1, 10, UpdateFlags.NOEXIST)
    with pytest.raises(FileExistsError, match=r"write the key 1 .NOEXIST, and it is there."):
        m.put(1, 11, UpdateFlags.NOEXIST)
    m.put(1, 12, flags=UpdateFlags.EXIST)
    with pytest.raises(FileNotFoundError, match=r"write the key 2 .EXIST, and it is not there."):
        m.put(2, 20, UpdateFlags.EXIST)
    with pytest.raises(ebpf.BpfError, match=r"key 2 .NOEXIST and EXIST: one of them"):
        m.put(2, 20, UpdateFlags.NOEXIST | UpdateFlags.EXIST)
    assert dumped(m) == packed({1: 12})


def test_a_full_map_says_so(m: HashMap[int, int]) -> None:
    """E2BIG of a full map is passed on as 'Argument list too long' without a word more."""
    m.update(dict.fromkeys(range(4), 0))
    with pytest.raises(ebpf.BpfError, match=r"key 9 .*full: max_entries is 4.*'counts'") as caught:
        m[9] = 1
    assert caught.value.errno == errno.E2BIG
    m[3] = 1  # what is there can still be written


def test_an_lru_map_makes_room() -> None:
    """An LRU map refuses entries when it is full."""
    with HashMap.create(MapType.LRU_HASH, key="I", value="Q", max_entries=16) as m:
        for key in range(200):
            m[key] = key
        assert 0 < len(m) <= 16
        assert m[199] == 199


def test_flags_unknown_to_the_kernel(m: HashMap[int, int]) -> None:
    """Flags without a meaning are passed over in silence."""
    with pytest.raises(ebpf.BpfError) as caught:
        m.put(1, 1, UpdateFlags(1 << 20))
    assert caught.value.errno == errno.EINVAL
    assert 1 not in m


def test_a_map_is_itself(m: HashMap[int, int]) -> None:
    """Maps compare by contents, are false when empty, or can't be in a set."""
    with HashMap.create(key="I", value="Q", max_entries=4) as other:
        assert len(m) == len(other) == 0
        assert m
        assert m == m
        assert m != other
        assert m != {}
        assert len({m, other, m}) == 2


def test_repr_says_what_it_is(m: HashMap[int, int]) -> None:
    """The repr, with which every error message ends, lacks name, type or descriptor."""
    assert repr(m) == f"<ebpf.HashMap 'counts' HASH fd={m.fileno()}>"
    m.close()
    assert repr(m) == "<ebpf.HashMap 'counts' HASH closed>"


def test_a_program_and_user_space_share_the_map(m: HashMap[int, int]) -> None:
    """What a program writes is not what user space reads, or the other way round."""
    m[5] = 41
    code = increment(m, 5)
    with ebpf.Program.load(ebpf.ProgramType.SOCKET_FILTER, code, license="GPL") as program:
        program.test_run(bytes(14))
        assert m[5] == 42
        del m[5]
        program.test_run(bytes(14))
        assert 5 not in m
    code = update(m, 6, 123)
    with ebpf.Program.load(ebpf.ProgramType.SOCKET_FILTER, code, license="GPL") as program:
        assert program.test_run(bytes(14)).return_value == 0
        assert m.to_dict() == {6: 123}


def test_dump_prints_every_entry(m: HashMap[int, int], capsys: pytest.CaptureFixture[str]) -> None:
    """dump() leaves out entries or the map's definition."""
    m.update({1: 10, 2: 20})
    m.dump()
    head, *entries, count = capsys.readouterr().out.splitlines()
    assert head == f"map {m.info().id} counts: HASH, key 4 B, value 8 B, max_entries 4"
    assert sorted(entries) == ["  1: 10", "  2: 20"]
    assert count == "2 entries"


@pytest.mark.parametrize("bad", [None, 1.5, "1", b"1", True, -1, 1 << 32], ids=repr)
def test_keys_of_wrong_python_types(m: HashMap[int, int], bad: Any) -> None:
    """A bad key is looked up as something else, or the error doesn't say that it is the key."""
    m[1] = 1
    for use in (
        lambda: m[bad],
        lambda: m.lookup(bad),
        lambda: m.get(bad),
        lambda: bad in m,
        lambda: m.put(bad, 1),
        lambda: m.delete(bad),
        lambda: m.pop(bad),
        lambda: m.setdefault(bad, 1),
    ):
        with pytest.raises(ebpf.CodecError, match=r"^key of <ebpf.HashMap 'counts'"):
            use()
    assert m.to_dict() == {1: 1}


@pytest.mark.parametrize("bad", [None, 1.5, "1", b"1", True, -1, 1 << 64], ids=repr)
def test_values_of_wrong_python_types(m: HashMap[int, int], bad: Any) -> None:
    """A bad value is written as something else, or the error doesn't say that it is the value."""
    for use in (
        lambda: m.put(1, bad),
        lambda: m.__setitem__(1, bad),
        lambda: m.setdefault(1, bad),
        lambda: m.update({1: bad}),
    ):
        with pytest.raises(ebpf.CodecError, match=r"^value of <ebpf.HashMap 'counts'"):
            use()
    assert m.to_dict() == {}


def test_devmap_hash_holds_interfaces() -> None:
    """A DEVMAP_HASH, whose values are interface indexes, is not a mapping of them."""
    with HashMap.create(MapType.DEVMAP_HASH, key="I", value="I", max_entries=4) as m:
        m[1000] = 1  # the loopback interface
        assert m.to_dict() == {1000: 1}
        del m[1000]
        assert m.to_dict() == {}


def test_setdefault_takes_a_default() -> None:
    """The default of dict, None, fits no codec: the error would be about packing."""
    with HashMap.create(key="I", value="Q", max_entries=1) as m:
        with pytest.raises(TypeError, match="setdefault: default: give one"):
            m.setdefault(1)
        assert 1 not in m
        assert m.setdefault(1, 2) == 2
