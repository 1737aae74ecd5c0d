"""ArrayMap: a fixed number of slots."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator
from typing import Any

import pytest

import ebpf
from ebpf import ArrayMap, UpdateFlags
from tests.kernel.maps.support import dumped, increment


@pytest.fixture
def m() -> Iterator[ArrayMap[int]]:
    with ArrayMap.create(value="q", max_entries=3, name="slots") as map:
        yield map


def packed(*values: int) -> dict[bytes, bytes]:
    return {struct.pack("I", i): struct.pack("q", value) for i, value in enumerate(values)}


@pytest.mark.everywhere
def test_slots_exist_zeroed_and_keep_what_is_written(m: ArrayMap[int]) -> None:
    """A slot is missing, not zero at first, or holds another value than was written."""
    assert list(m) == [0, 0, 0]
    m[0] = -5
    m[2] = 1 << 62
    m.put(1, 6)
    assert dumped(m) == packed(-5, 6, 1 << 62)
    assert [m[0], m[1], m[2]] == [-5, 6, 1 << 62]


def test_it_reads_like_a_sequence_with_a_dicts_views(m: ArrayMap[int]) -> None:
    """len, iteration, in, keys, values, items or dict() disagree with the slots."""
    m[1] = 7
    assert len(m) == 3
    assert list(m) == list(m.values()) == [0, 7, 0]
    assert list(m.keys()) == [0, 1, 2]
    assert list(m.items()) == [(0, 0), (1, 7), (2, 0)]
    assert dict(m) == m.to_dict() == {0: 0, 1: 7, 2: 0}
    assert 7 in m
    assert 2 not in m  # an index, but no value
    assert m.lookup(1) == 7


@pytest.mark.parametrize("index", [3, -1, 1 << 40])
def test_an_index_outside_is_an_index_error(m: ArrayMap[int], index: int) -> None:
    """An index outside of the array reaches the kernel, or wraps around."""
    with pytest.raises(IndexError, match=rf"'slots'.* must be 0 to 2, but {index}"):
        m[index]
    with pytest.raises(IndexError, match=rf"'slots'.* must be 0 to 2, but {index}"):
        m[index] = 1
    assert list(m) == [0, 0, 0]


@pytest.mark.parametrize("index", ["0", None, 0.0, True, slice(0, 1)], ids=repr)
def test_an_index_of_a_wrong_type(m: ArrayMap[int], index: Any) -> None:
    """An index that is no int is taken for one."""
    with pytest.raises(TypeError, match=r"index of <ebpf.ArrayMap 'slots'.* is not an int"):
        m[index]


def test_lookup_and_put_say_what_is_outside(m: ArrayMap[int]) -> None:
    """put() outside of the array says that the map is full."""
    assert m.lookup(3) is None
    with pytest.raises(ebpf.BpfError, match=r"key 3 .the index must be 0 to 2") as caught:
        m.put(3, 1)
    assert caught.value.errno == errno.E2BIG


def test_put_flags(m: ArrayMap[int]) -> None:
    """EXIST fails for a slot, all of which exist, or NOEXIST replaces one."""
    m.put(0, 5, UpdateFlags.EXIST)
    with pytest.raises(FileExistsError, match=r"NOEXIST, and it is there"):
        m.put(0, 6, UpdateFlags.NOEXIST)
    assert m[0] == 5


def test_clear_takes_no_more_memory_than_there_are_slots() -> None:
    """Zeros for 16384 slots of a megabyte are 16 GB, also where there are two."""
    import tracemalloc

    with ArrayMap.create(value=1 << 20, max_entries=2) as m:
        m[1] = b"x" * (1 << 20)
        tracemalloc.start()
        m.clear()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 8 << 20
        assert not any(m[1])


def test_clear_zeroes_and_nothing_deletes(m: ArrayMap[int]) -> None:
    """clear() leaves a value, or an array pretends that slots can be deleted."""
    m[0] = m[1] = m[2] = 9
    m.clear()
    assert dumped(m) == packed(0, 0, 0)
    with pytest.raises(TypeError, match=r"an ARRAY map has no del m\[\.\.\.\]"):
        del m[0]  # type: ignore[attr-defined]
    assert not hasattr(m, "delete")
    assert not hasattr(m, "pop")


@pytest.mark.everywhere
def test_a_program_counts_in_a_slot(m: ArrayMap[int]) -> None:
    """What a program adds to a slot is not what user space reads."""
    m[1] = -1
    code = increment(m, 1)
    with ebpf.Program.load(ebpf.ProgramType.SOCKET_FILTER, code, license="GPL") as program:
        program.test_run(bytes(14), repeat=6)
    assert list(m) == [0, 5, 0]


def test_dump(m: ArrayMap[int], capsys: pytest.CaptureFixture[str]) -> None:
    """dump() of an array leaves out slots."""
    m[1] = -3
    m.dump()
    assert capsys.readouterr().out.splitlines()[1:] == ["  0: 0", "  1: -3", "  2: 0", "3 entries"]


def test_an_instruction_array_takes_offsets() -> None:
    """The slots of an INSN_ARRAY (6.19), which it fills for jump tables, can't be written."""
    with ArrayMap.create(ebpf.MapType.INSN_ARRAY, value="4I", max_entries=2) as m:
        m[1] = (3, 0, 0, 0)
        assert list(m) == [(0, 0, 0, 0), (3, 0, 0, 0)]
