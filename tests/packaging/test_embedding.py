"""Another CFFI extension uses this library's C types and functions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.packaging.conftest import Environment

Make = Callable[..., Environment]

BUILD = """
import cffi, ebpf, ebpf.embed

ffi = cffi.FFI()
ffi.include(ebpf.embed.ffi_builder())
ffi.cdef('''
    uint64_t ring_used(const struct ebpf_ring *ring);
    int64_t lookup_through(int64_t (*lookup)(int, const void *, void *, uint64_t), int fd,
                           uint32_t key, void *value);
''')
ffi.set_source("outsider", '''
    #include <ebpf/core.h>
    static uint64_t ring_used(const struct ebpf_ring *ring) { return ring->used; }
    static int64_t lookup_through(int64_t (*lookup)(int, const void *, void *, uint64_t), int fd,
                                  uint32_t key, void *value)
    { return lookup(fd, &key, value, 0); }
''', include_dirs=[ebpf.get_include()])
ffi.compile()
"""

USE = """
import errno, os, ebpf
from outsider import ffi, lib

ring = ffi.new("struct ebpf_ring *", {"used": 4711})
assert lib.ring_used(ring) == 4711                    # a type of ours, in their C
assert lib.ebpf_map_delete(-1, b"key") == -errno.EBADF  # a function of ours, through their lib
assert lib.EBPF_RING_PICKLE_OVERHEAD == 16
if os.geteuid() == 0:
    with ebpf.Map.create(ebpf.MapType.HASH, key="I", value="Q", max_entries=1) as map:
        map[3] = 99
        value = ffi.new("uint64_t *")
        lookup = ffi.addressof(lib, "ebpf_map_lookup")
        assert lib.lookup_through(lookup, map.fileno(), 3, value) == 0 and value[0] == 99
print("used from", ebpf.get_include())
"""


@pytest.mark.parametrize("how", ["wheel", "editable"])
def test_second_extension(
    how: str, wheel: Path, tree: Path, environment: Make, tmp_path: Path
) -> None:
    """Headers or the builder missing from an install would make embedding impossible."""
    made = environment()
    if how == "wheel":
        made.install(wheel, "setuptools")
    else:
        made.install("setuptools", "--editable", tree)
    work = tmp_path / "outsider"
    work.mkdir()
    made("-c", BUILD, cwd=work)
    out = made("-c", USE, cwd=work)
    assert f"used from {tree / 'include' if how == 'editable' else made.python.parents[1]}" in out


def test_builder_works_without_the_extension(tree: Path) -> None:
    """build_ffi.py calls it before anything is compiled, so it must not import the package."""
    import runpy

    builder = runpy.run_path(str(tree / "src/ebpf/embed.py"))["ffi_builder"]
    ffi = builder(include_dir=str(tree / "include"))
    assert ffi.sizeof("struct ebpf_attr_map_elem") == 32
