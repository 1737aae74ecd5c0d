"""The objects that Debian packages ship: programs that nobody wrote for a test.

    python -m tests.kernel.conformance.packages

unpacks the packages into the tests' cache, without installing them, and prints the folder, which
`python -m tests.kernel.conformance` compares.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.vm.host import HarnessError, cache_dir, locked, run, say, scratch
from tests.vm.packages import Suite, newest

SUITE = "sid"
NAMES = (
    "ir-keytable",
    "libxdp1",
    "opensnitch-ebpf-modules",
    "suricata",
    "udev-hid-bpf",
    "xdp-tests",
    "xdp-tools",
)


def folder() -> Path:
    """Where the packages are unpacked: in the cache, or put there. Raises HarnessError."""
    arch = run(["dpkg", "--print-architecture"]).strip()
    place = cache_dir() / "conformance" / f"packages-{SUITE}-{arch}"
    source = Suite(SUITE, arch)
    with locked(place.parent):
        if not place.exists():
            with locked(source.folder), scratch(place.parent) as partial:
                source.update()
                for name in NAMES:
                    package = newest(source.packages(name), name)
                    if package is None:
                        say(f"suite {SUITE} has no package {name} for {arch}")
                        continue
                    say(f"downloading {package.name} {package.version}")
                    source.unpack([package], partial)
                partial.rename(place)
    return place


if __name__ == "__main__":
    try:
        print(folder())
    except HarnessError as error:
        sys.exit(str(error))
