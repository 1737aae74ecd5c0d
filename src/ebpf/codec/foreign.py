"""Codecs around what others define: raw bytes, objects with pack and unpack, ctypes, numpy.

None of those modules is imported unless the user has brought an object of theirs.
"""

from __future__ import annotations

from ebpf.codec.base import Codec, plural
from ebpf.codec.layout import shown
from ebpf.errors import CodecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from ebpf.codec.base import Buffer, T


class RawCodec(Codec[bytes]):
    """Exactly `size` bytes, given and taken as they are."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.format = f"{size}s"

    def pack(self, value: bytes | bytearray | memoryview) -> bytes:
        if not isinstance(value, (bytes, bytearray, memoryview)):
            raise CodecError(f"{shown(value)} is not bytes: {self._takes()}")
        data = bytes(value)
        if len(data) != self.size:
            raise self._wrong_size(data)
        return data

    def unpack(self, buffer: Buffer) -> bytes:
        data = bytes(memoryview(buffer))
        if len(data) != self.size:
            raise self._wrong_size(data)
        return data

    def _meaning(self) -> tuple[object, ...]:
        return (RawCodec, self.size)

    def __repr__(self) -> str:
        return f"codec(bytes, {self.size})"


class ObjectCodec(Codec["Any"]):
    """An object of the user's: ``size``, ``pack(value) -> bytes``, ``unpack(bytes) -> value``."""

    def __init__(self, inner: Any, size: int) -> None:
        self._inner = inner
        self.size = size

    def pack(self, value: Any) -> bytes:
        data = self._inner.pack(value)
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise CodecError(f"{self._inner!r}.pack returned {shown(data)}, which is not bytes")
        packed = bytes(data)
        if len(packed) != self.size:
            got = f"{len(packed)} {plural(len(packed))}"
            raise CodecError(f"{self._inner!r}.pack returned {got}, but {self._takes()}")
        return packed

    def unpack(self, buffer: Buffer) -> Any:
        data = bytes(memoryview(buffer))
        if len(data) != self.size:
            raise self._wrong_size(data)
        return self._inner.unpack(data)

    def _meaning(self) -> tuple[object, ...]:
        return (ObjectCodec, id(self._inner), self.size)

    def __repr__(self) -> str:
        return f"codec({self._inner!r})"


class CheckedCodec(Codec["Any"]):
    """A codec of a class of the user's, and equal to it, that gives the kernel what it reads.

    The kernel reads on where a packed value ends too early, and writes the next value over a
    buffer of which unpack may have kept a view: unpack gets bytes.
    """

    def __init__(self, inner: Codec[Any]) -> None:
        self._inner = inner
        self.size = inner.size
        self.format = inner.format

    def pack(self, value: Any) -> bytes:
        return self._exactly(self.size, self._inner.pack(value), "pack")

    def pack_many(self, values: Iterable[Any]) -> bytes:
        if type(self._inner).pack_many is Codec.pack_many:
            return super().pack_many(values)
        items = list(values)
        packed = self._inner.pack_many(items)
        return self._exactly(len(items) * self.size, packed, "pack_many")

    def _exactly(self, size: int, packed: object, method: str) -> bytes:
        if not isinstance(packed, bytes):
            raise CodecError(f"{self!r}.{method} returned {shown(packed)}, which is not bytes")
        if len(packed) != size:
            got = f"{len(packed)} {plural(len(packed))}"
            raise CodecError(f"{self!r}.{method} returned {got}, but has to return {size}")
        return packed

    def unpack(self, buffer: Buffer) -> Any:
        data = bytes(memoryview(buffer))
        if len(data) != self.size:
            raise self._wrong_size(data)
        return self._inner.unpack(data)

    def iter_unpack(self, buffer: Buffer) -> Iterable[Any]:
        if type(self._inner).iter_unpack is Codec.iter_unpack:
            return super().iter_unpack(buffer)
        return self._inner.iter_unpack(bytes(self._records(buffer)))

    @property
    def offsets(self) -> Mapping[str, int]:
        return self._inner.offsets

    def offsetof(self, path: str) -> int:
        return self._inner.offsetof(path)

    def _meaning(self) -> tuple[object, ...]:
        return self._inner._meaning()

    def __repr__(self) -> str:
        return repr(self._inner)


