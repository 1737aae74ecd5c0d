"""The C core's index and search against the pure ones."""

from __future__ import annotations

import ctypes
import errno
import struct
import subprocess
from array import array
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from ebpf.btf import Btf, Kind
from ebpf.btf.raw import Header, index_types, merge_layout, parse_header, parse_layout
from ebpf.errors import BtfError

from .blob import Blob
from .conftest import tool
from .test_malformed import SAMPLES, mutated

ROOT = Path(__file__).parents[3]
WARNINGS = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror"]


@pytest.fixture(scope="module")
def include(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A core.h that holds only what btf.c needs, so that this test needs no kernel header."""
    folder = tmp_path_factory.mktemp("include")
    (folder / "ebpf").mkdir()
    declarations = (ROOT / "include/ebpf/btf.h").read_text()
    (folder / "ebpf/core.h").write_text(f"#include <stdint.h>\n{declarations}")
    return folder


class Core:
    """btf.c behind ctypes, compiled by itself: the same code as in the extension."""

    def __init__(self, library: Path) -> None:
        functions: Any = ctypes.CDLL(str(library))
        u32, u64, pointer = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_void_p
        self._index = functions.ebpf_btf_index
        self._index.argtypes = [pointer, u64, pointer, u64, u32, pointer, u64]
        self._find = functions.ebpf_btf_find
        self._find.argtypes = [pointer, u64, u32, pointer, u64, u32, u32, u64]
        for function in (self._index, self._find):
            function.restype = ctypes.c_int64

    def index(self, data: bytes, header: Header, capacity: int | None = None) -> int | array[int]:
        """The offsets, or the negative errno."""
        types = data[header.types.start : header.types.end]
        layout = data[header.layout.start : header.layout.end]
        known = (types, len(types), layout, len(layout), header.swapped)
        count = int(self._index(*known, None, 0))
        if count < 0:
            return count
        offsets = array("I", [0]) * count
        room = count if capacity is None else capacity
        filled = int(self._index(*known, offsets.buffer_info()[0], room))
        return offsets if filled == count else filled

    def find(
        self,
        data: bytes,
        header: Header,
        index: array[int],
        name_off: int,
        kind: int | None,
        at: int,
    ) -> int:
        types = data[header.types.start : header.types.end]
        mask = 0 if kind is None else 1 << kind
        address = index.buffer_info()[0]
        place = (types, len(types), header.swapped, address, len(index))
        return int(self._find(*place, name_off, mask, at))


@pytest.fixture(scope="module")
def core(include: Path, tmp_path_factory: pytest.TempPathFactory) -> Core:
    library = tmp_path_factory.mktemp("core") / "btf.so"
    source = ROOT / "src/core/btf.c"
    command = [tool("cc", "gcc", "clang"), *WARNINGS, "-fPIC", "-shared", f"-I{include}"]
    subprocess.run([*command, str(source), "-o", str(library)], check=True)
    return Core(library)


def pure_index(data: bytes, header: Header) -> array[int] | None:
    try:
        return index_types(data, header, merge_layout(parse_layout(data, header)))
    except BtfError:
        return None


def test_the_index_of_the_kernel_is_the_pure_one(core: Core, vmlinux: bytes) -> None:
    """Fails when the C core finds other types in the kernel's BTF than the pure code."""
    header = parse_header(vmlinux)
    assert core.index(vmlinux, header) == pure_index(vmlinux, header)


@settings(
    max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=mutated())
def test_the_index_of_mutated_btf_is_the_pure_one(core: Core, data: bytes) -> None:
    """Fails when one of the two accepts what the other refuses, or cuts it differently."""
    try:
        header = parse_header(data)
    except BtfError:
        return
    expected = pure_index(data, header)
    got = core.index(data, header)
    if expected is None:
        assert got in (-errno.EINVAL, -errno.EOPNOTSUPP)
    else:
        assert got == expected


def test_searches_in_the_kernel_agree(core: Core, vmlinux: bytes) -> None:
    """Fails when the C search misses a type, or finds one of another name or kind."""
    header = parse_header(vmlinux)
    index = core.index(vmlinux, header)
    assert isinstance(index, array)
    calls = 0

    def search(name_off: int, kind: int | None, first: int) -> int:
        nonlocal calls
        calls += 1
        position = core.find(vmlinux, header, index, name_off, kind, first)
        assert position >= 0 or position == -errno.ENOENT
        return max(position, -1)

    pure = Btf(vmlinux)
    fast = Btf(vmlinux, memoryview(index), search=search)
    names = {type.name for type in pure.types() if type.name}
    for name in ["task_struct", "int", *sorted(names)[::4001]]:
        for kind in (None, Kind.STRUCT, Kind.FUNC):
            assert fast.find_all(name, kind) == pure.find_all(name, kind)
            ids = [[t.id for t in btf.find_all(name, kind)] for btf in (fast, pure)]
            assert ids[0] == ids[1]
    assert calls > 100


@pytest.mark.parametrize("order", ["<", ">"])
def test_search_takes_name_kind_and_start(core: Core, order: str) -> None:
    """Fails when the mask, the start or the byte order is left out of the search."""
    blob = Blob(order)
    name = blob.string("twin")
    for kind in ("FWD", "FLOAT", "FWD", "STRUCT"):
        blob.add(kind, name)
    blob.add(40, name)
    data = blob.build(32, bytes(4 * 41))
    header = parse_header(data)
    index = core.index(data, header)
    assert isinstance(index, array)

    def find(kind: int | None, at: int, name_off: int = name) -> int:
        return core.find(data, header, index, name_off, kind, at)

    assert [find(None, at) for at in range(6)] == [0, 1, 2, 3, 4, -errno.ENOENT]
    assert [find(Kind.FWD, at) for at in range(4)] == [0, 2, 2, -errno.ENOENT]
    assert find(Kind.STRUCT, 0) == 3
    assert find(Kind.STRUCT, 4) == -errno.ENOENT
    assert find(40 - 32, 0) == -errno.ENOENT
    assert find(None, 1 << 60) == -errno.ENOENT
    assert find(None, 0, name + 1) == -errno.ENOENT


def test_an_offset_outside_the_section_ends_the_search(core: Core) -> None:
    """Fails when a damaged index makes the C search read elsewhere."""
    blob = Blob()
    blob.integer()
    data = blob.build()
    header = parse_header(data)
    for offset in (5, 16, 0xFFFFFFFF):
        assert core.find(data, header, array("I", [offset]), 99, None, 0) == -errno.EINVAL


def test_room_for_fewer_types_is_an_error(core: Core) -> None:
    """Fails when the index writes past its buffer, or ends early without a word."""
    data = SAMPLES[0]
    header = parse_header(data)
    full = core.index(data, header)
    assert isinstance(full, array)
    assert core.index(data, header, capacity=len(full) - 1) == -errno.ENOSPC


def test_unknown_kinds_and_cut_types_have_errors_of_their_own(core: Core) -> None:
    """Fails when the caller cannot tell newer BTF from a damaged one."""
    for kind, body, expected in [(21, b"", -errno.EOPNOTSUPP), (1, b"", -errno.EINVAL)]:
        types = struct.pack("<III", 0, kind << 24, 0) + body
        header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), 1)
        data = header + types + b"\0"
        assert core.index(data, parse_header(data)) == expected


def test_no_input_makes_the_core_touch_other_memory(include: Path, tmp_path: Path) -> None:
    """Fails when a sanitizer reports a read outside the input, an overflow or a bad shift."""
    program = tmp_path / "fuzz"
    sources = [str(ROOT / "src/core/btf.c"), str(Path(__file__).parent / "fuzz_btf.c")]
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g"]
    command = [tool("cc", "gcc", "clang"), "-std=c11", *sanitizers, f"-I{include}"]
    built = subprocess.run(
        [*command, *sources, "-o", str(program)], capture_output=True, text=True, check=False
    )
    if "libasan" in built.stderr or "libclang_rt" in built.stderr:
        pytest.skip("this compiler has no address sanitizer")
    assert built.returncode == 0, built.stderr
    inputs = []
    for number, data in enumerate(SAMPLES):
        section = parse_header(data).types
        path = tmp_path / f"{number}.types"
        path.write_bytes(data[section.start : section.end])
        inputs.append(str(path))
    result = subprocess.run(
        [str(program), "20000", *inputs], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    accepted, refused = map(int, result.stdout.split())
    assert accepted > 1000
    assert refused > 1000
