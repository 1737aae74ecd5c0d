"""The running kernel, as the tests need to know it. Nothing here uses the library."""

from __future__ import annotations

import ctypes
import functools
import gzip
import os
import platform
import re
import subprocess
import tempfile
from pathlib import Path

PROOFS = Path(__file__).parent / "proofs"

_CLONE_NEWNS = 0x00020000
_MS_REC = 0x4000
_MS_PRIVATE = 1 << 18


def kernel_version() -> tuple[int, int]:
    match = re.match(r"(\d+)\.(\d+)", platform.release())
    assert match is not None
    return int(match[1]), int(match[2])


@functools.cache
def kernel_config() -> dict[str, str]:
    """The options of the running kernel, from the file that belongs to it."""
    release = platform.release()
    candidates = [
        os.environ.get("EBPF_KERNEL_CONFIG", ""),
        f"/boot/config-{release}",
        f"/lib/modules/{release}/config",
        f"/usr/lib/modules/{release}/config",
    ]
    text = None
    if Path("/proc/config.gz").exists():
        text = gzip.decompress(Path("/proc/config.gz").read_bytes()).decode()
    for candidate in candidates:
        if text is None and candidate and Path(candidate).is_file():
            text = Path(candidate).read_text(encoding="utf-8")
    assert text is not None, "no config of the running kernel; name it in EBPF_KERNEL_CONFIG"
    return dict(re.findall(r"^(CONFIG_\w+)=(.*)$", text, re.MULTILINE))


def kernel_has(option: str) -> bool:
    return kernel_config().get(option) in ("y", "m")


@functools.cache
def kernel_has_variables() -> bool:
    """Whether the kernel's BTF has variables: bpftool prints each with its linkage."""
    command = ["bpftool", "btf", "dump", "file", "/sys/kernel/btf/vmlinux"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return re.search(r"^\[\d+\] VAR ", printed, re.MULTILINE) is not None


def private_mounts() -> None:
    """Mount bpffs and tracefs where they are missing; only this process and its children see it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWNS)")
    if libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None) != 0:
        raise OSError(ctypes.get_errno(), "make the mounts private")
    for kind, directory in (("bpf", "/sys/fs/bpf"), ("tracefs", "/sys/kernel/tracing")):
        mounted = re.search(rf" {directory} {kind} ", Path("/proc/self/mounts").read_text())
        if not mounted:
            subprocess.run(["mount", "-t", kind, kind, directory], check=True)


def descriptors() -> dict[int, str]:
    """This process's open descriptors and what they are, but for the library's cache of BTF."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            # The descriptor that listed the directory.
            continue
        # The kernel's BTF is mapped once and kept until ebpf.kernel_btf.release().
        if not target.startswith("/sys/kernel/btf/"):
            found[int(name)] = target
    return found


@functools.cache
def c_program_is_refused(source: str) -> bool:
    """Whether the C program `source`, which makes the same request, is refused with EPERM too.

    It exits with 0 when the kernel grants the request and with the errno when it refuses.
    """
    with tempfile.TemporaryDirectory() as directory:
        program = f"{directory}/proof"
        subprocess.run(["cc", "-o", program, str(PROOFS / source)], check=True)
        return subprocess.run([program], check=False).returncode == 1
