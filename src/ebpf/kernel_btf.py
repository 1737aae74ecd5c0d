"""The BTF of the running kernel and of its modules, from /sys/kernel/btf (Linux 5.4, 5.11).

The file is mapped where the kernel allows it (Linux 6.16), else read; the C core indexes the
types, so a lookup by name costs a few milliseconds and half a megabyte.
"""

from __future__ import annotations

import errno
import mmap
import os
from _thread import allocate_lock
from functools import partial

from ebpf._sys import bpf, check, ffi, lib
from ebpf.btf import Btf
from ebpf.btf.raw import TYPE_SIZE, Data, Header, parse_header
from ebpf.errors import NotSupportedError, from_errno

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BTF_DIRECTORY = "/sys/kernel/btf"
MODULE_DIRECTORY = "/sys/module"
VMLINUX = "vmlinux"

WORD_SIZE = 4
# Shorter texts are found soon: the end of a string.
_SHORT = 3

_cache: dict[str, Btf] = {}
_lock = allocate_lock()


def kernel_btf(module: str | None = None) -> Btf:
    """The BTF of the running kernel, or of a loaded `module` (``"nf_tables"``).

    It is opened once and kept until ``release()``. That of a module is split BTF with the
    kernel's as its base. Raises NotSupportedError when the kernel was built without BTF,
    BpfFileNotFoundError for a module that is not loaded, BtfError for malformed data.
    """
    name = VMLINUX if module is None else module
    if not name or "/" in name or name.startswith("."):
        raise ValueError(f"module is {module!r}, it is a name as in /proc/modules")
    with _lock:
        if name != VMLINUX and VMLINUX not in _cache:
            _cache[VMLINUX] = open_btf(_path(VMLINUX))
        if name not in _cache:
            base = None if name == VMLINUX else _cache[VMLINUX]
            _cache[name] = open_btf(_path(name), base)
        return _cache[name]


def release() -> None:
    """Forget what kernel_btf() keeps. A Btf that is still in use keeps working, and its memory."""
    with _lock:
        _cache.clear()


def open_btf(path: str, base: Btf | None = None) -> Btf:
    """The BTF in the file `path`, its types indexed by the C core. Raises OSError, BtfError."""
    return indexed_btf(_contents(path), base)


def loaded_btf(btf_id: int) -> Btf:
    """The BTF with the kernel's id `btf_id`, as a process loaded it (BPF_BTF_GET_FD_BY_ID).

    Raises:
        BpfFileNotFoundError: no BTF has this id.
    """
    fd = bpf.btf_get_fd_by_id(btf_id, action=f"open the BTF with id {btf_id}")
    try:
        return Btf(bpf.btf_data(fd))
    finally:
        os.close(fd)


def indexed_btf(data: Data, base: Btf | None = None) -> Btf:
    """``Btf(data, base=base)``, its types indexed and searched by the C core."""
    header = parse_header(data)
    index = _index(data, header)
    if index is None:
        # Malformed, or of kinds that the layout of the base describes: Btf says which.
        return Btf(data, base=base)
    return Btf(data, index, base, search=partial(_search, data, header, index))


def _path(name: str) -> str:
    path = os.path.join(BTF_DIRECTORY, name)
    if os.path.exists(path):
        return path
    if name == VMLINUX:
        if not os.path.isdir("/sys/kernel"):
            raise NotSupportedError("kernel BTF: sysfs is not mounted at /sys")
        raise NotSupportedError(
            f"kernel BTF: no {path}; the kernel was built without CONFIG_DEBUG_INFO_BTF, or this"
            " process does not see all of /sys. CO-RE relocations can be matched with a file:"
            " load(kernel_btf=...)"
        )
    if os.path.isdir(os.path.join(MODULE_DIRECTORY, name)):
        raise NotSupportedError(
            f"BTF of module {name}: no {path}; the module was built without BTF, or the kernel "
            "without CONFIG_DEBUG_INFO_BTF_MODULES, or the module is part of the kernel"
        )
    raise from_errno(errno.ENOENT, f"open the BTF of module {name}, which is not loaded")


def _contents(path: str) -> Data:
    with open(path, "rb", buffering=0) as file:
        try:
            # The kernel refuses shared mappings of this file, and those that may be written.
            return _Mapping(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ)
        except (OSError, ValueError):
            # Before Linux 6.16 it cannot be mapped at all; read() gives the same bytes or raises.
            return file.readall()


class _Mapping(mmap.mmap):
    """Searches for longer texts in C: mmap's own find() compares byte by byte."""

    def find(self, text: Any, start: int = 0, end: int | None = None) -> int:
        length = len(self)
        end = length if end is None else end
        if len(text) < _SHORT or not 0 <= start <= end <= length:
            return super().find(text, start, end)
        with memoryview(self) as view, ffi.from_buffer(view) as buffer:
            found = int(lib.ebpf_btf_text(buffer + start, end - start, text, len(text)))
        return -1 if found < 0 else start + found


def _index(data: Data, header: Header) -> memoryview | None:
    """The offset of each type, or None where the core cannot walk the type section."""
    with memoryview(data) as view, ffi.from_buffer(view) as buffer:
        types = buffer + header.types.start
        layout = buffer + header.layout.start
        # Room for as many types as can be: pages that are not written to cost nothing.
        room = max(len(header.types) // TYPE_SIZE, 1) * WORD_SIZE
        index = memoryview(mmap.mmap(-1, room)).cast("I")
        count = int(
            lib.ebpf_btf_index(
                *(types, len(header.types), layout, len(header.layout), header.swapped),
                *(_words(index), len(index)),
            )
        )
    return None if count < 0 else index[:count]


def _search(
    data: Data, header: Header, index: memoryview, name_off: int, kind: int | None, first: int
) -> int:
    """``lookup.Search`` in C: -1 where no type has this name and kind."""
    with memoryview(data) as view, ffi.from_buffer(view) as buffer:
        position = int(
            lib.ebpf_btf_find(
                buffer + header.types.start,
                len(header.types),
                header.swapped,
                _words(index),
                len(index),
                name_off,
                0 if kind is None else 1 << kind,
                first,
            )
        )
    if position == -errno.ENOENT:
        return -1
    return check(position, "find a type of BTF by name")


def _words(index: memoryview) -> Any:
    """`index` as the core takes it; it has to outlive the pointer."""
    return ffi.cast("uint32_t *", ffi.from_buffer(index))
