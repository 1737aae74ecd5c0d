"""What an object depends on besides its source and options: the headers that the compiler read, and
the places where it would have found others."""

from __future__ import annotations

import os
import re
import time

from ebpf.compile.cache import file_digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# What the compiler is told beside the command line.
ENVIRONMENT = ("CPATH", "C_INCLUDE_PATH", "SOURCE_DATE_EPOCH")
_FOLDERS = re.compile(r"-(?:I|isystem(?!-)|iquote|idirafter)(.*)")
_WITH_VALUE = ("-D", "-U", "-include", "-imacros", "-mllvm")
_WITHOUT_HEADERS = re.compile(r"-[DUOfgm].*|-W(?![alp],).*|-std=.*|-pedantic.*|-w")
# CLOCK_REALTIME_COARSE of <linux/time.h>: what the kernel stamps files with.
_STAMPS = 5
# Seconds in which that clock has gone on, whatever the kernel's HZ.
_TICK = 0.1


def next_tick() -> int:
    """Nanoseconds on the clock that stamps files, just after it went on: what was written before
    is older, and what is written from now on is not.

    Since 6.13 a stamp may be finer than that clock, and so later than what it tells.
    """
    first, end = time.time_ns(), time.monotonic() + _TICK
    # No longer where somebody sets the clock back: what is newer then is not kept.
    while (now := time.clock_gettime_ns(_STAMPS)) <= first and time.monotonic() < end:
        time.sleep(0.0005)
    return now


def digests(paths: Iterable[str], before: int) -> dict[str, str] | None:
    """The digest of each file, None if one may have changed since `before`, or is gone.

    The stamp is that of the last change of any kind, which nobody can set: a file that was moved
    here with an old time of its content counts as changed.
    """
    found = {}
    for path in paths:
        content = file_digest(path)
        if content is None or _changed(path) >= before:
            return None
        found[path] = content
    return found


def _changed(path: str) -> int:
    """Of the file, and of the symbolic link that leads to it."""
    return max(os.stat(path).st_ctime_ns, os.lstat(path).st_ctime_ns)


def read_files(listed: str) -> list[str]:
    """The files of a rule as ``make`` reads it: ``made: a.c dir\\ with\\ blanks/b.h``."""
    with open(listed, encoding="utf-8", errors="surrogateescape") as file:
        rule = file.read().replace("\\\n", " ").partition(":")[2]
    words = re.findall(r"(?:\\[ #]|\$\$|\S)+", rule)
    return [os.path.abspath(re.sub(r"\\([ #])|\$(\$)", r"\1\2", word)) for word in words]


def named_folders(flags: Iterable[str]) -> list[str] | None:
    """The directories for headers that `flags` and the environment add.

    None where a flag is not known to bring no others.
    """
    folders, rest = [], iter(flags)
    for flag in rest:
        named = _FOLDERS.fullmatch(flag)
        if named:
            folders.append(named[1] or next(rest, ""))
        elif flag in _WITH_VALUE:
            next(rest, "")
            # From where -include looks first.
            folders.append("")
        elif not _WITHOUT_HEADERS.fullmatch(flag):
            return None
    for variable in ("CPATH", "C_INCLUDE_PATH"):
        value = os.environ.get(variable)
        folders += value.split(os.pathsep) if value else []
    return [os.path.abspath(one) for one in folders]


def hiding(headers: Iterable[str], searched: Iterable[str]) -> list[str]:
    """Where nothing is, and a file would be found in place of one of `headers`.

    `searched` are directories in which the compiler looks; beside a header it looks for those
    that the header includes. The order does not count: too many places cost a compilation.
    """
    headers = list(headers)
    folders = {*searched, *map(os.path.dirname, headers)}
    places = set()
    for header in headers:
        for folder in folders:
            if header.startswith(f"{folder}/"):
                below = header[len(folder) + 1 :]
                places |= {os.path.join(one, below) for one in folders}
    return sorted(one for one in places if not os.path.exists(one))
