"""What every codec is: a fixed size, pack, and unpack."""

from __future__ import annotations

from abc import ABC, abstractmethod

from ebpf.errors import CodecError
from ebpf.generic import Generic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import TypeAlias, TypeVar

    T = TypeVar("T")
    Buffer: TypeAlias = bytes | bytearray | memoryview
else:
    T = "T"


class Codec(ABC, Generic[T]):
    """Turns a Python value into the `size` bytes that the kernel sees, and back.

    ``size``    bytes of one packed value
    ``format``  a :mod:`struct` format that describes the same bytes (for several fields with
                all padding spelled out, so that it takes no alignment), or None where none does.
                A format of one letter is native and fit for :meth:`memoryview.cast`.

    Two codecs are equal if they take the same values to the same bytes and back.
    """

    size: int
    format: str | None = None

    def __deepcopy__(self, memo: object) -> Codec[T]:
        """Itself: it never changes."""
        return self

    @abstractmethod
    def pack(self, value: T) -> bytes:
        """`value` as exactly ``size`` bytes, padding zeroed.

        Raises:
            CodecError: the value does not fit; names the field, the C type and its range.
        """

    @abstractmethod
    def unpack(self, buffer: Buffer) -> T:
        """The value in `buffer`, which is exactly ``size`` bytes long.

        Raises:
            CodecError: the buffer has another length; says both.
        """

    def iter_unpack(self, buffer: Buffer) -> Iterable[T]:
        """The values in `buffer`, a run of packed values without gaps, first to last.

        Raises:
            CodecError: the length is no multiple of ``size``; raised by the call itself.
        """
        view = self._records(buffer)
        size = self.size
        return (self.unpack(view[at : at + size]) for at in range(0, len(view), size))

    def pack_many(self, values: Iterable[T]) -> bytes:
        """`values` packed one behind the other, without gaps.

        Raises:
            CodecError: a value does not fit.
        """
        return b"".join(map(self.pack, values))

    @property
    def offsets(self) -> Mapping[str, int]:
        """Byte offset of each named field; empty for a codec without named fields."""
        return {}

    def offsetof(self, path: str) -> int:
        """Byte offset of the field `path`, as C's offsetof: ``"comm"``, ``"a.b"``, ``"a[2].b"``.

        Raises:
            CodecError: no such field; lists those there are.
        """
        try:
            return self.offsets[path]
        except KeyError:
            raise no_such_field(repr(self), path, self.offsets) from None

    @abstractmethod
    def _meaning(self) -> tuple[object, ...]:
        """What equality compares."""

    @abstractmethod
    def __repr__(self) -> str: ...

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Codec):
            return NotImplemented
        return self._meaning() == other._meaning()

    def __hash__(self) -> int:
        return hash(self._meaning())

    def _takes(self) -> str:
        """The codec and its size, for an error message."""
        return f"{self!r} takes {self.size} {plural(self.size)}"

    def _wrong_size(self, buffer: Buffer) -> CodecError:
        got = memoryview(buffer).nbytes
        return CodecError(f"got {got} {plural(got)}, but {self._takes()}")

    def _wrong_run(self, buffer: Buffer) -> CodecError:
        got = memoryview(buffer).nbytes
        return CodecError(f"got {got} {plural(got)}, no whole number of records: {self._takes()}")

    def _records(self, buffer: Buffer) -> memoryview:
        """A view of single bytes, after checking that whole records are in it."""
        view = memoryview(buffer)
        if view.nbytes % self.size:
            raise self._wrong_run(buffer)
        # A view with a zero in its shape cannot be cast, and needs no cast.
        return view.cast("B") if view.nbytes else memoryview(b"")


def plural(count: int) -> str:
    return "byte" if count == 1 else "bytes"


def no_such_field(owner: str, path: str, names: Iterable[str]) -> CodecError:
    there = ", ".join(names) or "none"
    return CodecError(f"{owner} has no field {path!r}; its fields: {there}")
