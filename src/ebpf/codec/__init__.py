"""Codecs: how keys, values and records of maps look in memory.

:func:`codec` makes one from what a user writes as ``key=``, ``value=`` or ``codec=``; the
annotations ``u8`` .. ``u64``, ``s8`` .. ``s64``, ``f32``, ``f64``, ``be16`` .. ``be64`` and
:class:`Char`, :class:`Raw`, :class:`Array`, :class:`Pad` and :class:`CType` give the fields of a
dataclass their C types; :class:`PerCpu` is for the values of per-CPU maps.

    base         Codec: size, pack, unpack, iter_unpack, offsetof
    layout       C layouts as trees, flattened into one struct.Struct: the leaves
    composites   arrays, structs and tuples of them
    structs      codecs over a layout
    formats      struct format strings to layouts
    markers      Char, Array, ...: what stands in Annotated[...]
    scalars      u32 and its like (imports typing: only on use)
    records      dataclasses to layouts (imports dataclasses and typing: only on use)
    foreign      raw bytes, objects with pack and unpack, ctypes, numpy
    networks     addresses and networks of ipaddress (only on use)
    percpu       PerCpu, CpuValues
    btf          from_btf: the types of a kernel or an object (imports ebpf.btf: only on use)
    to_btf       BTF for the types of a codec (imports ebpf.btf: only on use)
    dtypes       dtype_of: numpy's view of a codec (imports numpy: only on use)
    btf_nodes    Record, EnumValue: what those are in Python
"""

from __future__ import annotations

import struct

from ebpf.codec.base import Codec, plural
from ebpf.codec.foreign import (
    CtypesCodec,
    NumpyCodec,
    ObjectCodec,
    RawCodec,
    checked,
    is_ctypes,
    is_numpy,
)
from ebpf.codec.formats import from_format
from ebpf.codec.markers import Array, Char, CType, Marker, Pad, Raw
from ebpf.codec.percpu import CpuValues, PerCpu
from ebpf.errors import CodecError
from ebpf.generic import overload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    from ebpf.codec.btf import from_btf
    from ebpf.codec.dtypes import dtype_of
    from ebpf.codec.scalars import (
        be16,
        be32,
        be64,
        f32,
        f64,
        s8,
        s16,
        s32,
        s64,
        u8,
        u16,
        u32,
        u64,
    )

    T = TypeVar("T")

__all__ = [
    "Array",
    "CType",
    "Char",
    "Codec",
    "CpuValues",
    "Pad",
    "PerCpu",
    "Raw",
    "be16",
    "be32",
    "be64",
    "codec",
    "dtype_of",
    "f32",
    "f64",
    "from_btf",
    "s8",
    "s16",
    "s32",
    "s64",
    "u8",
    "u16",
    "u32",
    "u64",
]


@overload
def codec(spec: Codec[T], size: int | None = None, *, packed: bool = False) -> Codec[T]: ...
@overload
def codec(spec: int, size: int | None = None, *, packed: bool = False) -> Codec[bytes]: ...
@overload
def codec(spec: type[T], size: int | None = None, *, packed: bool = False) -> Codec[T]: ...
@overload
def codec(spec: object, size: int | None = None, *, packed: bool = False) -> Codec[Any]: ...
def codec(spec: Any, size: int | None = None, *, packed: bool = False) -> Codec[Any]:
    """The codec that `spec` stands for.

    Args:
        spec: one of

            * a :mod:`struct` format string. Without a prefix (or with ``"@"``) it is read as the
              declaration of a C struct: native byte order, each value aligned to its size, *and
              the end padded to the widest alignment as sizeof does*, which the struct module
              leaves out. ``"QI"`` has 16 bytes, as ``struct { u64 a; u32 b; }``. With ``"="``,
              ``"<"``, ``">"`` or ``"!"`` it means what it means to the struct module: that
              order, no padding. Sizes are those of BPF programs: ``"l"`` and ``"P"`` have 8
              bytes. One value is given and taken as it is, several as a tuple. ``"16s"`` takes
              up to 16 bytes and gives all 16 back.
            * ``bytes``, with `size`; or an int: raw bytes of exactly that size.
            * a dataclass whose fields have C types (``pid: u32``), laid out as a C compiler
              does; :meth:`Codec.offsetof` tells where each field is. What a map gives is a copy:
              with ``frozen=True`` a change of it, which the map would not see, is refused.
            * such a C type itself: ``u32``, ``Annotated[str, Char(16)]``, ``Array(u64, 8)``,
              ``bool``.
            * a :class:`struct.Struct`, exactly as it is.
            * IPv4Address, IPv6Address (the bytes in network order), IPv4Network, IPv6Network (the
              key of an LPM_TRIE) of :mod:`ipaddress`.
            * a ctypes Structure or Union class, a numpy dtype.
            * an object with ``pack(value) -> bytes``, ``unpack(bytes) -> value`` and ``size``.
            * a :class:`Codec`: one of this package is given back as it is, one of a class of yours
              in a codec that checks the sizes of what it packs.
        size: bytes that the kernel has for it. Needed for ``bytes``; otherwise checked.
        packed: lay a dataclass out as ``__attribute__((packed))`` does: no padding between or
            behind its fields. Dataclasses inside of it keep their own layout, as in C.

    Raises:
        CodecError: `spec` describes no layout, or one of another size than `size`.
        TypeError: `spec` is nothing of the above.
    """
    if packed and not _is_dataclass(spec):
        raise CodecError(f"packed goes with a dataclass, not with {spec!r}")
    if size is not None:
        _check_size("size", size)
    made = _make(spec, size, packed)
    if size is not None and made.size != size:
        raise CodecError(f"size is {size} {plural(size)}, but {made._takes()}")
    return made


