"""What the map tests share: other programs' view of a map, programs that write, BTF by hand."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from ebpf import asm
from ebpf._sys import bpf
from ebpf.asm import R0, R1, R2, R3, R4, R10, Helper
from ebpf.types import Command, MapType

# What a map knows of a kernel that has no batches for its type.
WITHOUT_BATCHES = frozenset(
    {
        Command.MAP_LOOKUP_BATCH,
        Command.MAP_LOOKUP_AND_DELETE_BATCH,
        Command.MAP_UPDATE_BATCH,
        Command.MAP_DELETE_BATCH,
    }
)


def bpftool(*arguments: str) -> Any:
    """What bpftool says, from its JSON."""
    run = subprocess.run(["bpftool", "-j", *arguments], check=True, capture_output=True, text=True)
    return json.loads(run.stdout)


def shown(map: Any) -> Any:
    """``bpftool map show``."""
    return bpftool("map", "show", "id", str(map.info().id))


def dumped(map: Any) -> dict[bytes, bytes]:
    """``bpftool map dump``, packed keys to packed values."""
    entries = bpftool("map", "dump", "id", str(map.info().id))
    return {from_hex(entry["key"]): from_hex(entry["value"]) for entry in entries}


def dumped_per_cpu(map: Any) -> dict[bytes, bytes]:
    """The same of a per-CPU map: the values side by side, each rounded up to 8 bytes."""
    found = {}
    for entry in bpftool("map", "dump", "id", str(map.info().id)):
        values = sorted(entry["values"], key=lambda value: int(value["cpu"]))
        packed = [from_hex(value["value"]) for value in values]
        found[from_hex(entry["key"])] = b"".join(
            one.ljust((len(one) + 7) // 8 * 8, b"\0") for one in packed
        )
    return found


def from_hex(digits: Iterable[str]) -> bytes:
    return bytes(int(digit, 16) for digit in digits)


def settled(map: Any, read: Callable[[], Any], expected: Any) -> Any:
    """What `read` returns, at once; of an RHASH, which moves its entries to a larger or smaller
    table in the background and hides some meanwhile, as soon as it is `expected`.
    """
    until = time.monotonic() + (20 if map.type is MapType.RHASH else 0)
    while (got := read()) != expected and time.monotonic() < until:
        time.sleep(0.001)
    return got


def python(code: str, *arguments: str, prefix: tuple[str, ...] = (), **options: Any) -> str:
    """The output of another process that runs `code`; `prefix` is put before its command."""
    command = [*prefix, sys.executable, "-c", code, *arguments]
    run = subprocess.run(command, check=False, capture_output=True, text=True, **options)
    assert run.returncode == 0, run.stderr
    return run.stdout


class Btf:
    """BTF by hand, from include/uapi/linux/btf.h: type ids are in the order of the calls."""

    def __init__(self) -> None:
        self._strings = bytearray(b"\0")
        self._types = bytearray()
        self._count = 0

    def integer(self, name: str, size: int, *, signed: bool = False) -> int:
        return self._add(name, 1 << 24, size, signed << 24 | size * 8)

    def struct(self, name: str, size: int, **members: tuple[int, int]) -> int:
        """Members are (type id, offset in bytes)."""
        words = [
            word
            for member, (type_id, offset) in members.items()
            for word in (self._string(member), type_id, offset * 8)
        ]
        return self._add(name, 4 << 24 | len(members), size, *words)

    def _add(self, name: str, info: int, size: int, *words: int) -> int:
        every = [self._string(name), info, size, *words]
        self._types += struct.pack(f"={len(every)}I", *every)
        self._count += 1
        return self._count

    def _string(self, text: str) -> int:
        offset = len(self._strings)
        self._strings += text.encode() + b"\0"
        return offset

    @contextmanager
    def load(self) -> Iterator[Any]:
        """An object with the ``fileno()`` of this BTF in the kernel."""
        sizes = (0, len(self._types), len(self._types), len(self._strings))
        header = struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, *sizes)
        fd, log = bpf.btf_load(header + self._types + self._strings, log_size=1 << 16)
        assert fd >= 0, (os.strerror(-fd), log)
        with os.fdopen(fd, "rb", buffering=0) as file:
            yield file


def increment(map: Any, key: int) -> list[Any]:
    """Instructions that add 1 to the u64 under the u32 `key`, where it exists, and return 0."""
    return [
        asm.stw(R10 - 4, key),
        asm.mov(R2, R10),
        asm.add(R2, -4),
        asm.ld_map_fd(R1, map),
        asm.call(Helper.MAP_LOOKUP_ELEM),
        asm.jeq(R0, 0, "absent"),
        asm.mov(R1, 1),
        asm.atomic_add(R0 + 0, R1),
        asm.Label("absent"),
        asm.mov(R0, 0),
        asm.exit_(),
    ]


def update(map: Any, key: int, value: int) -> list[Any]:
    """Instructions that write the u64 `value` under the u32 `key`; they return the result."""
    return [
        asm.stw(R10 - 4, key),
        asm.stdw(R10 - 16, value),
        asm.mov(R2, R10),
        asm.add(R2, -4),
        asm.mov(R3, R10),
        asm.add(R3, -16),
        asm.mov(R4, 0),
        asm.ld_map_fd(R1, map),
        asm.call(Helper.MAP_UPDATE_ELEM),
        asm.exit_(),
    ]
