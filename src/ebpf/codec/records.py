"""Annotations and dataclasses to layouts. Imports dataclasses and typing, so import it late."""

from __future__ import annotations

import dataclasses
import typing
from typing import Annotated, Any

from ebpf.codec.composites import Field, StructOf
from ebpf.codec.layout import Node, Padding, Scalar
from ebpf.codec.markers import Marker
from ebpf.codec.structs import ItemsCodec, ScalarCodec, over
from ebpf.errors import CodecError

_REMEDIES: dict[object, str] = {
    int: "use u8..u64, s8..s64 or be16..be64 of ebpf.codec",
    float: "use f32 or f64 of ebpf.codec",
    bytes: "use Annotated[bytes, Char(n)], Raw(n) or Pad(n)",
    str: "use Annotated[str, Char(n)]",
    list: "use Annotated[list[int], Array(u32, n)]",
    tuple: "use Annotated[tuple[int, ...], Array(u32, n)]",
}


def from_annotation(spec: object) -> ScalarCodec | ItemsCodec:
    """The codec for ``u32``, ``Annotated[str, Char(16)]``, ``Char(16)``, ``bool``."""
    return over(_node(spec, "codec", ()), _label(spec))


def from_dataclass(cls: type, *, packed: bool) -> ItemsCodec:
    """The codec for a dataclass whose fields have C types."""
    label = cls.__qualname__ + (", packed=True" if packed else "")
    return ItemsCodec(_struct(cls, packed, ()), label)


def _node(spec: object, where: str, outer: tuple[type, ...]) -> Node:
    """The layout of one annotation; `outer` are the dataclasses that it is inside of."""

    def resolve(element: object) -> Node:
        return _node(element, where, outer)

    if isinstance(spec, Marker):
        return spec.node(spec.default_type, where, resolve)
    if typing.get_origin(spec) is Annotated:
        python_type, *metadata = typing.get_args(spec)
        markers = [item for item in metadata if isinstance(item, Marker)]
        if len(markers) > 1:
            raise CodecError(f"{where}: two C types for one field: {markers}")
        if markers:
            return markers[0].node(python_type, where, resolve)
        spec = python_type
    if spec is bool:
        return Scalar("?")
    if isinstance(spec, type) and dataclasses.is_dataclass(spec):
        return _struct(spec, False, outer)
    remedy = _REMEDIES.get(typing.get_origin(spec) or spec, "use the types of ebpf.codec")
    raise CodecError(f"{where}: {_label(spec)} has no layout in C; {remedy}")


def _struct(cls: type, packed: bool, outer: tuple[type, ...]) -> StructOf:
    if cls in outer:
        raise CodecError(f"{cls.__qualname__} contains itself")
    hints = _hints(cls)
    fields = [_field(cls, field, hints[field.name], outer) for field in dataclasses.fields(cls)]
    if not fields:
        raise CodecError(f"{cls.__qualname__} has no fields")
    return StructOf(cls, fields, packed=packed)


def _field(
    cls: type, field: dataclasses.Field[Any], hint: object, outer: tuple[type, ...]
) -> Field:
    where = f"{cls.__qualname__}.{field.name}"
    node = _node(hint, where, (*outer, cls))
    has_default = (
        field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
    )
    omitted = isinstance(node, Padding) and (has_default or not field.init)
    if not field.init and not omitted:
        raise CodecError(f"{where}: init=False, so a record that was read could not set it")
    return Field(field.name, node, keyword=field.kw_only is True, omitted=omitted)


def _hints(cls: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except NameError as error:
        raise CodecError(
            f"{cls.__qualname__}: an annotation names {error.name!r}, which is not a global of "
            f"{cls.__module__}. Import or define it there (not inside of a function, and not "
            "under TYPE_CHECKING), or leave out 'from __future__ import annotations'"
        ) from None


def _label(spec: object) -> str:
    if isinstance(spec, type) and not typing.get_args(spec):
        return spec.__qualname__
    return repr(spec).replace("typing.", "")
