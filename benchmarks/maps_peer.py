"""What other Python libraries take for a lookup or an update; run by maps.py in an own process.

    maps_peer.py bcc|ctypes FD     per line "lookup|update COUNT": print the CPU's nanoseconds
                                   for one of them

FD is a hash of u32 to u64 with the keys 0 to 999.
"""

from __future__ import annotations

import ctypes
import platform
import sys
import time
from typing import Any

_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "s390x": 351}
_LOOKUP, _UPDATE = 1, 2


class _Element(ctypes.Structure):
    _fields_ = [
        ("map_fd", ctypes.c_uint32),
        ("key", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
    ]


class ByCtypes:
    """The system call as one writes it by hand: buffers and attribute made once."""

    def __init__(self, fd: int) -> None:
        self._key, self._value = ctypes.c_uint32(), ctypes.c_uint64()
        self._attribute = _Element(fd, ctypes.addressof(self._key), ctypes.addressof(self._value))
        self._pointer = ctypes.byref(self._attribute)
        self._call = ctypes.CDLL(None, use_errno=True).syscall
        self._number = _BPF[platform.machine()]

    def __getitem__(self, key: int) -> int:
        self._key.value = key
        if self._call(self._number, _LOOKUP, self._pointer, 32) < 0:
            raise KeyError(key)
        return self._value.value

    def __setitem__(self, key: int, value: int) -> None:
        self._key.value, self._value.value = key, value
        if self._call(self._number, _UPDATE, self._pointer, 32) < 0:
            raise OSError(ctypes.get_errno(), "update")


class ByBcc:
    """bcc's own table class over the map; its keys and values are ctypes objects."""

    def __init__(self, fd: int) -> None:
        from bcc.table import HashTable  # type: ignore[import-not-found]

        # Its constructor wants a program that bcc has compiled, which takes kernel headers.
        self._table: Any = HashTable.__new__(HashTable)
        self._table.map_fd = fd
        self._table.Key, self._table.Leaf = ctypes.c_uint32, ctypes.c_uint64

    def __getitem__(self, key: int) -> int:
        value: int = self._table[ctypes.c_uint32(key)].value
        return value

    def __setitem__(self, key: int, value: int) -> None:
        self._table[ctypes.c_uint32(key)] = ctypes.c_uint64(value)


def main() -> None:
    map = (ByBcc if sys.argv[1] == "bcc" else ByCtypes)(int(sys.argv[2]))
    assert map[7] == 7
    for line in sys.stdin:
        way, count = line.split()
        keys = [number % 1000 for number in range(int(count))]
        start = time.thread_time_ns()
        if way == "lookup":
            for key in keys:
                map[key]
        else:
            for key in keys:
                map[key] = key
        print((time.thread_time_ns() - start) / len(keys), flush=True)


if __name__ == "__main__":
    main()