class CtypesCodec(Codec["Any"]):
    """A ctypes Structure or Union; values are its instances, and unpack copies."""

    def __init__(self, cls: Any) -> None:
        self._cls = cls
        self.size = memoryview(cls()).nbytes

    def pack(self, value: Any) -> bytes:
        if not isinstance(value, self._cls):
            raise CodecError(f"{shown(value)} is not a {self._cls.__name__}")
        return bytes(value)

    def unpack(self, buffer: Buffer) -> Any:
        if memoryview(buffer).nbytes != self.size:
            raise self._wrong_size(buffer)
        return self._cls.from_buffer_copy(buffer)

    @property
    def offsets(self) -> Mapping[str, int]:
        return {name: getattr(self._cls, name).offset for name, *_ in self._cls._fields_}

    def _meaning(self) -> tuple[object, ...]:
        return (CtypesCodec, self._cls)

    def __repr__(self) -> str:
        return f"codec({self._cls.__qualname__})"


class NumpyCodec(Codec["Any"]):
    """A numpy dtype; values are numpy scalars, and iter_unpack gives them as an array."""

    def __init__(self, dtype: Any) -> None:
        import importlib

        self._numpy: Any = importlib.import_module("numpy")
        self._dtype = self._numpy.dtype(dtype)
        if self._dtype.hasobject:
            raise CodecError(f"{self._dtype!r} holds Python objects, which have no bytes")
        if self._dtype.subdtype is not None:
            raise CodecError(f"{self._dtype!r} is an array; use a dtype with one named field")
        self.size = self._dtype.itemsize
        if not self.size:
            raise CodecError(f"{self._dtype!r} has no bytes")
        if self._dtype.kind in "iufb" and self._dtype.isnative and self._dtype.char in _NATIVE:
            self.format = self._dtype.char

    def pack(self, value: Any) -> bytes:
        try:
            array = self._numpy.asarray(value, self._dtype)
        except (TypeError, ValueError, OverflowError) as error:
            raise CodecError(f"{shown(value)} is not a value of {self!r}: {error}") from None
        if array.shape != () or not self._exact(array, value):
            raise CodecError(f"{shown(value)} does not fit {self!r}")
        return bytes(array.tobytes())

    def _exact(self, array: Any, value: Any) -> bool:
        """Whether numpy has taken all of the value.

        It cuts fractions and long bytes, and before 2.0 it wraps integers around. Floats are
        rounded rightly, and for the fields of a structured dtype its word is taken.
        """
        if self._dtype.kind in "iu" and isinstance(value, (bool, self._numpy.bool_)):
            return False
        return self._dtype.kind not in "iubSU" or bool(array == value)

    def unpack(self, buffer: Buffer) -> Any:
        if memoryview(buffer).nbytes != self.size:
            raise self._wrong_size(buffer)
        return self._numpy.frombuffer(bytes(buffer), self._dtype)[0]

    def iter_unpack(self, buffer: Buffer) -> Iterable[Any]:
        run: Any = self._records(buffer)
        # Of an array of structs the items are views: they must not change with the buffer, and
        # numpy hashes (keys) what can't be written only.
        if self._dtype.fields is not None:
            run = bytes(run)
        records: Iterable[Any] = self._numpy.frombuffer(run, self._dtype)
        return records

    @property
    def offsets(self) -> Mapping[str, int]:
        return {name: field[1] for name, field in (self._dtype.fields or {}).items()}

    def _meaning(self) -> tuple[object, ...]:
        return (NumpyCodec, self._dtype)

    def __repr__(self) -> str:
        return f"codec({self._dtype!r})"


def checked(given: Codec[T]) -> Codec[T]:
    """`given`, where it is a codec of this package; else one that checks what it packs."""
    own = type(given).__module__.partition(".")[0] == "ebpf"
    return given if own else CheckedCodec(given)


_NATIVE = "?bBhHiIlLqQfd"


def is_ctypes(spec: object) -> bool:
    return (
        isinstance(spec, type) and hasattr(spec, "_fields_") and hasattr(spec, "from_buffer_copy")
    )


def is_numpy(spec: object) -> bool:
    """A dtype, or a scalar type such as numpy.uint32."""
    kind = spec if isinstance(spec, type) else type(spec)
    if not any(base.__module__.partition(".")[0] == "numpy" for base in kind.__mro__):
        return False
    return hasattr(spec, "itemsize") and (isinstance(spec, type) or hasattr(spec, "fields"))
