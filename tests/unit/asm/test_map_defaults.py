"""What the type of a map decides is the same for maps in collections."""

from __future__ import annotations

import pytest

from ebpf import asm
from ebpf.btf.build import BtfBuilder
from ebpf.maps import Map
from ebpf.maps.base import CLASS_OF
from ebpf.maps.limits import required_flags
from ebpf.maps.objects import value_format
from ebpf.types import MapFlags, MapType

DECIDED = [type for type in MapType if type.since is not None and type != MapType.UNSPEC]


@pytest.mark.parametrize("type", DECIDED, ids=lambda type: type.name)
@pytest.mark.parametrize("flags", [MapFlags(0), MapFlags.STACK_BUILD_ID])
def test_defaults_are_those_of_maps(type: MapType, flags: MapFlags) -> None:
    """A map would be refused for what `Map.create` supplies, or be another one."""
    found = CLASS_OF.get(type, Map)
    key, value = found._formats(None, value_format(type), flags)
    made = asm.TypedMap("made", type, max_entries=1, flags=flags).spec(BtfBuilder())
    assert made.key_size == (key.size if key else 0)
    assert made.value_size == (value.size if value else 0)
    assert made.flags == flags | required_flags(type)
