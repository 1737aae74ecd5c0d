"""The arm64 guest: a small Debian system of its own, emulated.

    CACHE/arm64/root-HASH/    a Debian 13 with Python, gcc and the packages the tests need

The checkout is mounted read-only at /mnt, which is also the command's working folder. To build
the extension in the guest and test it:

    python -m tests.vm --arch arm64 -- python3 tests/vm/build_and_test.py tests/kernel

An x86 host keeps a stronger memory order than an arm64 machine: this tests layouts, system calls
and the build, not the ordering of memory accesses.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from .guest import Root
from .host import cache_dir, check_path, locked, require, run, say, scratch
from .packages import keyring, mirror

KERNEL = "6.1"
SUITE = "trixie"  # the first whose setuptools reads our pyproject.toml
CHECKOUT = Path("/mnt")

# vng takes busybox-static from here for the initramfs; it has to be of the guest's kind.
PACKAGES = (
    "python3",
    "python3-cffi",
    "python3-numpy",
    "python3-pyroute2",
    "python3-scapy",
    "python3-pytest",
    "python3-hypothesis",
    "python3-pip",
    "python3-wheel",
    "python3-venv",
    "python3-dev",
    "python3-setuptools",
    "gcc",
    "libc6-dev",
    "linux-libc-dev",
    "make",
    "bash",
    "bpftool",
    "base-passwd",
    "busybox-static",
    "coreutils",
    "mount",
    "kmod",
    "udev",
    "iproute2",
    "util-linux",
    "sed",
    "grep",
    "mawk",
    "procps",
    "findutils",
    "login",
    "tar",
    "gzip",
    "hostname",
    "diffutils",
)
# What maintainer scripts would have made: alternatives, accounts (see _make) and these folders.
LINKS = {
    "bin/sh": "bash",
    "usr/bin/awk": "mawk",
    "usr/bin/cc": "gcc",
    "usr/sbin/poweroff": "../bin/busybox",
    # numpy's
    "usr/lib/aarch64-linux-gnu/libblas.so.3": "blas/libblas.so.3",
    "usr/lib/aarch64-linux-gnu/liblapack.so.3": "lapack/liblapack.so.3",
}
FOLDERS = ("opt", "srv", "mnt", "media", "home", "root", "tmp", "sys", "proc", "dev", "run")


def root() -> Root:
    """The arm64 root file system, from the cache or made there."""
    folder = cache_dir() / "arm64"
    # Other packages or links are another system.
    made_of = hashlib.sha256(repr((SUITE, PACKAGES, LINKS, FOLDERS)).encode()).hexdigest()
    tree = folder / f"root-{made_of[:12]}"
    check_path(tree, "the cache folder")
    with locked(folder):
        if not tree.exists():
            _make(folder, tree)
    return Root(tree, CHECKOUT)


def _make(folder: Path, tree: Path) -> None:
    """Unpack the packages; nothing of them is executed, so no emulation is needed for this."""
    require(["mmdebstrap"])
    say(f"making an arm64 root file system of suite {SUITE}")
    with scratch(folder) as partial:
        system = partial / "root"
        run(
            [
                "mmdebstrap",
                "--architectures=arm64",
                "--variant=extract",
                f"--include={','.join(PACKAGES)}",
                f"--keyring={keyring()}",
                SUITE,
                str(system),
                mirror(),
            ]
        )
        for link, target in LINKS.items():
            if not os.path.lexists(system / link):
                (system / link).symlink_to(target)
        for name in ("passwd", "group"):
            master = system / "usr" / "share" / "base-passwd" / f"{name}.master"
            shutil.copy(master, system / "etc" / name)
        for name in FOLDERS:
            (system / name).mkdir(exist_ok=True)
        (system / "tmp").chmod(0o1777)
        system.rename(tree)
