"""Changes inputs where it matters: a field's number, a repeated part, a cut, any byte.

Every choice comes from the `random` that is handed in, so that an input can be made again and
hypothesis can look for a simpler one.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import lru_cache
from random import Random
from typing import Literal

from tests.fuzz.fields import Field, btf_fields, ext_fields, object_fields
from tests.fuzz.structure import (
    REL,
    REL_SIZE,
    SYMBOL_SIZE,
    SYMTAB,
    BtfFile,
    ObjectFile,
    pack_parts,
    unpack_parts,
)

Mutator = Callable[[bytes, Random], bytes]

MAXIMUM_SIZE = 1 << 16
_NUMBERS = [0, 1, 2, 3, 4, 7, 8, 12, 16, 24, 31, 32, 33, 63, 64, 0x7F, 0x80, 0xFF, 0x100]
_NUMBERS += [0x7FFF, 0xFF00, 0xFFF1, 0xFFFF, 0xFFFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF8]
_NUMBERS += [0xFFFFFFFF, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 8, (1 << 64) - 1]
_REPEATS = [1, 2, 3, 10, 40, 300, 2000]


def mutate(target: str, data: bytes, random: Random) -> bytes:
    """`data` of a target changed in one to six places."""
    change = MUTATORS[target]
    for _ in range(random.choice([1, 1, 1, 2, 3, 6])):
        data = change(data, random)
    return data[:MAXIMUM_SIZE]


def _mutate_object(data: bytes, random: Random) -> bytes:
    how = random.randrange(12)
    if how == 0:
        return _any_bytes(data, random)
    if how < 4:
        return _grow_object(data, random)
    return _change_field(data, _object_fields(data), _order(data, 5, 1), random)


def _mutate_btf(data: bytes, random: Random) -> bytes:
    how = random.randrange(12)
    if how == 0:
        return _any_bytes(data, random)
    if how < 4:
        return _grow_btf(data, random)
    return _change_field(data, _btf_fields(data), _order(data, 0, 0x9F), random)


def _mutate_ext(data: bytes, random: Random) -> bytes:
    if random.randrange(12) == 0:
        return _any_bytes(data, random)
    if random.randrange(6) == 0:
        return _grow_ext(data, random)
    return _change_field(data, _ext_fields(data), _order(data, 0, 0x9F), random)


def _of_parts(*mutators: Mutator) -> Mutator:
    """Changes one part of several, more often the first."""

    def change(data: bytes, random: Random) -> bytes:
        parts = unpack_parts(data, len(mutators))
        if parts is None:
            return _any_bytes(data, random)
        number = min(random.randrange(len(parts) + 1), random.randrange(len(parts)))
        parts[number] = mutators[number](parts[number], random)
        return pack_parts(*parts)

    return change


MUTATORS: dict[str, Mutator] = {
    "elf": _mutate_object,
    "btf": _mutate_btf,
    "btf_ext": _of_parts(_mutate_ext, _mutate_btf),
    "core": _of_parts(_mutate_object, _mutate_btf),
    "linker": _of_parts(_mutate_object, _mutate_object),
    "image": _mutate_object,
}


def _order(data: bytes, place: int, little: int) -> str:
    return "<" if data[place : place + 1] == bytes([little]) else ">"


# Grouping the fields of a file takes longer than changing one.
Groups = dict[str, list[Field]]


@lru_cache(64)
def _object_fields(data: bytes) -> Groups:
    return _grouped(object_fields(data))


@lru_cache(64)
def _btf_fields(data: bytes) -> Groups:
    return _grouped(btf_fields(data))


@lru_cache(64)
def _ext_fields(data: bytes) -> Groups:
    return _grouped(ext_fields(data))


def _grouped(fields: Iterator[Field]) -> Groups:
    groups: Groups = {}
    for field in fields:
        groups.setdefault(field.tag, []).append(field)
    return groups


def _change_field(data: bytes, groups: Groups, order: str, random: Random) -> bytes:
    """Another number in a field; fields are chosen by tag, as there are more of some."""
    if not groups:
        return _any_bytes(data, random)
    tag = random.choice(list(groups))
    field = random.choice(groups[tag])
    raw = data[field.offset : field.offset + field.width]
    if len(raw) < field.width:
        return _any_bytes(data, random)
    byte_order: Literal["little", "big"] = "little" if order == "<" else "big"
    old = int.from_bytes(raw, byte_order)
    how = random.randrange(7)
    if how == 0:
        number = random.choice(_NUMBERS)
    elif how == 1:
        number = old + random.choice([-8, -1, 1, 8])
    elif how == 2:
        number = old ^ 1 << random.randrange(8 * field.width)
    elif how == 3:
        number = random.randrange(len(data) + 1)
    else:
        other = random.choice(groups[tag])
        number = int.from_bytes(data[other.offset : other.offset + other.width], byte_order)
    number &= (1 << 8 * field.width) - 1
    return (
        data[: field.offset]
        + number.to_bytes(field.width, byte_order)
        + data[field.offset + field.width :]
    )


def _any_bytes(data: bytes, random: Random) -> bytes:
    """Some bytes changed, cut out or put in without knowing what they are."""
    at = random.randrange(len(data) + 1)
    length = random.choice([1, 2, 4, 8, 64])
    how = random.randrange(4)
    if how == 0:
        return data[:at]
    if how == 1:
        return data[:at] + data[at + length :]
    middle = bytes(random.randrange(256) for _ in range(length))
    return data[:at] + middle + data[at + (length if how == 2 else 0) :]


def _grow_object(data: bytes, random: Random) -> bytes:
    """One part of a section repeated, or a section taken away."""
    parsed = ObjectFile.parse(data)
    filled = [part for part in parsed.sections if part.data] if parsed else []
    if parsed is None or not filled:
        return _any_bytes(data, random)
    part = random.choice(filled)
    if random.randrange(10) == 0:
        part.header["type"] = 0
        part.data.clear()
    elif part.name == ".BTF":
        part.data[:] = _grow_btf(bytes(part.data), random)
    elif part.name == ".BTF.ext":
        part.data[:] = _grow_ext(bytes(part.data), random)
    else:
        size = {SYMTAB: SYMBOL_SIZE, REL: REL_SIZE}.get(part.header["type"], 8)
        part.data[:] = _repeated(part.data, size, random)
    return parsed.build()


def _repeated(data: bytes | bytearray, size: int, random: Random) -> bytes:
    """`data`, one of its pieces of `size` bytes many times more, there or at the end."""
    at = random.randrange(max(len(data) // size, 1)) * size
    where = random.choice([at, len(data)])
    return bytes(data[:where] + data[at : at + size] * _times(size, random) + data[where:])


def _times(size: int, random: Random) -> int:
    return min(random.choice(_REPEATS), MAXIMUM_SIZE // 2 // max(size, 1))


def _grow_btf(data: bytes, random: Random) -> bytes:
    parsed = BtfFile.parse(data)
    if parsed is None:
        return _any_bytes(data, random)
    how = random.randrange(4)
    if how == 0:
        _repeat_elements(parsed, random)
    elif how == 1:
        _nest(parsed, random)
    elif how == 2:
        parsed.strings += bytes([random.randrange(32, 127)]) * random.choice(_REPEATS) + b"\0"
    else:
        chosen = random.choice(parsed.types)
        parsed.types += [bytearray(chosen) for _ in range(_times(len(chosen), random))]
    return parsed.build()


def _repeat_elements(parsed: BtfFile, random: Random) -> None:
    """More members, parameters, enumerators or variables in one type."""
    chosen = random.choice(parsed.types)
    (info,) = struct.unpack_from(parsed.order + "I", chosen, 4)
    count = info & 0xFFFFFF
    size = (len(chosen) - 12) // count if count else 0
    if size < 8:
        return
    times = _times(size, random)
    at = 12 + random.randrange(count) * size
    chosen[at:at] = chosen[at : at + size] * times
    struct.pack_into(parsed.order + "I", chosen, 4, info + times)


def _nest(parsed: BtfFile, random: Random) -> None:
    """Copies of one type of which each refers to the one before, as often as it refers at all."""
    number = random.randrange(len(parsed.types))
    model = parsed.types[number]
    fields = btf_fields(BtfFile(parsed.order, parsed.header, [model], parsed.strings).build())
    places = [field.offset - 24 for field in fields if field.tag == "type"]
    before = random.randrange(len(parsed.types) + 1)
    for _ in range(min(_times(len(model), random), 300)):
        made = bytearray(model)
        for place in places:
            struct.pack_into(parsed.order + "I", made, place, before)
        parsed.types.append(made)
        before = len(parsed.types)


def _grow_ext(data: bytes, random: Random) -> bytes:
    """More records in one part of .BTF.ext, which is moved to the end of the data."""
    order = _order(data, 0, 0x9F)
    if len(data) < 32:
        return _any_bytes(data, random)
    length, *places = struct.unpack_from(order + "7I", data, 4)
    number = random.randrange(3)
    start, size = places[2 * number : 2 * number + 2]
    part = bytearray(data[length + start : length + start + size])
    if len(part) < 20:
        return _any_bytes(data, random)
    each, _, count = struct.unpack_from(order + "3I", part)
    if not 0 < each <= len(part) - 12:
        return _any_bytes(data, random)
    times = _times(each, random)
    part[12:12] = part[12 : 12 + each] * times
    struct.pack_into(order + "I", part, 8, (count + times) & 0xFFFFFFFF)
    head = bytearray(data)
    struct.pack_into(order + "II", head, 8 + 8 * number, len(data) - length & 0xFFFFFFFF, len(part))
    return bytes(head + part)
