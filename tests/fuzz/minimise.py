"""A smaller input with the same verdict: parts are taken out as long as that does not change."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from tests.fuzz.structure import BtfFile, ObjectFile, pack_parts, unpack_parts

Broken = Callable[[bytes], bool]


def minimise(data: bytes, broken: Broken, seconds: float) -> bytes:
    """The smallest input that is found in so many seconds for which `broken` is true."""
    end = time.monotonic() + seconds
    changed = True
    while changed:
        changed = False
        for smaller in _smaller(data):
            if time.monotonic() > end:
                return data
            if len(smaller) < len(data) and broken(smaller):
                data, changed = smaller, True
                break
    return data


def _smaller(data: bytes) -> Iterator[bytes]:
    parts = next((found for n in (2, 3) if (found := unpack_parts(data, n))), None)
    if parts is not None:
        for number, part in enumerate(parts):
            for smaller in _smaller(part):
                yield pack_parts(*parts[:number], smaller, *parts[number + 1 :])
        return
    yield from _without_sections(data)
    yield from _without_types(data)
    yield from _without_bytes(data)


def _without_sections(data: bytes) -> Iterator[bytes]:
    """Sections emptied, and the BTF in them made smaller."""
    parsed = ObjectFile.parse(data)
    for number in range(len(parsed.sections) if parsed else 0):
        made = ObjectFile.parse(data)
        assert made is not None
        part = made.sections[number]
        if not part.data:
            continue
        whole = bytes(part.data)
        part.data.clear()
        yield made.build()
        if part.name == ".BTF":
            for smaller in _without_types(whole):
                part.data[:] = smaller
                yield made.build()
        elif len(whole) > 16:
            for half in (whole[: len(whole) // 16 * 8], whole[len(whole) // 16 * 8 :]):
                part.data[:] = half
                yield made.build()


def _without_types(data: bytes) -> Iterator[bytes]:
    """The last types taken away, half of them, a quarter, ..., one."""
    parsed = BtfFile.parse(data)
    if parsed is None:
        return
    types = parsed.types
    count = len(types) // 2
    while count:
        parsed.types = types[:-count]
        yield parsed.build()
        count //= 2


def _without_bytes(data: bytes) -> Iterator[bytes]:
    size = len(data) // 2
    while size >= 4:
        for at in range(0, len(data), size):
            yield data[:at] + data[at + size :]
        size //= 2
