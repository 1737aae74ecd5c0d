"""What specs have in common: names for the kernel, and how they show themselves."""

from __future__ import annotations

from enum import Enum

from ebpf.plain import MISSING, fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# BPF_OBJ_NAME_LEN of uapi linux/bpf.h, less the NUL.
KERNEL_NAME_LENGTH = 15


class Shown:
    """Shows a dataclass by its fields that are not at their defaults."""

    __slots__ = ()

    def __repr__(self) -> str:
        parts = []
        for field in fields(self):
            value = getattr(self, field.name)
            default = field.default
            if field.default_factory is not MISSING:
                default = field.default_factory()
            if field.repr and (default is MISSING or value != default):
                parts.append(f"{field.name}={_text(value)}")
        return f"{type(self).__name__}({', '.join(parts)})"


def _text(value: Any) -> str:
    return value.name or str(value) if isinstance(value, Enum) else repr(value)


def shortened(name: str) -> str:
    raw = name.encode("utf-8", "surrogateescape")
    return raw[:KERNEL_NAME_LENGTH].decode("utf-8", "surrogateescape")


def data_name(object_name: str, section: str) -> str:
    """libbpf's name for a map of global data: ``my_objec.rodata`` of ``my_object``.

    Up to 8 bytes of the object's name, less where the section's name is longer than 7; none for
    a section with a second dot, such as ``.data.custom``. What the kernel takes for no name's
    byte becomes ``_``.
    """
    suffix = section.encode("utf-8", "surrogateescape")
    room = KERNEL_NAME_LENGTH - min(max(7, len(suffix)), KERNEL_NAME_LENGTH)
    prefix = b"" if b"." in suffix[1:] else object_name.encode("utf-8", "surrogateescape")[:room]
    allowed = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_."
    whole = (prefix + suffix)[:KERNEL_NAME_LENGTH]
    return bytes(byte if byte in allowed else 0x5F for byte in whole).decode("ascii")
