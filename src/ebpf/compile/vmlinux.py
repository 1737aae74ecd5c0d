"""vmlinux.h: the running kernel's types as C, made when a program first includes it."""

from __future__ import annotations

import os
from pathlib import Path

from ebpf.compile.cache import cache_folder, digest, write_atomically
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


def make_vmlinux() -> str:
    """The path of the running kernel's vmlinux.h, which is made if it is not there.

    Raises CompileError where the kernel has no BTF, or the file cannot be written.
    """
    from ebpf.btf.c import to_header
    from ebpf.kernel_btf import kernel_btf

    path = Path(vmlinux_path())
    if path.exists():
        return str(path)
    try:
        text = to_header(kernel_btf())
        write_atomically(path, text.encode())
    except NotSupportedError as error:
        raise CompileError(
            f"vmlinux.h cannot be made: {error}; put one, of any kernel, into a directory of "
            "include_dirs"
        ) from error
    except OSError as error:
        raise CompileError(
            f"vmlinux.h cannot be written: {error}; set XDG_CACHE_HOME to a directory that can be"
        ) from error
    return str(path)
