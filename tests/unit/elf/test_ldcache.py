"""The dynamic loader's cache, compared with what ldconfig says of it."""

from __future__ import annotations

import os
import re
import struct
import subprocess
from pathlib import Path

import pytest

from ebpf.elf.ldcache import cached_libraries
from ebpf.errors import FormatError

CACHE = Path("/etc/ld.so.cache")


def made(entries: list[tuple[str, str, int]], before: bytes = b"") -> bytes:
    """A cache of (name, path, hwcap)."""
    texts = b""
    rows = []
    start = 48 + 24 * len(entries)
    for name, path, hwcap in entries:
        rows.append((start + len(texts), start + len(texts) + len(name) + 1, hwcap))
        texts += f"{name}\0{path}\0".encode()
    head = b"glibc-ld.so.cache1.1" + struct.pack("=II20x", len(entries), len(texts))
    return (
        before + head + b"".join(struct.pack("=iIIIQ", 3, k, v, 0, h) for k, v, h in rows) + texts
    )


def test_every_library_is_found_where_ldconfig_says() -> None:
    """Another file of the name would be probed."""
    ldconfig = next(
        (p for p in ("/sbin/ldconfig", "/usr/sbin/ldconfig") if os.path.exists(p)), None
    )
    if ldconfig is None or not CACHE.exists():
        pytest.skip("no ldconfig")
    listed: dict[str, list[str]] = {}
    for line in subprocess.check_output([ldconfig, "-p"], text=True).splitlines()[1:]:
        match = re.match(r"\t(\S+) \(([^)]*)\) => (\S+)", line)
        if match and "hwcap" not in match[2]:
            listed.setdefault(match[1], []).append(match[3])
    data = CACHE.read_bytes()
    assert "libc.so.6" in listed
    for name, paths in listed.items():
        assert list(cached_libraries(data, name)) == paths


def test_entries_for_some_processors_are_left_out() -> None:
    """A processor that lacks the instructions does not load the file."""
    data = made([("liba.so", "/opt/v4/liba.so", 1 << 62), ("liba.so", "/lib/liba.so", 0)])
    assert list(cached_libraries(data, "liba.so")) == ["/lib/liba.so"]
    assert list(cached_libraries(data, "liba")) == []


def test_a_cache_behind_one_of_the_old_format() -> None:
    """Offsets count from the start of the second one."""
    data = made([("liba.so", "/lib/liba.so", 0)], before=b"ld.so-1.7.0\0" + bytes(52))
    assert list(cached_libraries(data, "liba.so")) == ["/lib/liba.so"]


@pytest.mark.parametrize(
    "data",
    [b"", b"junk" * 99, made([("a", "b", 0)])[:60], made([("a", "/b", 0)])[:-1]],
)
def test_what_is_no_cache(data: bytes) -> None:
    """struct.error would say nothing of the file."""
    with pytest.raises(FormatError, match=r"ld\.so\.cache"):
        list(cached_libraries(data, "a"))
