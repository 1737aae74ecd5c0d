"""Memory that user space shares with programs: arrays and arenas."""

from __future__ import annotations

import errno
import gc
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import ebpf
from ebpf import ArenaMap, ArrayMap, MapFlags, MapType, PinFlags
from ebpf.codec import u16, u32
from tests.kernel.maps.support import dumped, increment, update
from tests.kernel.samples import in_child
from tests.objects import compiled


def shared(**options: Any) -> ArrayMap[Any]:
    options.setdefault("value", "Q")
    options.setdefault("max_entries", 10)
    flags = options.pop("flags", MapFlags.MMAPABLE)
    return ArrayMap.create(MapType.ARRAY, flags=flags, name="shared", **options)


def run(code: list[Any]) -> int:
    with ebpf.Program.load(ebpf.ProgramType.SOCKET_FILTER, code, license="GPL") as program:
        return program.test_run(bytes(14)).return_value


def mappings() -> int:
    """How many pieces of BPF maps are mapped into this process."""
    return Path("/proc/self/maps").read_text(encoding="ascii").count("bpf-map")


def test_both_sides_see_what_is_written() -> None:
    """The memory is a copy, or another slot's."""
    with shared() as m:
        memory = m.memory
        assert (memory.format, len(memory), memory.readonly) == ("Q", 10, False)
        memory[3] = 41
        assert m[3] == 41
        run(increment(m, 3))
        assert memory[3] == 42
        m[9] = 5
        assert memory[9] == 5
        assert memory.tolist() == list(m)
        assert dumped(m)[struct.pack("I", 3)] == struct.pack("Q", 42)


@pytest.mark.parametrize("letter", list("bBhHiIqQd"))
def test_slots_are_eight_bytes_apart(letter: str) -> None:
    """Values of fewer than 8 bytes are looked for side by side, where the kernel has gaps."""
    with shared(value=letter, max_entries=1000) as m:
        memory = m.memory
        assert (memory.format, len(memory)) == (letter, 1000)
        memory[1], memory[999] = 1, 100
        assert (m[1], m[999], m[0]) == (1, 100, 0)
        m[998] = 7
        assert memory[998] == 7


def test_numpy_shares_it() -> None:
    """numpy gets a copy, or other fields."""
    numpy = pytest.importorskip("numpy")

    @dataclass
    class Pair:
        a: u16
        b: u32

    Pair.__annotations__ = {"a": u16, "b": u32}
    with shared() as m, shared(value=Pair) as pairs, shared(value="I") as narrow:
        view = numpy.asarray(m.memory)
        view[:] = numpy.arange(10)
        assert list(m) == list(range(10))
        fields = pairs.memory_to_numpy()
        fields["b"] = numpy.arange(10)
        assert pairs[7] == Pair(0, 7)
        pairs[8] = Pair(9, 10)
        assert tuple(fields[8]) == (9, 10)
        assert len(pairs.memory) == 10 * 8
        numbers = narrow.memory_to_numpy()
        numbers[4] = 44
        assert numpy.asarray(narrow.memory)[4] == narrow[4] == 44
        del view, fields, numbers
        gc.collect()


def test_views_keep_the_memory_after_close() -> None:
    """A view of a closed map is unmapped memory, or the memory is never given back."""
    before = mappings()
    m = shared()
    m[1] = 11
    first, second = m.memory, m.memory[2:3]
    assert mappings() == before + 1
    m.close()
    with pytest.raises(ebpf.ClosedError, match=r"'shared'.*closed"):
        m.memory  # noqa: B018
    with pytest.raises(ebpf.ClosedError, match=r"closed"):
        m.memory_to_numpy()
    assert first[1] == 11
    first[2] = 22
    del first
    assert second[0] == 22
    assert mappings() == before + 1
    del second
    assert mappings() == before


def test_it_stays_mapped_while_the_map_is_open() -> None:
    """Each m.memory[i] maps the memory again, by a dozen system calls, or for ever."""
    before = mappings()
    with shared() as m:
        m.memory[3] = 7
        assert mappings() == before + 1
        with m.memory as view:
            assert view[3] == m.memory[3] == 7
        # Released is that view alone.
        assert m.memory[3] == 7
        assert mappings() == before + 1
    assert mappings() == before


def test_duplicates_have_one_mapping() -> None:
    """One of two objects keeps the map mapped, so that the other can't be frozen, or takes the
    memory from the other as it is closed."""
    before = mappings()
    with shared() as m:
        with m.duplicate() as other:
            m.memory[0], other.memory[1] = 5, 6
            assert mappings() == before + 1
        assert m.memory.tolist()[:2] == [5, 6]
        assert mappings() == before + 1
        with m.duplicate() as other:
            other.freeze()
        assert m.memory.readonly
        assert m.memory[1] == 6


def test_a_forked_child_keeps_no_memory_mapped() -> None:
    """A child that does not use the memory keeps its parent from freezing the map."""
    before = mappings()
    with shared() as m, shared() as held:
        m.memory[0] = 5
        view = held.memory

        def use() -> None:
            assert mappings() == before + 1
            m.memory[0] += 1
            view[0] = 7

        assert in_child(use) == 0
        assert (m.memory[0], held[0]) == (6, 7)
        m.freeze()


def test_frozen_memory_is_read_only() -> None:
    """A frozen map can be written through its memory, or a mapped one can be frozen."""
    with shared() as m:
        memory = m.memory
        memory[0] = 5
        with pytest.raises(ebpf.BpfError, match=r"freeze .*'shared'.* is mapped for writing") as e:
            m.freeze()
        assert e.value.errno == errno.EBUSY
        del memory
        m.freeze()
        memory = m.memory
        assert memory.readonly
        assert memory[0] == 5
        with pytest.raises(TypeError, match="read-only"):
            memory[0] = 6
        # Programs still may.
        run(update(m, 0, 7))
        assert memory[0] == 7


