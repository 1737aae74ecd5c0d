"""The libbpf that this library is compared with, and programs built with it.

They are made with the static library of Debian's newest libbpf-dev, unpacked and not installed:
releases before 1.6 lack much of what this library loads. The environment variables LIBBPF_INCLUDE
and LIBBPF_ARCHIVE name another libbpf.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from pathlib import Path

from tests.vm.host import HarnessError, cache_dir, locked, run, say, scratch
from tests.vm.packages import Suite, newest

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


def built(source: Path) -> Path:
    """The program of the C file `source`, from the cache or built into it. Raises HarnessError."""
    given = os.environ.get("LIBBPF_ARCHIVE")
    identity = f"{given} {Path(given).stat().st_mtime_ns}" if given else SUITE
    content = source.read_bytes() + _SHIM.encode() + identity.encode()
    name = f"{source.stem}-{platform.machine()}-{hashlib.sha256(content).hexdigest()[:20]}"
    made = cache_dir() / "conformance" / name
    with locked(made.parent):
        if not made.exists():
            if given:
                include = Path(os.environ.get("LIBBPF_INCLUDE", "/usr/include"))
                archive = Path(given)
            else:
                include, archive = _unpacked()
            _build(source, include, archive, made)
    return made


def _build(source: Path, include: Path, archive: Path, made: Path) -> None:
    made.parent.mkdir(parents=True, exist_ok=True)
    shim = made.with_suffix(".shim.c")
    shim.write_text(_SHIM, encoding="ascii")
    partial = made.with_suffix(f".{os.getpid()}")
    command = ["cc", "-O1", f"-I{include}", "-o", str(partial), str(source), str(shim)]
    subprocess.run([*command, str(archive), "-lelf", "-lz"], check=True)
    shim.unlink()
    partial.rename(made)


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
