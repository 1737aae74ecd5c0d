"""Variables in an arena."""

from __future__ import annotations

import struct

import pytest

import ebpf
from ebpf.spec import CollectionSpec
from tests.objects import compiled


@pytest.fixture
def spec() -> CollectionSpec:
    return CollectionSpec.from_file(compiled("arena_load"))


@pytest.mark.parametrize("address", [1 << 44, 0])
def test_both_sides_see_the_variables(spec: CollectionSpec, address: int) -> None:
    """Data in another place than the program's instructions name would be zeros."""
    spec.maps["arena"].map_extra = address
    spec.variables["step"].value = 5
    with spec.load() as objects:
        assert objects.variables["total"].value == 4
        objects.programs["add"].test_run()
        objects.variables["step"].value = 7
        objects.programs["add"].test_run()
        assert objects.variables["total"].value == 4 + 5 + 7
        assert objects.variables["zero"].value == objects.variables["runs"].value == 2


def test_what_is_mapped_already_stays(spec: CollectionSpec) -> None:
    """Two arenas at one address: the second must not take the memory of the first away."""
    with spec.load() as first:
        with pytest.raises(ebpf.BpfError, match=r"map the memory of .*'arena'.* is mapped already"):
            spec.load()
        assert first.variables["total"].value == 4


def test_the_map_has_the_memory_too(spec: CollectionSpec) -> None:
    """The kernel maps an arena once in a process: what a program allocates in it would be out of
    reach."""
    with spec.load() as objects:
        arena = objects.maps["arena"]
        memory = arena.memory
        assert (len(memory), arena.address) == (8 * 4096, 1 << 44)
        objects.programs["add"].test_run()
        at = bytes(memory).index(struct.pack("Q", 7))
        memory[at : at + 8] = struct.pack("Q", 50)
        assert objects.variables["total"].value == 50
    # What is left of it is this view's.
    assert memory[at] == 50
    memory.release()


def test_closed_memory_is_not_read(spec: CollectionSpec) -> None:
    """Reading what is unmapped would end the process."""
    with spec.load() as objects:
        total = objects.variables["total"]
    with pytest.raises(ebpf.ClosedError):
        total.value  # noqa: B018


def test_too_small(spec: CollectionSpec) -> None:
    """Variables beyond the arena's end would be written to memory of somebody else."""
    spec.maps["arena"].contents = bytearray(9 * 4096)
    with pytest.raises(ebpf.RelocationError, match=r"8 pages is too small.*max_entries"):
        spec.load()
