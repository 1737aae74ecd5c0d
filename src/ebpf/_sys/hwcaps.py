"""What the dynamic loader of the GNU C library knows of this processor: which folders of
glibc-hwcaps have libraries for it (glibc 2.33)."""

from __future__ import annotations

import os

# What each takes beyond the one before, in the words of /proc/cpuinfo (x86-64 psABI).
_X86_64 = (
    ("x86-64-v2", "cx16 lahf_lm popcnt pni ssse3 sse4_1 sse4_2"),
    ("x86-64-v3", "abm avx avx2 bmi1 bmi2 f16c fma movbe xsave"),
    ("x86-64-v4", "avx512f avx512bw avx512cd avx512dq avx512vl"),
)

# Machines whose folders are told apart by what only the loader reads.
_UNKNOWN = ("ppc64le", "s390x")


def glibc_hwcaps() -> list[str] | None:
    """The names of the folders that the loader takes libraries from here, its favourite first;
    None on a machine that has some, but no telling which."""
    machine = os.uname().machine
    if machine in _UNKNOWN:
        return None
    found: list[str] = []
    if machine == "x86_64":
        flags = _flags()
        for name, needed in _X86_64:
            if not flags.issuperset(needed.split()):
                break
            found.insert(0, name)
    return found


def _flags() -> set[str]:
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name.strip() == "flags":
                return set(value.split())
    return set()
