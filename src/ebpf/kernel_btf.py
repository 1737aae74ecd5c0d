"""The BTF of the running kernel and of its modules, from /sys/kernel/btf (Linux 5.4, 5.11).

The file is mapped where the kernel allows it (Linux 6.16), else read; the C core indexes the
types, so a lookup by name costs a few milliseconds and half a megabyte. Where there is no such
file, the kernel's types are those of its vmlinux, in the places where libbpf looks for it.
"""

from __future__ import annotations

import errno
import mmap
import os
from _thread import allocate_lock
from functools import partial

from ebpf._sys import bpf, check, facts, ffi, lib
from ebpf.btf import Btf
from ebpf.btf.raw import TYPE_SIZE, Data, Header, parse_header
from ebpf.errors import (
    BpfFileNotFoundError,
    BtfError,
    FormatError,
    NotSupportedError,
    from_errno,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ebpf.btf import Kind

BTF_DIRECTORY = "/sys/kernel/btf"
MODULE_DIRECTORY = "/sys/module"
_MODULES_SINCE = (5, 11)
VMLINUX = "vmlinux"
# Where distributions and builds leave the kernel that was not compressed; {0} is its release.
VMLINUX_FILES = (
    "/boot/vmlinux-{0}",
    "/lib/modules/{0}/vmlinux-{0}",
    "/lib/modules/{0}/build/vmlinux",
    "/usr/lib/modules/{0}/kernel/vmlinux",
    "/usr/lib/debug/boot/vmlinux-{0}",
    "/usr/lib/debug/boot/vmlinux-{0}.debug",
    "/usr/lib/debug/lib/modules/{0}/vmlinux",
)

WORD_SIZE = 4
# Shorter texts are found soon: the end of a string.
_SHORT = 3

_ELF_MAGIC = b"\x7fELF"

# By name, with what tells the file from that of a module that was loaded anew.
_cache: dict[str, tuple[Btf, tuple[int, ...]]] = {}
_lock = allocate_lock()


def kernel_btf(module: str | None = None) -> Btf:
    """The BTF of the running kernel, or of a loaded `module` (``"nf_tables"``).

    It is opened once and kept until ``release()``; that of a module that was unloaded and loaded
    again is opened again. That of a module is split BTF with the kernel's as its base. A kernel
    without BTF may have it in a file, such as /boot/vmlinux-RELEASE. Raises NotSupportedError
    when there is none, BpfFileNotFoundError for a module that is not loaded, BtfError for
    malformed data.
    """
    name = VMLINUX if module is None else module
    if not name or "/" in name or name.startswith("."):
        raise ValueError(f"module is {module!r}, it is a name as in /proc/modules")
    with _lock:
        if VMLINUX not in _cache:
            _cache[VMLINUX] = _open_vmlinux(), ()
        base, _ = _cache[VMLINUX]
        return base if name == VMLINUX else _module_btf(name, base)


def _module_btf(name: str, base: Btf) -> Btf:
    path = os.path.join(BTF_DIRECTORY, name)
    try:
        status = os.stat(path)
        identity = (status.st_dev, status.st_ino, status.st_size)
        known, seen = _cache.get(name, (None, ()))
        if known is None or seen != identity:
            known = open_btf(path, base)
            _cache[name] = known, identity
        return known
    except FileNotFoundError:
        raise _no_module(name, path) from None


def release() -> None:
    """Forget what kernel_btf() keeps. A Btf that is still in use keeps working, and its memory."""
    with _lock:
        _cache.clear()


def open_btf(path: str, base: Btf | None = None) -> Btf:
    """The BTF in the file `path`, its types indexed by the C core. Raises OSError, BtfError."""
    return indexed_btf(_contents(path), base)


def btf_file(path: str) -> Btf:
    """The BTF in a file of raw BTF, or in the section .BTF of an ELF file such as vmlinux.

    Raises OSError, BtfError, ElfError.
    """
    with open(path, "rb") as file:
        elf = file.read(len(_ELF_MAGIC)) == _ELF_MAGIC
    if not elf:
        return open_btf(path)
    data = _btf_section(path)
    if data is None:
        raise BtfError("the ELF file has no section .BTF")
    return indexed_btf(data)


def _btf_section(path: str) -> bytes | None:
    from ebpf.elf.image import ElfImage

    with ElfImage.open(path) as image:
        section = image.section(".BTF")
        # Files of debug information have the header only.
        return image.data(section) or None if section else None


def module_names() -> list[str]:
    """The loaded modules that have BTF (5.11)."""
    # The kernel's own types may come from a file: then there are none of modules.
    there = os.listdir(BTF_DIRECTORY) if os.path.isdir(BTF_DIRECTORY) else []
    return sorted(name for name in there if name != VMLINUX)


def module_with(name: str, kind: Kind, among: Iterable[str]) -> tuple[str, int] | None:
    """The first of the modules `among` with a type `name` of `kind`, and the type's id."""
    for module in among:
        try:
            found = kernel_btf(module).find_all(name, kind)
        except BpfFileNotFoundError:
            continue  # unloaded since
        if found:
            return module, found[0].id
    return None


def module_descriptors(names: Iterable[str]) -> dict[str, int]:
    """A descriptor of the BTF of each of these modules that is loaded; the caller's to close.

    The kernel names modules by descriptors of their BTF objects, found by walking all.

    Raises:
        BpfPermissionError: it takes CAP_SYS_ADMIN.
    """
    wanted = set(names)
    found: dict[str, int] = {}
    last = 0
    try:
        while wanted and (current := bpf.btf_get_next_id(last)) is not None:
            last = current
            try:
                fd = bpf.btf_get_fd_by_id(current)
            except BpfFileNotFoundError:
                continue  # unloaded since
            try:
                name = bpf.btf_name(fd)
                if name in wanted:
                    wanted.discard(name)
                    found[name] = fd
            finally:
                if fd not in found.values():
                    os.close(fd)
    except BaseException:
        for fd in found.values():
            os.close(fd)
        raise
    return found


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


def _open_vmlinux() -> Btf:
    path = os.path.join(BTF_DIRECTORY, VMLINUX)
    if os.path.exists(path):
        return open_btf(path)
    release = os.uname().release
    for place in VMLINUX_FILES:
        file = place.format(release)
        if os.access(file, os.R_OK):
            btf = _btf_of_vmlinux(file)
            if btf is not None:
                return btf
    cause = (
        "the kernel was built without CONFIG_DEBUG_INFO_BTF, or this process does not see all of"
        " /sys"
    )
    if not os.path.isdir("/sys/kernel"):
        cause = "sysfs is not mounted at /sys"
    raise NotSupportedError(
        f"kernel BTF: no {path}, and none in {VMLINUX_FILES[0].format(release)} and the like;"
        f" {cause}. CO-RE relocations can be matched with a file: load(kernel_btf=...)"
    )


def _btf_of_vmlinux(path: str) -> Btf | None:
    """None for a kernel that was built without."""
    try:
        data = _btf_section(path)
        return None if data is None else indexed_btf(data)
    except FormatError as error:
        raise type(error)(f"{path}: {error}") from None


def _no_module(name: str, path: str) -> Exception:
    if os.path.isdir(os.path.join(MODULE_DIRECTORY, name)):
        if facts.kernel_version() < _MODULES_SINCE:
            return NotSupportedError(f"BTF of module {name}", _MODULES_SINCE)
        return NotSupportedError(
            f"BTF of module {name}: no {path}; the module was built without BTF, or the kernel "
            "without CONFIG_DEBUG_INFO_BTF_MODULES, or the module is part of the kernel"
        )
    return from_errno(errno.ENOENT, f"open the BTF of module {name}, which is not loaded")


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
