"""C types as annotations of dataclass fields, clean under ``mypy --strict``.

A module of its own because typing takes 12 ms to import; ``ebpf.codec`` hands these names out
on first use.

    from ebpf.codec import Array, Char, u32, u64

    @dataclass
    class Event:
        pid: u32
        comm: Annotated[str, Char(16)]
        stack: Annotated[list[int], Array(u64, 8)]
"""

from __future__ import annotations

from typing import Annotated

from ebpf.codec.markers import CType

u8 = Annotated[int, CType("B")]
u16 = Annotated[int, CType("H")]
u32 = Annotated[int, CType("I")]
u64 = Annotated[int, CType("Q")]
s8 = Annotated[int, CType("b")]
s16 = Annotated[int, CType("h")]
s32 = Annotated[int, CType("i")]
s64 = Annotated[int, CType("q")]
f32 = Annotated[float, CType("f")]
f64 = Annotated[float, CType("d")]
# Network byte order: __be16, __be32, __be64 of <linux/types.h>.
be16 = Annotated[int, CType(">H")]
be32 = Annotated[int, CType(">I")]
be64 = Annotated[int, CType(">Q")]