def _make(spec: Any, size: int | None, packed: bool) -> Codec[Any]:
    if isinstance(spec, Codec):
        _check_size("codec.size", spec.size)
        return checked(spec)
    if isinstance(spec, str):
        return from_format(spec)
    if spec is bytes:
        if size is None:
            raise CodecError("bytes alone has no size; give it (key_size, value_size), or an int")
        return RawCodec(size)
    if isinstance(spec, int) and not isinstance(spec, bool):
        return RawCodec(_check_size("codec", spec))
    if isinstance(spec, struct.Struct):
        return _from_struct(spec)
    if _is_dataclass(spec):
        from ebpf.codec.records import from_dataclass

        return from_dataclass(spec, packed=packed)
    return _make_other(spec)


def _make_other(spec: Any) -> Codec[Any]:
    if is_ctypes(spec):
        return CtypesCodec(spec)
    if is_numpy(spec):
        return NumpyCodec(spec)
    if isinstance(spec, type) and spec.__module__ == "ipaddress":
        from ebpf.codec.networks import from_ipaddress

        return from_ipaddress(spec)
    plain = spec in (bool, int, float, str) if isinstance(spec, type) else False
    if plain or isinstance(spec, Marker) or hasattr(spec, "__metadata__"):
        from ebpf.codec.records import from_annotation

        return from_annotation(spec)
    if hasattr(spec, "pack") and hasattr(spec, "unpack"):
        if not hasattr(spec, "size"):
            raise CodecError(f"{spec!r} has pack and unpack, but no size (in bytes)")
        return ObjectCodec(spec, _check_size("codec.size", spec.size))
    raise TypeError(
        f"{spec!r} is no codec: use a struct format such as 'I', bytes with a size, a dataclass "
        "with fields such as u32, or an object with pack, unpack and size"
    )


def _from_struct(spec: struct.Struct) -> Codec[Any]:
    made = from_format(spec.format, trailing=False)
    if made.size != spec.size:
        raise CodecError(
            f"{spec.format!r} has {spec.size} bytes on this machine, but {made.size} in a BPF "
            "program; use a byte order prefix and explicit padding"
        )
    return made


def _check_size(name: str, size: Any) -> int:
    if not isinstance(size, int) or isinstance(size, bool):
        raise TypeError(f"{name}: {size!r} is not an int")
    if size < 1:
        raise CodecError(f"{name}: {size} bytes, but must be at least 1")
    return size


def _is_dataclass(spec: object) -> bool:
    return isinstance(spec, type) and hasattr(spec, "__dataclass_fields__")


def __getattr__(name: str) -> Any:
    # u32 and its like need typing, which takes longer to import than the rest of this package.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: Any
    if name == "from_btf":
        from ebpf.codec.btf import from_btf

        value = from_btf
    elif name == "dtype_of":
        from ebpf.codec.dtypes import dtype_of

        value = dtype_of
    else:
        from ebpf.codec import scalars

        value = getattr(scalars, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
