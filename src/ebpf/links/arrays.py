"""Arrays that the kernel reads when a link to many places is created."""

from __future__ import annotations

from array import array

from ebpf._sys import ffi, perf
from ebpf._sys.arguments import c_string, check_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    Cookies = Sequence[int] | Mapping[str, int] | None


class Arrays:
    """Keeps what it has made addresses of, for as long as it lives."""

    def __init__(self) -> None:
        self._kept: list[Any] = []

    def numbers(self, values: Iterable[int], code: str = "Q") -> int:
        """The address of an array of u64, or of u32 by the `code` "I"."""
        buffer = ffi.from_buffer(array(code, values))
        self._kept.append(buffer)
        return perf.address(buffer)

    def texts(self, name: str, values: Iterable[str]) -> int:
        """The address of an array of the addresses of texts; `name` is for errors."""
        texts = [perf.text(c_string(name, value)) for value in values]
        self._kept += texts
        return self.numbers(perf.address(text) for text in texts)

    def text(self, value: bytes) -> int:
        """The address of one text."""
        self._kept.append(perf.text(value))
        return perf.address(self._kept[-1])


def cookie_list(cookies: Cookies, names: Sequence[str], count: int) -> list[int]:
    """A cookie for each of `count` places, or none at all; `names` are the places' names.

    Raises:
        TypeError, ValueError: cookies that do not fit the places.
    """
    if cookies is None:
        return []
    if hasattr(cookies, "keys"):
        by_name: Any = cookies
        unknown = set(by_name) - set(names)
        if unknown:
            raise ValueError(f"cookies: {min(unknown)!r} is none of the symbols")
        numbers = [by_name.get(name, 0) for name in names]
    else:
        numbers = [*cookies]
        if len(numbers) != count:
            raise ValueError(f"cookies: {len(numbers)} for {count} places")
    for number in numbers:
        check_number("cookies", number, 64)
    return numbers
