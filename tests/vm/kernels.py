"""The kernels that tests run on, and their unpacked trees in the cache.

CACHE/kernels/ARCH/NAME/RELEASE/boot/vmlinuz-RELEASE
CACHE/kernels/ARCH/NAME/RELEASE/lib/modules/RELEASE/
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from .host import HarnessError, cache_dir, check_path, locked, run, say, scratch
from .packages import Suite, newest, parts, version_key


@dataclass(frozen=True)
class KernelSpec:
    """Where a kernel comes from: the newest package of ``suite`` that fits ``image``.

    ``image`` is a regular expression for the image package's name with the kernel release as
    its group; ``append`` are additions to the kernel's command line.
    """

    name: str
    suite: str
    image: str
    append: tuple[str, ...] = ()


KERNELS = {
    spec.name: spec
    for spec in (
        # Debian 11 builds the BPF LSM but leaves it out of the default list of LSMs.
        KernelSpec(
            "5.10",
            "bullseye",
            r"linux-image-(5\.10\.\d+-\d+-{arch})",
            ("lsm=lockdown,yama,apparmor,bpf",),
        ),
        KernelSpec("6.1", "bookworm", r"linux-image-(6\.1\.\d+-\d+-{arch})"),
        KernelSpec("6.12", "trixie", r"linux-image-(6\.12\.\d+\+deb\d+-{arch})"),
        KernelSpec("7.x", "trixie-backports", r"linux-image-(7\.\d+\.\d+\+deb\d+-{arch})"),
    )
}


@dataclass(frozen=True)
class Kernel:
    """An unpacked kernel, ready to boot."""

    spec: KernelSpec
    arch: str
    release: str
    tree: Path

    @property
    def image(self) -> Path:
        """The bootable image."""
        return self.tree / "boot" / f"vmlinuz-{self.release}"

    @property
    def config(self) -> Path:
        """The options that the kernel was built with."""
        beside_image = self.tree / "boot" / f"config-{self.release}"
        return beside_image if beside_image.exists() else self.modules / "config"

    @property
    def modules(self) -> Path:
        """The folder of the modules and, from 7.2 on, of everything else that belongs to it."""
        return self.tree / "lib" / "modules" / self.release


def prepare(name: str, arch: str = "amd64", *, refresh: bool = False) -> Kernel:
    """The kernel called ``name``, from the cache or downloaded into it.

    With ``refresh`` the suite is asked for a newer one. Older trees stay: a guest may be
    running on them.
    """
    spec = KERNELS[name]
    folder = cache_dir() / "kernels" / arch / name
    check_path(folder, "the cache folder")
    with locked(folder):
        kernel = _cached(spec, arch, folder)
        if kernel is None or refresh:
            kernel = _download(spec, arch, folder)
        # One of the places where programs look for the options of the running kernel, and the
        # only one of them that is the guest's own and not the host's.
        if not (kernel.modules / "config").exists():
            shutil.copy(kernel.config, kernel.modules / "config")
    return kernel


def _cached(spec: KernelSpec, arch: str, folder: Path) -> Kernel | None:
    """The newest complete tree in ``folder``; only complete trees bear a release as name."""
    pattern = spec.image.format(arch=arch)
    releases = [
        tree.name
        for tree in (folder.iterdir() if folder.is_dir() else ())
        if re.fullmatch(pattern, f"linux-image-{tree.name}")
    ]
    if not releases:
        return None
    release = max(releases, key=version_key)
    return Kernel(spec, arch, release, folder / release)


def _download(spec: KernelSpec, arch: str, folder: Path) -> Kernel:
    """Fetch the newest kernel of the suite, unless it is already there."""
    suite = Suite(spec.suite, arch)
    with locked(suite.folder):
        say(f"{spec.name}: asking suite {spec.suite} for its newest kernel")
        suite.update()
        packages = suite.packages("linux-")
        pattern = spec.image.format(arch=arch)
        image = newest(packages, pattern)
        if image is None:
            raise HarnessError(f"suite {spec.suite} has no package that fits {pattern}")
        release = image.name.removeprefix("linux-image-")
        kernel = Kernel(spec, arch, release, folder / release)
        if kernel.tree.exists():
            return kernel
        say(f"{spec.name}: downloading {image.name} {image.version}")
        with scratch(folder) as partial:
            suite.unpack(parts(image, release, packages), partial)
            _arrange(partial, release)
            partial.rename(kernel.tree)
    return kernel


def _arrange(tree: Path, release: str) -> None:
    """Give a tree the same shape whichever way its packages are cut.

    From 6.12 on the modules lie under usr/lib, and from 7.2 on the image lies next to them.
    """
    if not (tree / "lib").exists():
        (tree / "lib").mkdir()
    if not (tree / "lib" / "modules").exists():
        (tree / "lib" / "modules").symlink_to("../usr/lib/modules")
    modules = tree / "lib" / "modules" / release
    image = tree / "boot" / f"vmlinuz-{release}"
    if not image.exists() and (modules / "vmlinuz").exists():
        image.parent.mkdir(exist_ok=True)
        os.link(modules / "vmlinuz", image)
    for part in (image, modules / "kernel"):
        if not part.exists():
            raise HarnessError(
                f"the packages of kernel {release} hold no {part.relative_to(tree)}: "
                "Debian cuts them differently now, see tests/vm/kernels.py"
            )
    shutil.rmtree(tree / "usr" / "share", ignore_errors=True)
    run(["depmod", "-b", str(tree), release])
