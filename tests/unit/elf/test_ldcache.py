"""The dynamic loader's cache, compared with what ldconfig says of it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from ebpf.elf.ldcache import cached_for_processors, cached_libraries
from ebpf.errors import FormatError

CACHE = Path("/etc/ld.so.cache")


def made(
    entries: list[tuple[str, str, int]], before: bytes = b"", folders: tuple[str, ...] = ()
) -> bytes:
    """A cache of (name, path, hwcap), with the folders that hwcap has the numbers of."""
    texts = b""
    rows = []
    start = 48 + 24 * len(entries)
    for name, path, hwcap in entries:
        rows.append((start + len(texts), start + len(texts) + len(name) + 1, hwcap))
        texts += f"{name}\0{path}\0".encode()
    names = []
    for folder in folders:
        names.append(start + len(texts))
        texts += f"{folder}\0".encode()
    extension = len(before) + start + len(texts)
    head = b"glibc-ld.so.cache1.1" + struct.pack(
        "=IIIIIII", len(entries), len(texts), 0, extension if folders else 0, 0, 0, 0
    )
    table = b"".join(struct.pack("=iIIIQ", 3, k, v, 0, h) for k, v, h in rows)
    data = before + head + table + texts
    if folders:
        # The first section says who made the cache.
        first, second = extension + 40, extension + 44
        sections = struct.pack("=8I", 0, 0, first, 4, 1, 0, second, 4 * len(names))
        data += struct.pack("=II", 0xEAA42174, 2) + sections + b"made"
        data += struct.pack(f"={len(names)}I", *names)
    return data


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


def test_entries_for_some_processors() -> None:
    """A processor that lacks the instructions does not load the file; one that has them loads no
    other."""
    folders = ("x86-64-v4", "x86-64-v3", "x86-64-v2")
    entries = [
        *(("liba.so", f"/lib/{folder}/liba.so", 1 << 62 | at) for at, folder in enumerate(folders)),
        ("liba.so", "/lib/liba.so", 0),
        # Of a loader before 2.33, and of a folder that the cache does not name.
        ("liba.so", "/lib/tls/liba.so", 1 << 63),
        ("liba.so", "/lib/haswell/liba.so", 4),
        ("liba.so", "/lib/unnamed/liba.so", 1 << 62 | 3),
    ]
    for before in (b"", b"ld.so-1.7.0\0" + bytes(52)):
        data = made(entries, before, folders)
        assert cached_libraries(data, "liba.so") == ["/lib/liba.so"]
        assert cached_libraries(data, "liba.so", ["x86-64-v3", "x86-64-v2"]) == [
            "/lib/x86-64-v3/liba.so",
            "/lib/x86-64-v2/liba.so",
            "/lib/liba.so",
        ]
        assert cached_libraries(data, "liba") == []
        assert cached_for_processors(data, "liba.so") == [
            f"/lib/{folder}/liba.so" for folder in folders
        ]
        with pytest.raises(FormatError, match=r"its extension at 0x\w+ is not in its"):
            cached_libraries(data[:-2], "liba.so")


def test_folders_that_ldconfig_has_written(tmp_path: Path) -> None:
    """The format is that of a C struct in the loader's source."""
    ldconfig = shutil.which("ldconfig", path="/sbin:/usr/sbin")
    libraries = [] if ldconfig is None else cached_libraries(CACHE.read_bytes(), "libc.so.6")
    if not libraries or platform.machine() != "x86_64":
        pytest.skip("no ldconfig with folders for processors")
    expected = []
    for folder in ("glibc-hwcaps/x86-64-v3", "glibc-hwcaps/x86-64-v2", "."):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(libraries[0], tmp_path / folder / "libc.so.6")
        expected.append(str(tmp_path / folder / "libc.so.6"))
    (tmp_path / "conf").write_text(f"{tmp_path}\n")
    for form in ("new", "compat"):
        cache = tmp_path / form
        command = [ldconfig, "-X", "-c", form, "-C", cache, "-f", tmp_path / "conf"]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        found = cached_libraries(cache.read_bytes(), "libc.so.6", ["x86-64-v3", "x86-64-v2"])
        assert [path for path in found if path.startswith(str(tmp_path))] == expected
        assert found[:2] == expected[:2]


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
