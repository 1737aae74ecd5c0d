"""Values of per-CPU maps."""

from __future__ import annotations

from collections.abc import Sequence

from ebpf.codec.base import Codec, T
from ebpf.codec.foreign import checked
from ebpf.codec.layout import align_up, shown
from ebpf.codec.structs import LayoutCodec
from ebpf.errors import CodecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ebpf.codec.base import Buffer


class CpuValues(list[T]):
    """The values of one entry of a per-CPU map: a list, in the order of the CPUs' numbers."""

    __slots__ = ()

    def sum(self) -> T:
        """All CPUs together: of numbers their sum, of tuples, arrays, dataclasses and records that
        of each item or field. Of numpy's numbers it is an int or float, of its records a tuple.

        Raises:
            TypeError: there is something else than numbers among them.
            CodecError: of a record, whose fields have the sizes of the C types, a sum does not fit.
        """
        added: T = _added(list(self))
        return added


def _added(values: list[Any]) -> Any:
    first = values[0]
    if isinstance(first, (int, float)) and not isinstance(first, bool):
        return sum(values)
    # What numpy has is no int, and its sums wrap around.
    if hasattr(first, "tolist") and type(first.tolist()) is not type(first):
        return _added([value.tolist() for value in values])
    if isinstance(first, (list, tuple)):
        return type(first)(_added(list(items)) for items in zip(*values, strict=True))
    if hasattr(first, "_asdict"):
        fields = first._asdict()
        return first._replace(**{n: _added([value[n] for value in values]) for n in fields})
    names = list(getattr(first, "__dataclass_fields__", ()))
    if not names:
        raise TypeError(
            f"sum: {shown(first)} is no number; add up what you need of it:"
            " sum(value.packets for value in values)"
        )
    from copy import copy

    # A copy, because not every field may be given to the constructor.
    made = copy(first)
    for name in names:
        column = [getattr(value, name) for value in values]
        # Padding is no value.
        if not isinstance(column[0], bytes) or any(column):
            object.__setattr__(made, name, _added(column))
    return made


class PerCpu(Codec["Sequence[T]"]):
    """One value of `inner` for each possible CPU, in the order of their numbers: a list.

    The kernel reads and writes ``round_up(value_size, 8)`` bytes for each possible (not online)
    CPU, bpf_percpu_hash_copy and its like in kernel/bpf, so ``size`` is that ``stride`` times
    `ncpus`; a buffer of fewer bytes would be overrun.
    """

    def __init__(self, inner: Codec[T], ncpus: int) -> None:
        if not isinstance(inner, Codec):
            raise TypeError(f"inner: {inner!r} is not a codec; make one with codec(...)")
        if not isinstance(ncpus, int) or isinstance(ncpus, bool):
            raise TypeError(f"ncpus: {ncpus!r} is not an int")
        if ncpus < 1:
            raise CodecError(f"ncpus: {ncpus}, but there is at least 1 possible CPU")
        self.inner = inner = checked(inner)
        self.ncpus = ncpus
        self.stride = align_up(inner.size, 8)
        self.size = self.stride * ncpus
        self._slot: Codec[Any] | None = None
        if isinstance(inner, LayoutCodec):
            self._slot = inner.padded(self.stride)
        elif inner.size == self.stride:
            self._slot = inner

    def pack(self, value: Sequence[T]) -> bytes:
        if not isinstance(value, (list, tuple)):
            raise CodecError(
                f"{shown(value)} is not a list: a per-CPU map takes {self.ncpus} values, one per "
                "possible CPU"
            )
        if len(value) != self.ncpus:
            raise CodecError(f"got {len(value)} values, but there are {self.ncpus} possible CPUs")
        gap = bytes(self.stride - self.inner.size)
        return b"".join([self._pack_one(cpu, one) + gap for cpu, one in enumerate(value)])

    def _pack_one(self, cpu: int, value: T) -> bytes:
        try:
            return self.inner.pack(value)
        except CodecError as error:
            raise CodecError(f"CPU {cpu}: {error}") from None

    def unpack(self, buffer: Buffer) -> CpuValues[T]:
        view = memoryview(buffer)
        if view.nbytes != self.size:
            raise self._wrong_size(buffer)
        if self._slot is not None:
            return CpuValues(self._slot.iter_unpack(view))
        view, size = view.cast("B"), self.inner.size
        unpack = self.inner.unpack
        return CpuValues([unpack(view[at : at + size]) for at in range(0, self.size, self.stride)])

    def _meaning(self) -> tuple[object, ...]:
        return (PerCpu, self.inner, self.ncpus)

    def __repr__(self) -> str:
        return f"PerCpu({self.inner!r}, {self.ncpus})"
