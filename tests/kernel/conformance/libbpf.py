"""The libbpf that this library is compared with, and the driver built with it.

    python -m tests.kernel.conformance.libbpf

builds the driver into the tests' cache, where a guest finds it, and prints its path. It is made
with the static library of Debian's newest libbpf-dev, unpacked and not installed: releases before
1.6 lack much of what this library loads. The environment variables LIBBPF_INCLUDE and
LIBBPF_ARCHIVE name another libbpf.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import subprocess
import sys
from pathlib import Path

from tests.vm.host import HarnessError, cache_dir, locked, run, say, scratch
from tests.vm.packages import Suite, newest

SOURCE = Path(__file__).parent / "libbpf_load.c"
SUITE = "sid"
PACKAGE = "libbpf-dev"

# A library that was compiled with glibc 2.38 or later asks for these, which differ from the older
# functions in that they know binary numbers.
_SHIM = """
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
__attribute__((weak)) long __isoc23_strtol(const char *text, char **end, int base)
{ return strtol(text, end, base); }
__attribute__((weak)) unsigned long __isoc23_strtoul(const char *text, char **end, int base)
{ return strtoul(text, end, base); }
__attribute__((weak)) long long __isoc23_strtoll(const char *text, char **end, int base)
{ return strtoll(text, end, base); }
__attribute__((weak)) unsigned long long __isoc23_strtoull(const char *text, char **end, int base)
{ return strtoull(text, end, base); }
__attribute__((weak)) int __isoc23_sscanf(const char *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int found = vsscanf(text, format, arguments);
    va_end(arguments);
    return found;
}
__attribute__((weak)) int __isoc23_fscanf(FILE *file, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int found = vfscanf(file, format, arguments);
    va_end(arguments);
    return found;
}
"""


@functools.cache
def driver() -> Path:
    """The program of libbpf_load.c, from the cache or built into it. Raises HarnessError."""
    given = os.environ.get("LIBBPF_ARCHIVE")
    identity = f"{given} {Path(given).stat().st_mtime_ns}" if given else SUITE
    content = SOURCE.read_bytes() + _SHIM.encode() + identity.encode()
    name = f"libbpf_load-{platform.machine()}-{hashlib.sha256(content).hexdigest()[:20]}"
    built = cache_dir() / "conformance" / name
    with locked(built.parent):
        if not built.exists():
            if given:
                include = Path(os.environ.get("LIBBPF_INCLUDE", "/usr/include"))
                archive = Path(given)
            else:
                include, archive = _unpacked()
            _build(include, archive, built)
    return built


def _build(include: Path, archive: Path, built: Path) -> None:
    built.parent.mkdir(parents=True, exist_ok=True)
    shim = built.with_suffix(".shim.c")
    shim.write_text(_SHIM, encoding="ascii")
    partial = built.with_suffix(f".{os.getpid()}")
    command = ["cc", "-O1", f"-I{include}", "-o", str(partial), str(SOURCE), str(shim)]
    subprocess.run([*command, str(archive), "-lelf", "-lz"], check=True)
    shim.unlink()
    partial.rename(built)


def _unpacked() -> tuple[Path, Path]:
    """Include directory and static library of Debian's newest libbpf-dev."""
    arch = run(["dpkg", "--print-architecture"]).strip()
    folder = cache_dir() / "libbpf" / arch
    tree = folder / "root"
    source = Suite(SUITE, arch)
    with locked(folder):
        if not tree.exists():
            with locked(source.folder), scratch(folder) as partial:
                source.update()
                package = newest(source.packages(PACKAGE), PACKAGE)
                if package is None:
                    raise HarnessError(f"suite {SUITE} has no package {PACKAGE}")
                say(f"downloading {package.name} {package.version}")
                source.unpack([package], partial)
                partial.rename(tree)
    found = sorted((tree / "usr" / "lib").glob("*/libbpf.a"))
    if not found:
        raise HarnessError(f"{PACKAGE} of suite {SUITE} has no libbpf.a")
    return tree / "usr" / "include", found[0]


if __name__ == "__main__":
    try:
        print(driver())
    except HarnessError as error:
        sys.exit(str(error))
