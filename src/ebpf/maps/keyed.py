"""Reading and writing entries by key: what hashes and arrays share."""

from __future__ import annotations

import errno
import sys

from ebpf._sys import facts, ffi, lib
from ebpf._sys.arguments import check_number
from ebpf.codec import PerCpu
from ebpf.errors import CodecError, EbpfError
from ebpf.maps.base import K, V
from ebpf.maps.objects import why_refused
from ebpf.maps.scalars import ABSENT_SCALAR, scalar_functions
from ebpf.maps.values import ValueMap
from ebpf.types import UpdateFlags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, TextIO

    from ebpf.codec import Codec

# Keys fetched by one call of the core: few at first, for who wants just one; then more and more.
FIRST_CHUNK = 16
CHUNK = 4096

# The numbers of the possible CPUs, which never change, once they were asked for.
_cpus: list[int] = []

# Stands for a key that is not there; None may be a value to a codec of the user's.
ABSENT: Any = object()

_READ = "look up a key in"

# With these the kernel takes and gives one value, where the codec has those of all CPUs.
_OF_ONE_CPU = int(UpdateFlags.CPU | UpdateFlags.ALL_CPUS)
EXISTENCE = UpdateFlags.NOEXIST | UpdateFlags.EXIST


class KeyedMap(ValueMap[K, V]):
    """A map whose entries are reached by key."""

    key_codec: Codec[K]

    def _prepare(self) -> None:
        super()._prepare()
        self._get_scalar, self._set_scalar = scalar_functions(self.key_codec, self.value_codec)

    def lookup(self, key: K, *, flags: UpdateFlags | int = 0) -> V | None:
        """The value for `key`, or None where the map has no such key.

        `flags`: LOCK takes the value's bpf_spin_lock while copying (5.1).
        """
        if not flags:
            value = self._get(key)
            return None if value is ABSENT else value
        check_flags(flags)
        return self._read(lib.ebpf_map_lookup, self._pack_key(key), None, _READ, flags)

    def _get(self, key: K) -> V:
        """The value for `key`, or ABSENT."""
        # A bool, or what only behaves like an int, is for the codec to judge, and so is what does
        # not fit.
        read = self._get_scalar
        if read is not None and type(key) is int:
            try:
                value = read(self._fd, key)
            except OverflowError:
                pass
            else:
                if value < ABSENT_SCALAR:
                    return value  # type: ignore[no-any-return]
                if value == ABSENT_SCALAR:
                    return ABSENT  # type: ignore[no-any-return]
        return self._read(lib.ebpf_map_lookup, self._pack_key(key), ABSENT, _READ)

    def put(self, key: K, value: V, flags: UpdateFlags | int = UpdateFlags.ANY) -> None:
        """Write the value for `key`.

        `flags`: ANY creates or replaces, NOEXIST only creates, EXIST only replaces; LOCK takes
        the value's bpf_spin_lock while copying (5.1) and may be combined with the others.

        Raises:
            BpfFileExistsError: NOEXIST, and the key is there.
            BpfFileNotFoundError: EXIST, and the key is not there.
            CodecError: key or value do not fit the codecs.
            BpfError: E2BIG when the map is full, or an array's index is out of range.
        """
        if flags:
            check_flags(flags)
        packed_key, packed_value = self._pack_key(key), self._pack_value(value)
        try:
            result = lib.ebpf_map_update(self._fd, packed_key, packed_value, flags)
        except (TypeError, OverflowError):
            check_number("flags", flags, 64)
            raise
        if result < 0:
            hint = self._put_hint(-result, flags) or self._value_hint(-result, value)
            self._fail(result, f"write the key {key!r}{hint} to", flags)

    def _put_hint(self, code: int, flags: int) -> str:
        if code == errno.E2BIG:
            return f" ({self._too_big()})"
        if code == errno.EEXIST and flags & UpdateFlags.NOEXIST:
            return " (NOEXIST, and it is there)"
        if code == errno.ENOENT and flags & UpdateFlags.EXIST:
            return " (EXIST, and it is not there)"
        if code == errno.EINVAL and flags & EXISTENCE == EXISTENCE:
            return " (NOEXIST and EXIST: one of them at a time)"
        return ""

    def _value_hint(self, code: int, value: object) -> str:
        """What is wrong with a value that is a kernel object."""
        return "" if self._fd < 0 else why_refused(self.type, value, code, self._inner)

    def _too_big(self) -> str:
        """What E2BIG means."""
        return f"the map is full: max_entries is {self.max_entries}"

    def lookup_cpu(self, key: K, cpu: int) -> Any:
        """The value that the CPU number `cpu` has for `key`, None where the map has no such key.

        Of a per-CPU map, and read alone (flag CPU, 7.0): ``m[key]`` reads those of all CPUs, in the
        order of their numbers.
        """
        one = self._one_cpu(cpu)
        value = ffi.new("unsigned char[]", one.stride)
        flags = UpdateFlags.CPU | cpu << 32
        result = lib.ebpf_map_lookup(self._fd, self._pack_key(key), value, flags)
        if result == -errno.ENOENT:
            return None
        if result < 0:
            self._fail(result, _READ, flags)
        return one.inner.unpack(ffi.buffer(value, one.inner.size))

    def put_cpu(self, key: K, value: Any, cpu: int | None) -> None:
        """Write the value of the CPU number `cpu` for `key`, and leave those of the others; None
        writes the same value for all CPUs (flags CPU and ALL_CPUS, 7.0).

        A key that is not there is created, with zeros for the other CPUs.
        """
        one = self._one_cpu(cpu or 0)
        flags = UpdateFlags.ALL_CPUS if cpu is None else UpdateFlags.CPU | cpu << 32
        try:
            packed = one.inner.pack(value) + bytes(one.stride - one.inner.size)
        except CodecError as error:
            raise CodecError(f"value of {self!r}: {error}") from None
        result = lib.ebpf_map_update(self._fd, self._pack_key(key), packed, flags)
        if result < 0:
            self._fail(result, f"write the key {key!r}{self._put_hint(-result, flags)} to", flags)

    def _one_cpu(self, cpu: int) -> PerCpu[Any]:
        """The codec, once `cpu` is known to be one of its CPUs."""
        made = self.value_codec
        if not isinstance(made, PerCpu):
            raise TypeError(f"{self!r} has one value for all CPUs")
        if not _cpus:
            _cpus[:] = facts.possible_cpu_numbers()
        # Of a number in a hole the kernel would read what is no CPU's.
        if not isinstance(cpu, int) or cpu not in _cpus:
            holes = len(_cpus) <= _cpus[-1]
            there = ", ".join(map(str, _cpus)) if holes else f"0 to {_cpus[-1]}"
            raise ValueError(f"cpu: {cpu!r}, but the possible CPUs are {there}")
        return made

    def _delete(self, key: bytes) -> bool:
        """Delete the packed `key`; False where the map has no such key."""
        result = lib.ebpf_map_delete(self._fd, key)
        if result < 0:
            if result == -errno.ENOENT:
                return False
            self._fail(result, "delete a key of")
        return True

    def __contains__(self, key: object) -> bool:
        if self._get_scalar is not None:
            return self._get(key) is not ABSENT  # type: ignore[arg-type]
        return self._finds(lib.ebpf_map_lookup, self._pack_key(key), _READ)  # type: ignore[arg-type]

    def _pack_key(self, key: K) -> bytes:
        try:
            return self.key_codec.pack(key)
        except CodecError as error:
            raise CodecError(f"key of {self!r}: {error}") from None

    def _raw_keys(self) -> Iterator[bytes]:
        """Each key once.

        After a key that is gone the kernel starts again with the first one, so keys can come
        twice and, while others insert and delete, for ever: what was seen is left out, and a
        walk that takes many times as many steps as the map can have entries is given up.
        """
        seen: set[bytes] = set()
        held: list[bytes] = []
        size = FIRST_CHUNK
        steps = 0
        while steps <= 16 * self.max_entries + CHUNK:
            fetched = self._keys_after(held[0] if held else ffi.NULL, size)
            waiting = held + fetched
            # The last key is held back until the ones after it are fetched: a consumer that
            # deletes each key that it gets must not make the kernel start again.
            held = [waiting.pop()] if len(fetched) == size else []
            for key in waiting:
                if key not in seen:
                    seen.add(key)
                    yield key
            if not held:
                return
            steps += size
            size = min(2 * size, CHUNK)
        raise EbpfError(
            f"iterate {self!r}: others insert and delete so fast that the walk met {steps} keys"
            f" without an end; {len(seen)} different ones"
        )

    def _keys_after(self, key: bytes | Any, count: int) -> list[bytes]:
        """Up to `count` keys that follow `key`; fewer only at the end of the map."""
        size = self.key_codec.size
        keys = bytearray(size * count)
        found = lib.ebpf_map_keys(self._fd, key, size, ffi.from_buffer(keys), count)
        if found < 0:
            self._fail(found, "iterate")
        return [bytes(keys[at : at + size]) for at in range(0, found * size, size)]

    def _entries(self) -> Iterator[tuple[K, V]]:
        """Keys and values; an entry that vanishes meanwhile is left out."""
        unpack = self.key_codec.unpack
        for key in self._raw_keys():
            value = self._read(lib.ebpf_map_lookup, key, ABSENT, _READ)
            if value is not ABSENT:
                yield unpack(key), value

    def to_dict(self) -> dict[K, V]:
        """All entries as a dict."""
        return dict(self._entries())

    def dump(self, file: TextIO | None = None) -> None:
        """Print the map's definition and its entries, one a line, to `file` or standard output."""
        info = self.info()
        out = file or sys.stdout
        print(
            f"map {info.id} {self.name or '(no name)'}: {info.type.name},"
            f" key {info.key_size} B, value {info.value_size} B, max_entries {info.max_entries}",
            file=out,
        )
        count = 0
        for key, value in self._entries():
            print(f"  {key!r}: {value!r}", file=out)
            count += 1
        print(f"{count} {'entry' if count == 1 else 'entries'}", file=out)


def check_flags(flags: UpdateFlags | int) -> None:
    """Refuse what are no flags of an operation on whole values."""
    check_number("flags", flags, 64)
    if int(flags) & _OF_ONE_CPU:
        raise ValueError("flags: CPU and ALL_CPUS are what lookup_cpu() and put_cpu() pass")