def test_memory_that_was_never_writable(bpffs: Path) -> None:
    """The errors for descriptors that may not be mapped don't say so; constants are writable."""
    with shared() as m:
        m.pin(bpffs / "shared")
        with (
            ArrayMap.open(bpffs / "shared", value="Q", flags=PinFlags.RDONLY) as reader,
            pytest.raises(ebpf.BpfError, match=r"maps no map that was opened read-only"),
        ):
            reader.memory  # noqa: B018
        with (
            ArrayMap.open(bpffs / "shared", value="Q", flags=PinFlags.WRONLY) as writer,
            pytest.raises(ebpf.BpfPermissionError, match=r"'shared'.*opened write-only"),
        ):
            writer.memory  # noqa: B018
    with shared(flags=MapFlags.MMAPABLE | MapFlags.RDONLY_PROG) as constants:
        assert constants.memory.readonly


def test_what_has_no_memory_says_so() -> None:
    """The error of mmap, which is about descriptors, is passed on."""
    with (
        shared(flags=MapFlags(0)) as m,
        ArrayMap.create(MapType.PERCPU_ARRAY, value="Q", max_entries=1) as per_cpu,
    ):
        with pytest.raises(ebpf.BpfError, match=r"created without flags=MapFlags.MMAPABLE"):
            m.memory  # noqa: B018
        # There is no remedy.
        with pytest.raises(ebpf.BpfError, match=r"maps that of an ARRAY, not of a PERCPU_ARRAY"):
            per_cpu.memory  # noqa: B018


def test_an_arena_is_memory_of_both() -> None:
    """A program does not see what user space wrote into an arena (6.9), or writes elsewhere."""
    with ArenaMap.create(max_entries=4, name="arena") as arena:
        memory, address = arena.memory, arena.address
        assert (len(memory), memory.readonly, memory.format) == (4 * 4096, False, "B")
        assert bytes(memory[:64]) == bytes(64)
        memory[4096:4104] = struct.pack("Q", 99)
        spec = ebpf.CollectionSpec.from_file(compiled("arena_peek"))
        with spec.load(maps={"arena": arena}) as objects:
            where = struct.pack("QQ", address + 4096, address + 3 * 4096 + 8)
            memory[3 * 4096] = 1
            objects.programs["add_one"].test_run(ctx=where)
        assert struct.unpack("Q", memory[3 * 4096 + 8 : 3 * 4096 + 16]) == (100,)


def test_an_arenas_memory_outlives_it() -> None:
    """A view of a closed arena is unmapped memory, or stays mapped for ever."""
    before = mappings()
    arena = ArenaMap.create(max_entries=2, map_extra=1 << 44, name="arena")
    memory = arena.memory
    assert arena.address == 1 << 44
    memory[0] = 7
    with (
        ArenaMap.from_id(arena.info().id) as same,
        pytest.raises(ebpf.BpfError, match=r"at its address 0x100000000000 is mapped already"),
    ):
        same.memory  # noqa: B018
    arena.close()
    with pytest.raises(ebpf.ClosedError):
        arena.memory  # noqa: B018
    assert memory[0] == 7
    del memory
    assert mappings() == before


def test_an_arena_that_is_mapped_again_is_where_it_was() -> None:
    """The kernel has one place for it: where something else is there meanwhile, the arena is lost,
    and its pointers lead to that."""
    before = mappings()
    with ArenaMap.create(max_entries=2, name="arena") as arena:
        address = arena.address
        others = [mmap.mmap(-1, 2 * mmap.PAGESIZE) for _ in range(10)]
        arena.memory[0] = 7
        assert (arena.address, arena.memory[0]) == (address, 7)
        assert mappings() == before + 1
    assert mappings() == before
    for other in others:
        other.close()


def test_duplicates_of_an_arena_have_one_mapping() -> None:
    """The kernel refuses the second one, wherever it is to be; or closing the first takes the
    memory from the second."""
    with ArenaMap.create(max_entries=2, name="arena") as arena:
        early = arena.duplicate()
        arena.memory[0] = 7
        late, address = arena.duplicate(), arena.address
    with early, late:
        late.memory[1] = 8
        assert bytes(early.memory[:2]) == b"\7\10"
        assert early.address == late.address == address
        with (
            ArenaMap.from_id(late.info().id) as same,
            pytest.raises(ebpf.BpfError, match=r"the kernel does not tell.*map_extra=ADDRESS"),
        ):
            same.memory  # noqa: B018


def test_a_forked_child_has_the_arena_too() -> None:
    """Newer kernels leave it out of a child, which then ends by a signal, or unmaps what it has
    there instead."""
    with ArenaMap.create(max_entries=2, name="arena") as arena:
        views = [arena.memory]
        views[0][0] = 7

        def use() -> None:
            assert views[0][0] == 7
            views[0][1] = 8
            views.clear()
            assert bytes(arena.memory[:2]) == b"\7\10"

        def use_again() -> None:
            arena.memory[1] = 9

        assert in_child(use) == 0
        assert views[0][1] == 8
        # Nobody has a view: the arena is there all the same.
        views.clear()
        assert in_child(use_again) == 0
        views.append(arena.memory)
        assert views[0][1] == 9
        arena.close()

        def drop() -> None:
            # Where the kernel left it out, the child cannot have it back without the map.
            views.clear()

        assert in_child(drop) == 0
        assert views[0][1] == 9
