"""Creating the maps of a Spec, in the order of what they need."""

from __future__ import annotations

import errno
import mmap
import os
import struct
import sys

from ebpf._sys import bpf, facts
from ebpf._sys.arguments import check_numbers
from ebpf._sys.call import fail
from ebpf.codec.btf import from_btf
from ebpf.errors import (
    BpfError,
    BpfFileExistsError,
    BpfFileNotFoundError,
    CodecError,
    ElfError,
)
from ebpf.info import MapInfo
from ebpf.maps import Map
from ebpf.maps.limits import check_flags, check_shape
from ebpf.spec import MapSpec, Pinning
from ebpf.types import MapFlags, MapType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ebpf.btf import Btf
    from ebpf.codec import Codec

_RINGS = (MapType.RINGBUF, MapType.USER_RINGBUF)
_MAPS_OF_MAPS = (MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS)

# iproute2's pinning for all objects, in a directory that tc and others look into.
_PIN_GLOBAL_NS = 2

# The highest power of two that max_entries can be; what is above stays as it is written.
_LARGEST_RING = 1 << 31

# How often a pinned map is looked for while others pin and unpin it.
_PIN_ATTEMPTS = 16

# struct bpf_insn_array_value of uapi linux/bpf.h: orig_off, xlated_off, jitted_off.
_INSN_ARRAY_VALUE = struct.Struct("=III4x")

# The kernel takes no BTF for these, except for what CREATE needs (libbpf: bpf_object__create_map).
_WITHOUT_BTF = frozenset(
    {
        MapType.PERF_EVENT_ARRAY,
        MapType.CGROUP_ARRAY,
        MapType.STACK_TRACE,
        MapType.ARRAY_OF_MAPS,
        MapType.HASH_OF_MAPS,
        MapType.DEVMAP,
        MapType.DEVMAP_HASH,
        MapType.CPUMAP,
        MapType.XSKMAP,
        MapType.SOCKMAP,
        MapType.SOCKHASH,
        *_RINGS,
    }
)
# These have nothing without it.
_NEED_BTF = frozenset(
    {
        MapType.SK_STORAGE,
        MapType.INODE_STORAGE,
        MapType.TASK_STORAGE,
        MapType.CGRP_STORAGE,
    }
)


