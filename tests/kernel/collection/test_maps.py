"""Maps of objects whose types or owners are out of the ordinary."""

from __future__ import annotations

from typing import Any

import ebpf
from ebpf.btf import types as t
from ebpf.btf.build import BtfBuilder
from ebpf.spec import CollectionSpec, MapSpec
from ebpf.types import MapType
from tests.objects import compiled

# One more than are converted one by one.
SLOTS = (1 << 20) + 1


def test_a_type_that_is_not_converted_is_raw_bytes() -> None:
    """An object would not load that the kernel takes, and nothing in a Spec could help it."""
    builder = BtfBuilder()
    key = builder.add(t.Int(name="int", size=4, bits=32, encoding=t.IntEncoding.SIGNED))
    slot = builder.add(t.Int(name="slot", size=2, bits=16))
    slots = builder.add(t.Array(type_id=slot, index_type_id=key, length=SLOTS))
    members = (t.Member("slots", slots, 0),)
    large = builder.add(t.Struct(name="large", size=2 * SLOTS, members=members))
    spec = CollectionSpec("large", btf=builder.to_btf())
    spec.maps["table"] = MapSpec(
        "table", MapType.ARRAY, 4, 2 * SLOTS, 1, key_type_id=key, value_type_id=large
    )
    spec.maps["ring"] = MapSpec("ring", MapType.RINGBUF, max_entries=4096, value_type_id=large)
    with spec.load() as objects:
        table: Any = objects.maps["table"]
        assert table.info().btf_value_type_id == large
        table[0] = b"\1" * (2 * SLOTS)
        assert table[0] == b"\1" * (2 * SLOTS)
        with ebpf.RingBuffer(objects.maps["ring"]) as ring:
            assert ring.read_batch() == []


def test_constants_of_a_given_map_stay_the_callers_to_write() -> None:
    """A map is frozen for ever: the caller could prepare no second load with it."""
    spec = CollectionSpec.from_file(compiled("data"))
    constants = spec.maps[".rodata"]
    with ebpf.Map.create(
        MapType.ARRAY, key="I", value=constants.value_size, max_entries=1, flags=constants.flags
    ) as given:
        mine: Any = given
        mine[0] = bytes(constants.contents or b"")
        with spec.load(maps={".rodata": given}) as objects:
            assert objects.maps[".rodata"] is given
            assert not given.info().frozen
        mine[0] = bytes(constants.value_size)
    with spec.load() as objects:
        assert objects.maps[".rodata"].info().frozen
