"""What a map that exists already is like, and the codecs for it."""

from __future__ import annotations

from ebpf._sys import bpf, facts
from ebpf.codec import Codec, codec
from ebpf.errors import BpfPermissionError, CodecError
from ebpf.info import MapInfo
from ebpf.maps.objects import value_format
from ebpf.types import MapFlags, MapType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Codecs = tuple[Codec[Any] | None, Codec[Any] | None]


def map_info(fd: int) -> MapInfo:
    """What the kernel reports of the map `fd`."""
    raw = bpf.obj_get_info_by_fd(fd, "map")
    fdinfo = facts.fdinfo(fd)
    return MapInfo(
        type=MapType(raw["type"]),
        id=raw["id"],
        name=raw["name"].decode("ascii", "replace"),
        key_size=raw["key_size"],
        value_size=raw["value_size"],
        max_entries=raw["max_entries"],
        flags=MapFlags(raw["map_flags"]),
        ifindex=raw["ifindex"],
        btf_id=raw["btf_id"],
        btf_key_type_id=raw["btf_key_type_id"],
        btf_value_type_id=raw["btf_value_type_id"],
        map_extra=raw["map_extra"],
        frozen=fdinfo.get("frozen") == "1",
        memlock=int(fdinfo["memlock"]),
    )


def fitting_codecs(
    info: MapInfo, what: str, given: tuple[object, object], default: tuple[object, object]
) -> Codecs:
    """The codecs for the keys and values of a map.

    What was given must fit; then comes what the class decides, then the types that the map's BTF
    has, then what the map's type decides, then raw bytes.
    """
    key = _chosen(given[0], default[0], info.key_size, f"key of the {what}")
    value = _chosen(given[1], default[1], info.value_size, f"value of the {what}")
    ids = (0 if key else info.btf_key_type_id, 0 if value else info.btf_value_type_id)
    if info.btf_id and any(ids):
        typed = _typed(info, what, ids)
        key, value = key or typed[0], value or typed[1]
    value = value or _optional(value_format(info.type, info.value_size))
    return key or _raw(info.key_size), value or _raw(info.value_size)


def _chosen(given: object, default: object, size: int, what: str) -> Codec[Any] | None:
    if given is not None:
        made: Codec[Any] = codec(given)
        if made.size != size:
            raise CodecError(f"{what} has {size} bytes, but {made!r} takes {made.size}")
        return made
    if size and default is not None and codec(default).size == size:
        return codec(default)
    return None


def _optional(format: str | None) -> Codec[Any] | None:
    return None if format is None else codec(format)


def _raw(size: int) -> Codec[Any] | None:
    return codec(size) if size else None


def _typed(info: MapInfo, what: str, ids: tuple[int, int]) -> Codecs:
    """The codecs that the map's BTF describes, None where it has no type or one without values."""
    from ebpf.codec.btf import from_btf
    from ebpf.kernel_btf import loaded_btf

    try:
        btf = loaded_btf(info.btf_id)
    except BpfPermissionError as error:
        raise BpfPermissionError(
            error.errno or 0,
            f"read the BTF of the {what}: {error.strerror}; key= and value= spare reading it",
        ) from None
    found: list[Codec[Any] | None] = []
    for type_id, size in zip(ids, (info.key_size, info.value_size), strict=True):
        try:
            made = from_btf(btf, type_id) if type_id else None
        except CodecError:
            # Global data as a whole (.bss), or more parts than anyone would convert.
            made = None
        found.append(made if made is not None and made.size == size else None)
    return found[0], found[1]