def adjusted_entries(spec: MapSpec) -> int:
    """max_entries as the kernel takes it: rings in powers of two of pages, CPUs counted."""
    if spec.type in _RINGS and 0 < spec.max_entries <= _LARGEST_RING:
        page = mmap.PAGESIZE
        pages = -(-spec.max_entries // page)
        return page * (1 << (pages - 1).bit_length())
    if spec.type == MapType.PERF_EVENT_ARRAY and not spec.max_entries:
        return facts.possible_cpu_numbers()[-1] + 1
    return spec.max_entries


def check_definition(name: str, spec: MapSpec) -> None:
    """Raises ElfError for what no kernel takes of the map that is `name` in the Spec.

    The kernel has one EINVAL for all of it. A type that this library does not know is the
    kernel's to judge.
    """
    _check_part(f"map {name!r}", f"spec.maps[{name!r}]", spec)
    if spec.inner is not None:
        _check_part(f"inner map of {name!r}", f"spec.maps[{name!r}].inner", spec.inner)


def create_map(
    spec: MapSpec, btf: Btf | None, btf_fd: int, pin_root: str
) -> tuple[Map[Any, Any], bool]:
    """The map that `spec` describes: created (True), or the one that is pinned under its name.

    Keys and values have the C types that `btf` says, and are raw bytes where it says none or one
    that `ebpf.codec.from_btf` does not convert.

    Raises what `ebpf.Map.create` raises, and BpfError when a map that is pinned already is
    another than this one.
    """
    path = pin_path(spec, pin_root)
    if path is None:
        return _make(spec, btf, btf_fd), True
    for _ in range(_PIN_ATTEMPTS):
        # Another process may pin or unpin the map behind this look.
        if os.path.lexists(path):
            try:
                return _reuse(spec, btf, path), False
            except BpfFileNotFoundError:
                continue
        try:
            return _make_pinned(spec, btf, btf_fd, path), True
        except BpfFileExistsError:
            continue
    raise BpfError(
        errno.EAGAIN,
        f"pin the map {spec.name!r}: {path} appeared and vanished {_PIN_ATTEMPTS} times; other"
        " processes load and unpin the same map, let them end first",
    )


def _make(spec: MapSpec, btf: Btf | None, btf_fd: int) -> Map[Any, Any]:
    key, value = _codecs(spec, btf)
    records = _record_codec(spec, btf)
    fd = _create(spec, btf_fd)
    made = new_map(fd, spec, spec.value_size, key, value)
    made.record_codec = records
    return made


def new_map(
    fd: int, spec: MapSpec, value_size: int, key: Codec[Any] | None, value: Codec[Any] | None
) -> Map[Any, Any]:
    """The map that was created as `fd`; the kernel is not asked for what it was just told."""
    ring = spec.type in _RINGS
    info = MapInfo(
        type=spec.type,
        name=spec.name,
        key_size=0 if ring else spec.key_size,
        value_size=0 if ring else value_size,
        max_entries=adjusted_entries(spec),
        flags=MapFlags(spec.flags),
        # The codecs of its types are given, as far as it has any.
        btf_id=0,
        btf_key_type_id=0,
        btf_value_type_id=0,
    )
    made: Map[Any, Any] = Map._described(fd, info, f"map {spec.name!r}", key, value)
    return made


def _make_pinned(spec: MapSpec, btf: Btf | None, btf_fd: int, path: str) -> Map[Any, Any]:
    made = _make(spec, btf, btf_fd)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        made.pin(path)
    except BaseException:
        made.close()
        raise
    return made


def _create(spec: MapSpec, btf_fd: int) -> int:
    inner_fd = _create(spec.inner, btf_fd) if spec.inner is not None else 0
    if spec.type in _MAPS_OF_MAPS and not inner_fd:
        raise BpfError(
            errno.EINVAL,
            f"create the map {spec.name!r}: the object does not say what its inner maps are like;"
            " set inner on its spec",
        )
    try:
        return _create_with(spec, btf_fd, inner_fd)
    finally:
        if inner_fd:
            os.close(inner_fd)


def _create_with(spec: MapSpec, btf_fd: int, inner_fd: int) -> int:
    flags = MapFlags(spec.flags)
    request: dict[str, Any] = {
        "map_type": spec.type,
        # A ring has neither; what its source calls the value are its records.
        "key_size": 0 if spec.type in _RINGS else spec.key_size,
        "value_size": 0 if spec.type in _RINGS else spec.value_size,
        "max_entries": adjusted_entries(spec),
        "map_flags": flags,
        "inner_map_fd": inner_fd,
        # Heeded with the flag NUMA_NODE only, which the source sets as it does with libbpf.
        "numa_node": spec.numa_node,
        "map_name": spec.kernel_name.encode("utf-8", "surrogateescape"),
        "map_extra": spec.map_extra,
    }
    action = f"create the {spec.type.name} map {spec.name!r}"
    needs = max(filter(None, (spec.type.since, flags.since)), default=None)
    typed = btf_fd and (spec.key_type_id or spec.value_type_id) and spec.type not in _WITHOUT_BTF
    if typed:
        result = bpf.map_create_unchecked(
            **request,
            btf_fd=btf_fd,
            btf_key_type_id=spec.key_type_id,
            btf_value_type_id=spec.value_type_id,
        )
        # A kernel that takes no BTF for this map refuses it with EINVAL or ENOTSUPP, and the map
        # works without. The storage types don't, and a refusal for another reason comes again.
        if result >= 0:
            return result
        if spec.type in _NEED_BTF:
            fail(-result, action)
    return bpf.map_create(action, needs, **request)


def _check_part(what: str, place: str, spec: MapSpec) -> None:
    if spec.type.since is None:
        return
    # A ring has neither; what its source calls the value are its records.
    sizes = (0, 0) if spec.type in _RINGS else (spec.key_size, spec.value_size)
    try:
        check_numbers(32, key_size=spec.key_size, value_size=spec.value_size)
        check_numbers(32, numa_node=spec.numa_node)
        check_numbers(64, map_extra=spec.map_extra)
        check_shape(spec.type, *sizes, adjusted_entries(spec))
        check_flags(spec.type, spec.flags)
    except ValueError as error:
        raise ElfError(f"{what}: {error}; mend its definition in the source, or {place}") from None


def create_jump_table(slots: tuple[int, ...]) -> int:
    """A descriptor of a frozen INSN_ARRAY map (Linux 6.19) of these slots of a program."""
    fd = bpf.map_create(
        "create the map of a jump table",
        MapType.INSN_ARRAY.since,
        map_type=MapType.INSN_ARRAY,
        key_size=4,
        value_size=_INSN_ARRAY_VALUE.size,
        max_entries=len(slots),
        map_name=b".jumptables",
    )
    try:
        for index, slot in enumerate(slots):
            value = _INSN_ARRAY_VALUE.pack(slot, 0, 0)
            bpf.map_update_elem(fd, index.to_bytes(4, sys.byteorder), value)
        bpf.map_freeze(fd)
    except BaseException:
        os.close(fd)
        raise
    return fd


def pin_path(spec: MapSpec, pin_root: str) -> str | None:
    """Where the map is to be pinned, None for one that is not. Raises BpfError."""
    if spec.pin_path is not None:
        return spec.pin_path
    if spec.pinning == Pinning.BY_NAME:
        return os.path.join(pin_root, spec.name)
    if spec.iproute2 is None or not spec.iproute2.pinning:
        return None
    if spec.iproute2.pinning == _PIN_GLOBAL_NS:
        return os.path.join(pin_root, "tc", "globals", spec.name)
    raise BpfError(
        errno.EINVAL,
        f"pin the map {spec.name!r}: iproute2's directory for pinning {spec.iproute2.pinning} is"
        " not known; set pin_path on the map's spec",
    )


def _record_codec(spec: MapSpec, btf: Btf | None) -> Codec[Any] | None:
    """What the records of a ring are, where the source says so in place of its value."""
    if btf is None or spec.type != MapType.RINGBUF:
        return None
    return _codec(btf, spec.value_type_id)


def _codecs(spec: MapSpec, btf: Btf | None) -> tuple[Codec[Any] | None, Codec[Any] | None]:
    if btf is None or spec.data or spec.type in _WITHOUT_BTF:
        return None, None
    return _codec(btf, spec.key_type_id), _codec(btf, spec.value_type_id)


def _codec(btf: Btf, type_id: int) -> Codec[Any] | None:
    """None where there is no type, and for one that is too large, or odd, to be converted.

    A program may use it, and the kernel take it, all the same: raw bytes it is then.
    """
    try:
        return from_btf(btf, type_id) if type_id else None
    except CodecError:
        return None


def _reuse(spec: MapSpec, btf: Btf | None, path: str) -> Map[Any, Any]:
    """The map that is pinned at `path`, which has to be the one that the object means."""
    key, value = _codecs(spec, btf)
    records = _record_codec(spec, btf)
    pinned: Map[Any, Any] = Map.open(path, key=key, value=value)
    pinned.record_codec = records
    try:
        check_compatible(spec, pinned.info(), f"the map pinned at {path}")
    except BaseException:
        pinned.close()
        raise
    return pinned


def check_compatible(spec: MapSpec, info: MapInfo, what: str) -> None:
    """Raises BpfError when the map that `info` describes cannot stand for `spec`."""
    wanted = {
        "type": spec.type,
        # A ring has neither; what its source calls the value are its records.
        "key_size": 0 if spec.type in _RINGS else spec.key_size,
        "value_size": 0 if spec.type in _RINGS else spec.value_size,
        "max_entries": adjusted_entries(spec),
        "flags": MapFlags(spec.flags),
        "map_extra": spec.map_extra,
    }
    # The kernel adds flags of its own to some types.
    ignored = MapFlags.RDONLY_PROG if spec.type in (MapType.DEVMAP, MapType.DEVMAP_HASH) else 0
    for name, value in wanted.items():
        found = getattr(info, name)
        if name == "flags":
            found &= ~ignored
            value &= ~ignored
        if found != value:
            raise BpfError(
                errno.EINVAL,
                f"{what} cannot be used for the map {spec.name!r}: its {name} is {found},"
                f" the object has {value}",
            )
