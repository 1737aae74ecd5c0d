"""Choosing Debian packages and archives from apt's own output."""

from __future__ import annotations

from tests.vm.kernels import KERNELS
from tests.vm.packages import Package, newest, parse_mirror, parse_packages, parts

BACKPORTS = """\
Package: linux-image-7.2.12+deb13-amd64
Version: 7.2.12-1~bpo13+1
Depends: linux-modules-7.2.12+deb13-amd64 (= 7.2.12-1~bpo13+1)

Package: linux-image-7.2.9+deb13-amd64
Version: 7.2.9-1~bpo13+1
Depends: linux-modules-7.2.9+deb13-amd64 (= 7.2.9-1~bpo13+1)

Package: linux-image-7.2.12+deb13-cloud-amd64
Version: 7.2.12-1~bpo13+1

Package: linux-image-7.2.12+deb13-amd64-dbg
Version: 7.2.12-1~bpo13+1

Package: linux-image-amd64
Version: 7.2.12-1~bpo13+1
Depends: linux-image-7.2.12+deb13-amd64 (= 7.2.12-1~bpo13+1)

Package: linux-modules-7.2.12+deb13-amd64
Version: 7.2.12-1~bpo13+1
Depends: kmod, linux-base-7.2.12+deb13-amd64 (= 7.2.12-1~bpo13+1)
Description: modules
 linux-image-9.9.9+deb13-amd64 in a text is no package.

Package: linux-base-7.2.12+deb13-amd64
Version: 7.2.12-1~bpo13+1

Package: linux-perf
Version: 7.2.12-1~bpo13+1

Package: lintian
Version: 2.122.0
"""


def pattern(name: str) -> str:
    return KERNELS[name].image.format(arch="amd64")


def image(release: str) -> Package:
    return Package(f"linux-image-{release}", "1")


def test_only_packages_with_the_prefix_are_listed() -> None:
    """A package of another name, or a name in a description, is taken for a kernel package."""
    names = [package.name for package in parse_packages(BACKPORTS, "linux-image-")]
    assert names == [
        "linux-image-7.2.12+deb13-amd64",
        "linux-image-7.2.9+deb13-amd64",
        "linux-image-7.2.12+deb13-cloud-amd64",
        "linux-image-7.2.12+deb13-amd64-dbg",
        "linux-image-amd64",
    ]


def test_dependencies_lose_versions_alternatives_and_architectures() -> None:
    """A dependency such as ``dracut | b:any (>= 1)`` is not split into its package names."""
    text = "Package: linux-x\nVersion: 1\nDepends: dracut | tools (>= 0.1), b:any (= 2)\n"
    assert parse_packages(text, "linux-") == [Package("linux-x", "1", ("dracut", "tools", "b"))]


def test_the_newest_release_is_compared_by_numbers() -> None:
    """7.2.9 is taken for newer than 7.2.12, or a cloud, debug or meta package is chosen."""
    chosen = newest(parse_packages(BACKPORTS, "linux-"), pattern("7.x"))
    assert chosen is not None
    assert chosen.name == "linux-image-7.2.12+deb13-amd64"


def test_each_kernel_takes_only_its_own_series() -> None:
    """A pattern admits a kernel of another series, flavour or architecture."""
    offered = [
        "5.10.0-9-amd64",
        "5.10.0-32-amd64",
        "5.10.0-32-rt-amd64",
        "6.1.0-50-amd64",
        "6.1.0-0.deb11.52-amd64",
        "6.12.107+deb13-amd64",
        "6.12.9+deb13-amd64",
        "6.12.107+deb13-arm64",
        "7.3.4+deb13-amd64",
        "7.10.1+deb14-amd64",
        "17.3.4+deb13-amd64",
    ]
    chosen = {
        name: found.name.removeprefix("linux-image-")
        for name in KERNELS
        if (found := newest(map(image, offered), pattern(name)))
    }
    assert chosen == {
        "5.10": "5.10.0-32-amd64",
        "6.1": "6.1.0-50-amd64",
        "6.12": "6.12.107+deb13-amd64",
        "7.x": "7.10.1+deb14-amd64",
    }


def test_nothing_fits() -> None:
    """A suite without the kernel yields some other package instead of none."""
    assert newest([image("4.19.0-1-amd64")], pattern("6.1")) is None


def test_a_split_kernel_brings_its_parts() -> None:
    """The modules or the configuration of a split kernel are not downloaded with its image."""
    packages = parse_packages(BACKPORTS, "linux-")
    found = parts(packages[0], "7.2.12+deb13-amd64", packages)
    assert {package.name for package in found} == {
        "linux-image-7.2.12+deb13-amd64",
        "linux-modules-7.2.12+deb13-amd64",
        "linux-base-7.2.12+deb13-amd64",
    }


def test_parts_are_of_the_same_version() -> None:
    """A part left over from an older build of the same release is mixed in."""
    old = Package("linux-modules-1.2", "1-1")
    new = Package("linux-modules-1.2", "1-2")
    main = Package("linux-image-1.2", "1-2", ("linux-modules-1.2",))
    assert parts(main, "1.2", [new, old]) == [main, new]


def test_the_mirror_is_the_main_archive() -> None:
    """The security archive, or an archive of somebody else with Debian's code name, is chosen."""
    targets = (
        "https://other.example/apt/ bookworm main Packages\n"
        "http://mirror.example/debian-security/ bookworm-security main Packages\n"
        "http://mirror.example/debian/ bookworm main Packages\n"
        "http://mirror.example/debian/ bookworm main Translations\n"
        "http://mirror.example/debian/ bookworm-updates main Packages\n"
    )
    assert parse_mirror(targets, "bookworm") == "http://mirror.example/debian/"


def test_a_machine_without_a_main_archive_has_no_mirror() -> None:
    """Any archive at all is taken where Debian's main one is not configured."""
    targets = (
        "http://mirror.example/debian-security/ bookworm-security main Packages\n"
        "https://other.example/apt/ bookworm stable-extra Packages\n"
    )
    assert parse_mirror(targets, "bookworm") is None
