"""Where a BPF program's headers are."""

from __future__ import annotations

import os
import sysconfig


def get_include() -> str:
    """The directory to pass to a C compiler as ``-I``: it holds ``bpf/bpf_helpers.h``."""
    return os.path.join(os.path.dirname(os.path.realpath(__file__)), "include")


def system_includes() -> list[str]:
    """Where the kernel's uapi headers are (``<linux/bpf.h>``, ``<asm/types.h>``), if installed.

    Debian has ``asm`` in a directory per architecture, in which a compiler for BPF does not look.
    """
    multiarch = sysconfig.get_config_var("MULTIARCH")
    folders = [f"/usr/include/{multiarch}"] if multiarch else []
    return [folder for folder in (*folders, "/usr/include") if os.path.isdir(folder)]
