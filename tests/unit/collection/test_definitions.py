"""Definitions of maps in a Spec that no kernel takes: the member, and what to do about it."""

from __future__ import annotations

import re

import pytest

from ebpf.collection.maps import check_definition
from ebpf.errors import ElfError
from ebpf.spec import CollectionSpec, MapSpec
from ebpf.types import MapFlags, MapType


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        (MapSpec("m", MapType.RINGBUF), "max_entries: 0 bytes is no size for a RINGBUF"),
        (MapSpec("m", MapType.HASH, 4, 8), "max_entries: a HASH map needs at least 1"),
        (MapSpec("m", MapType.RINGBUF, max_entries=-1), "max_entries: -1 does not fit"),
        (MapSpec("m", MapType.RINGBUF, max_entries=(1 << 31) + 1), "max_entries: 2147483649 bytes"),
        (MapSpec("m", MapType.HASH, 0, 8, 1), "key: a HASH map needs one of 1 byte or more"),
        (MapSpec("m", MapType.ARRAY, 8, 8, 1), "key: of 8 bytes, but an ARRAY map has u32 keys"),
        (MapSpec("m", MapType.LPM_TRIE, 8, 8, 1), "flags: an LPM_TRIE map needs BPF_F_NO_PREALLOC"),
        (MapSpec("m", MapType.HASH, 4, 8, -1), "max_entries: -1 does not fit"),
        (MapSpec("m", MapType.HASH, 4, 8, 1, map_extra=1 << 64), "map_extra: "),
    ],
)
def test_the_member_and_the_remedy_are_named(spec: MapSpec, problem: str) -> None:
    """The kernel's bare EINVAL comes instead."""
    with pytest.raises(ElfError, match=re.escape(f"map 'counts': {problem}")) as caught:
        check_definition("counts", spec)
    assert str(caught.value).endswith("; mend its definition in the source, or spec.maps['counts']")


def test_an_inner_map_is_checked_too() -> None:
    """A mistake in the template is told as one of the map of maps, or not at all."""
    spec = MapSpec(
        "m", MapType.ARRAY_OF_MAPS, 4, 4, 1, inner=MapSpec("m.inner", MapType.HASH, 4, 8)
    )
    with pytest.raises(
        ElfError, match=r"^inner map of 'm': max_entries: .*spec.maps\['m'\]\.inner$"
    ):
        check_definition("m", spec)


@pytest.mark.parametrize(
    "spec",
    [
        MapSpec("m", MapType.RINGBUF, value_size=16, max_entries=1000),
        MapSpec("m", MapType.PERF_EVENT_ARRAY, 4, 4),
        MapSpec("m", MapType.TASK_STORAGE, 4, 8, flags=MapFlags.NO_PREALLOC),
        MapSpec("m", MapType(999)),
    ],
)
def test_what_load_completes_passes(spec: MapSpec) -> None:
    """A definition is refused that libbpf loads, or a type that only the kernel knows."""
    check_definition("m", spec)


def test_load_refuses_before_it_makes_anything() -> None:
    """The maps before the mistaken one are created for nothing."""
    spec = CollectionSpec("sample")
    spec.maps["first"] = MapSpec("first", MapType.HASH, 4, 8, 1, pin_path="/nonexistent/first")
    spec.maps["second"] = MapSpec("second", MapType.HASH, 4, 8)
    with pytest.raises(ElfError, match=r"^map 'second': max_entries: a HASH map needs at least 1"):
        spec.load()
    spec.maps["second"].autocreate = False
    del spec.maps["first"]
    spec.load().close()
