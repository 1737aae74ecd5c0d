"""vmlinux.h: the running kernel's types as C, made when a program first includes it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from ebpf.compile.cache import cache_folder, digest, unusable, write_atomically
from ebpf.errors import CompileError, NotSupportedError

# The build id of the running kernel among other things: a kernel built again has another one.
_NOTES = "/sys/kernel/notes"
# Changes with what is written.
_CONTENT = "kfuncs"


def vmlinux_path() -> str:
    """Where the running kernel's vmlinux.h is kept, once it has been made."""
    kernel = os.uname()
    notes = Path(_NOTES).read_bytes() if os.path.exists(_NOTES) else b""
    name = digest(_CONTENT, kernel.release, kernel.version, kernel.machine, notes)[:32]
    return str(cache_folder() / "vmlinux" / name / "vmlinux.h")


def kept_vmlinux() -> str | None:
    """What is kept of the running kernel's vmlinux.h; None if that is not there, or damaged."""
    if unusable():
        return None
    try:
        data = Path(vmlinux_path()).read_bytes()
    except OSError:
        return None
    first, _, types = data.partition(b"\n")
    return data.decode() if first == _first_line(types) else None


def vmlinux_text() -> str:
    """The running kernel's vmlinux.h: what is kept of it, or made anew and kept, if it can be.

    Raises CompileError where the kernel has no BTF.
    """
    kept = kept_vmlinux()
    if kept is not None:
        return kept
    types = _made().encode()
    data = _first_line(types) + b"\n" + types
    if not unusable():
        with contextlib.suppress(OSError):
            write_atomically(Path(vmlinux_path()), data)
    return data.decode()


def _first_line(types: bytes) -> bytes:
    # Programs have the name of the file: it cannot be called by its digest.
    return b"/* The digest of what follows: %s */" % digest(types).encode()


def _made() -> str:
    from ebpf.btf.c import to_header
    from ebpf.kernel_btf import kernel_btf

    try:
        return to_header(kernel_btf())
    except NotSupportedError as error:
        raise CompileError(
            f"vmlinux.h cannot be made: {error}; put one, of any kernel, into a directory of "
            "include_dirs"
        ) from error
