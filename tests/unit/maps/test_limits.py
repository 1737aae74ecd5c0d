"""Definitions that no kernel takes."""

from __future__ import annotations

import mmap
from typing import Any

import pytest

from ebpf.maps import HashMap, limits
from ebpf.types import MapFlags, MapType


@pytest.mark.parametrize("name", ["", "a", "A_z.9", "a" * 15])
def test_names_that_the_kernel_takes(name: str) -> None:
    """A name is refused that the kernel would take."""
    limits.check_name(name)


@pytest.mark.parametrize("name", ["a" * 16, "a b", "a-b", "a/b", "a\n", "\0", "ü", "a\n" * 3])
def test_names_that_it_does_not(name: str) -> None:
    """A name reaches the kernel that it answers with EINVAL."""
    with pytest.raises(ValueError, match=r"^name: "):
        limits.check_name(name)


@pytest.mark.parametrize("name", [None, b"a", 1])
def test_names_that_are_no_strings(name: Any) -> None:
    """Something else than a string is taken for a name."""
    with pytest.raises(TypeError, match=r"^name: .* is not a str"):
        limits.check_name(name)


@pytest.mark.parametrize("type", [MapType.RINGBUF, MapType.USER_RINGBUF], ids=str)
def test_ring_sizes(type: MapType) -> None:
    """A ring's size is refused that the kernel takes, or the proposed one is no size either."""
    page = mmap.PAGESIZE
    for size in (page, 2 * page, 1 << 31):
        limits.check_create(type, 0, 0, size, "")
    for size, fit in (
        (0, page),
        (1, page),
        (page - 1, page),
        (page + 1, 2 * page),
        (3 * page, 4 * page),
        ((1 << 31) + 1, 1 << 31),
    ):
        with pytest.raises(ValueError, match=rf"^max_entries: {size} bytes .* {fit} would do"):
            limits.check_create(type, 0, 0, size, "")


@pytest.mark.parametrize("size", [5, 8, 20, 260])
def test_lpm_keys(size: int) -> None:
    """A key for an LPM_TRIE is refused that the kernel takes."""
    limits.check_create(MapType.LPM_TRIE, size, 1, 1, "")


@pytest.mark.parametrize("size", [1, 4, 261])
def test_lpm_keys_that_are_none(size: int) -> None:
    """A key without data, or with more than the kernel has room for, reaches the kernel."""
    with pytest.raises(ValueError, match=rf"^key: of {size} bytes"):
        limits.check_create(MapType.LPM_TRIE, size, 1, 1, "")


# No kernel has all of these: what is checked is that they pass here.
USUAL: dict[MapType, tuple[int, int, int]] = {
    MapType.QUEUE: (0, 8, 1),
    MapType.STACK: (0, 8, 1),
    MapType.BLOOM_FILTER: (0, 8, 1),
    MapType.RINGBUF: (0, 0, mmap.PAGESIZE),
    MapType.USER_RINGBUF: (0, 0, mmap.PAGESIZE),
    MapType.ARENA: (0, 0, 1),
    MapType.LPM_TRIE: (8, 8, 1),
    MapType.CGROUP_STORAGE: (16, 8, 0),
    MapType.PERCPU_CGROUP_STORAGE: (16, 8, 0),
    MapType.SK_STORAGE: (4, 8, 0),
    MapType.INODE_STORAGE: (4, 8, 0),
    MapType.TASK_STORAGE: (4, 8, 0),
    MapType.CGRP_STORAGE: (4, 8, 0),
    MapType.PROG_ARRAY: (4, 4, 1),
    MapType.PERF_EVENT_ARRAY: (4, 4, 1),
    MapType.CGROUP_ARRAY: (4, 4, 1),
    MapType.ARRAY_OF_MAPS: (4, 4, 1),
    MapType.HASH_OF_MAPS: (4, 4, 1),
    MapType.XSKMAP: (4, 4, 1),
}
KNOWN = [type for type in MapType if type != MapType.UNSPEC]


@pytest.mark.parametrize("type", KNOWN, ids=str)
def test_the_usual_definition_of_each_type_passes(type: MapType) -> None:
    """A type can't be created at all, because its sizes are refused."""
    limits.check_create(type, *USUAL.get(type, (4, 8, 1)), "name")


@pytest.mark.parametrize("type", KNOWN, ids=str)
def test_each_type_has_what_it_needs(type: MapType) -> None:
    """A size that the type can't do without, or can't have, reaches the kernel."""
    key, value, entries = USUAL.get(type, (4, 8, 1))
    for wrong in ((0 if key else 4, value, entries), (key, 0 if value else 8, entries)):
        with pytest.raises(ValueError, match=r"^(key|value|key, value): "):
            limits.check_create(type, *wrong, "")
    for number in (0 if entries else 1, -1, 1 << 32):
        with pytest.raises(ValueError, match=r"^max_entries: "):
            limits.check_create(type, key, value, number, "")


def test_values_that_are_descriptors() -> None:
    """A value that no descriptor fits reaches the kernel, which says EINVAL."""
    with pytest.raises(ValueError, match=r"^value: of 8 bytes, but a PROG_ARRAY"):
        limits.check_shape(MapType.PROG_ARRAY, 4, 8, 1)


def test_flags_that_a_type_cannot_do_without() -> None:
    """A trie without its flag reaches the kernel, or one that has it is refused."""
    with pytest.raises(ValueError, match=r"^flags: an LPM_TRIE map needs BPF_F_NO_PREALLOC$"):
        limits.check_flags(MapType.LPM_TRIE, MapFlags.RDONLY_PROG)
    limits.check_flags(MapType.LPM_TRIE, MapFlags.NO_PREALLOC | MapFlags.RDONLY_PROG)
    limits.check_flags(MapType.HASH, 0)


def test_options_that_no_map_has() -> None:
    """A slip is told by the name of an inner class, without the option that was meant."""
    options: Any = {"max_entires": 2}
    with pytest.raises(TypeError, match=r"^max_entires: a map has no .* it has max_entries, name"):
        HashMap.create(key="I", value="I", **options)


def test_types_that_need_other_objects() -> None:
    """A map of maps without its example reaches the kernel."""
    for type in (MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS):
        with pytest.raises(ValueError, match=rf"^inner: {type.name}"):
            limits.check_references(type, None)
        limits.check_references(type, object())
    limits.check_references(MapType.HASH, None)


def test_required_flags() -> None:
    """A flag without which the kernel takes no such map is not added, or one is added to all."""
    assert limits.required_flags(MapType.LPM_TRIE) == MapFlags.NO_PREALLOC
    assert limits.required_flags(MapType.ARENA) == MapFlags.MMAPABLE
    assert limits.required_flags(MapType.HASH) == 0
