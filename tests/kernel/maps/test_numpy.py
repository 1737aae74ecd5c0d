"""to_numpy: a map as two arrays."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from ebpf import ArrayMap, HashMap, Map, MapType
from ebpf.codec import u32, u64

numpy = pytest.importorskip("numpy")


@dataclass
class Traffic:
    packets: u32
    bytes: u64


def test_a_hash_of_structs() -> None:
    """Rows of keys and values don't belong together, or fields are others'."""
    with HashMap.create(key="I", value=Traffic, max_entries=100) as m:
        m.update({port: Traffic(port, port * 1000) for port in range(50)})
        keys, values = m.to_numpy()
        assert keys.dtype == numpy.dtype("u4")
        assert sorted(keys.tolist()) == list(range(50))
        assert (values["packets"] == keys).all()
        assert (values["bytes"] == keys * 1000).all()
        assert keys.base is not None
        values["bytes"] += 1
        m.update_batch(keys, values)
        assert m[7].bytes == 7001


def test_values_per_cpu() -> None:
    """Values of a CPU are another's."""
    with ArrayMap.create(MapType.PERCPU_ARRAY, value="I", max_entries=5) as m:
        cpus = len(m[0])
        for index in range(5):
            m[index] = [index * 10 + cpu for cpu in range(cpus)]
        indexes, values = m.to_numpy()
        assert indexes.tolist() == [0, 1, 2, 3, 4]
        assert values.tolist() == [[index * 10 + cpu for cpu in range(cpus)] for index in range(5)]
        assert values.sum(axis=1).tolist() == [sum(m[index]) for index in range(5)]


def test_an_empty_map() -> None:
    """numpy takes an empty buffer for an error."""
    with HashMap.create(key="I", value=Traffic, max_entries=1) as m:
        keys, values = m.to_numpy()
        assert (keys.shape, values.shape) == ((0,), (0,))


PAIR = numpy.dtype([("a", "u4"), ("b", "u4")])


@pytest.mark.parametrize("type", [MapType.PERCPU_HASH, MapType.PERCPU_ARRAY], ids=str)
def test_structs_per_cpu_stay_as_they_were_read(type: MapType) -> None:
    """Values of one key change when another's are read into the same buffer."""
    keys = {} if type == MapType.PERCPU_ARRAY else {"key": "I"}
    with Map.create(type, value=PAIR, max_entries=3, **keys) as m:
        cpus = m.value_codec.ncpus
        m[1], m[2] = [(1, 2)] * cpus, [(8, 9)] * cpus
        first = m[1]
        assert m[2][0].tolist() == (8, 9)
        assert [value.tolist() for value in first] == [(1, 2)] * cpus


def test_structs_are_keys_of_a_dict() -> None:
    """numpy's records can't be hashed where they come from a batch."""
    with HashMap.create(key=PAIR, value="I", max_entries=4) as m:
        m[(1, 2)], m[(3, 4)] = 12, 34
        assert {key.tolist(): value for key, value in m.to_dict().items()} == {
            (1, 2): 12,
            (3, 4): 34,
        }
        assert set(m) == set(dict(m.items()))


@pytest.mark.parametrize("kind", ["u4", "i8", "u1"])
def test_integers_as_keys_and_indexes(kind: str) -> None:
    """numpy's integers are keys of a hash, but no indexes of an array, or may be out of range."""
    one, three = numpy.array([1, 3], kind)
    with (
        ArrayMap.create(value="Q", max_entries=3) as array,
        HashMap.create(key="I", value="Q", max_entries=3) as hash,
    ):
        for map in (array, hash):
            map[one] = one
            map.update({numpy.int64(2): 7})
            assert (map[one], map.lookup(numpy.int16(2)), map.to_dict()[2]) == (1, 7, 7)
        for index in (three, numpy.int64(-1)):
            with pytest.raises(IndexError, match=r"must be 0 to 2, but (3|-1)$"):
                array[index]
        with pytest.raises(TypeError, match=r"is not an int"):
            array[numpy.float64(1)]
