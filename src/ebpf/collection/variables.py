"""Global variables of a loaded collection, read and written where the programs see them."""

from __future__ import annotations

import mmap

from ebpf.errors import BpfPermissionError, BtfError, ClosedError, CodecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from ebpf.codec import Codec
    from ebpf.maps import Map
    from ebpf.spec import VariableSpec

    class Memory(Protocol):
        """Where variables are: the memory of a data map or of an arena."""

        writable: bool

        def read(self, offset: int, size: int) -> bytes: ...

        def write(self, offset: int, data: bytes) -> None: ...

        def close(self) -> None: ...


class DataMemory:
    """The memory of one map of global data, mapped into this process."""

    def __init__(self, map: Map[Any, Any], size: int, writable: bool) -> None:
        protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        length = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        self.writable = writable
        self._memory = mmap.mmap(map.fileno(), length, mmap.MAP_SHARED, protection)

    def read(self, offset: int, size: int) -> bytes:
        return self._open()[offset : offset + size]

    def write(self, offset: int, data: bytes) -> None:
        self._open()[offset : offset + len(data)] = data

    def _open(self) -> mmap.mmap:
        if self._memory.closed:
            raise ClosedError("the collection of this variable is closed")
        return self._memory

    def close(self) -> None:
        self._memory.close()


class Variable:
    """A variable of the programs: ``value`` is what it has now, by its C type.

    Reading and writing go through memory that is shared with the programs, without a system
    call. Values of up to 8 bytes are not torn; longer ones may be half written when a program
    writes them at the same time.
    """

    def __init__(self, spec: VariableSpec, memory: Memory) -> None:
        self.name = spec.name
        self._spec = spec
        self._memory = memory

    @property
    def codec(self) -> Codec[Any]:
        """How the variable looks in memory, see `VariableSpec.codec`."""
        return self._spec.codec

    @property
    def value(self) -> Any:
        """The value now. Setting it raises CodecError for one that does not fit the type, and
        BpfPermissionError for a constant, which nobody can change once it is loaded."""
        codec = self._spec.codec
        return codec.unpack(self._memory.read(self._spec.offset, codec.size))

    @value.setter
    def value(self, value: Any) -> None:
        if not self._memory.writable:
            raise BpfPermissionError(
                1,
                f"variable {self.name!r} is constant: it can be set in the spec, before load",
            )
        try:
            packed = self._spec.codec.pack(value)
        except CodecError as error:
            raise CodecError(f"variable {self.name!r}: {error}") from None
        self._memory.write(self._spec.offset, packed)

    def __repr__(self) -> str:
        try:
            shown = f"{self._spec.type_name or 'bytes'} = {self.value!r}"
        except ClosedError:
            shown = "closed"
        except (BtfError, CodecError):
            # A type without a name in C, or without values in Python.
            shown = f"{self._spec.size} bytes"
        return f"<ebpf.Variable {self.name!r} in {self._spec.section}: {shown}>"
