"""What is changed in a Spec before it is loaded, shown by what the programs then do."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

import ebpf
from ebpf.asm import R0, exit_, mov
from ebpf.spec import CollectionSpec
from tests.kernel.samples import bpftool
from tests.objects import compiled

PACKET = bytes(64)


@pytest.fixture
def spec() -> CollectionSpec:
    return CollectionSpec.from_file(compiled("rewrite"))


def test_programs_use_the_map_that_was_given(spec: CollectionSpec) -> None:
    """A program that keeps a map of its own counts where nobody looks."""
    counts: Any = ebpf.Map.create(ebpf.MapType.HASH, key="I", value="Q", max_entries=8)
    with counts:
        for run in range(2):
            with spec.load(maps={"counts": counts}) as objects:
                objects.programs["count"].test_run(PACKET)
                used = bpftool("prog", "show", "id", str(objects.programs["count"].info().id))
                assert counts.info().id in used["map_ids"]
            assert dict(counts) == {0: run + 1}


def test_variables_live_in_the_data_map_that_was_given(spec: CollectionSpec) -> None:
    """Two collections that share their variables must see each other's values."""
    with (
        spec.load() as first,
        spec.load(maps={".bss": first.maps[".bss"]}) as second,
    ):
        first.programs["count"].test_run(PACKET)
        second.programs["count"].test_run(PACKET)
        assert first.variables["runs"].value == second.variables["runs"].value == 2
        second.variables["runs"].value = 10
        assert first.variables["runs"].value == 10


def test_a_map_that_was_given_has_to_fit(spec: CollectionSpec) -> None:
    """The verifier would check the programs against another layout."""
    for options, problem in (
        ({"type": ebpf.MapType.LRU_HASH}, "its type is"),
        ({"key": "Q"}, "its key_size is 8, the object has 4"),
        ({"max_entries": 9}, "its max_entries is 9, the object has 8"),
        ({"flags": ebpf.MapFlags.NO_PREALLOC}, "its flags is"),
    ):
        wanted: Any = {"type": ebpf.MapType.HASH, "key": "I", "value": "Q", "max_entries": 8}
        with (
            ebpf.Map.create(**(wanted | options)) as other,
            pytest.raises(ebpf.BpfError, match=f"'counts': {problem}"),
        ):
            spec.load(maps={"counts": other})


def test_a_map_for_no_map_of_the_object(spec: CollectionSpec) -> None:
    """A name with a slip would leave the caller's map without effect."""
    with (
        ebpf.Map.create(ebpf.MapType.HASH, key="I", value="Q", max_entries=8) as counts,
        pytest.raises(KeyError, match=r"maps: the object has no 'count'; it has .*counts"),
    ):
        spec.load(maps={"count": counts})


def test_the_size_of_a_map(spec: CollectionSpec) -> None:
    """A size that is only in the Spec would let the ninth entry fail."""
    spec.maps["counts"].max_entries = 9
    with spec.load() as objects:
        counts: Any = objects.maps["counts"]
        counts.update(dict.fromkeys(range(9), 0))
        with pytest.raises(ebpf.BpfError, match="max_entries is 9"):
            counts[9] = 0


def test_the_type_of_a_map(spec: CollectionSpec) -> None:
    """An LRU map takes any number of entries."""
    spec.maps["counts"].type = ebpf.MapType.LRU_HASH
    with spec.load() as objects:
        counts: Any = objects.maps["counts"]
        counts.update(dict.fromkeys(range(100), 0))
        objects.programs["count"].test_run(PACKET)
        assert counts[0] == 1


def test_only_chosen_programs_are_loaded(spec: CollectionSpec) -> None:
    """The kernel must not be asked for what the user left out, which it may refuse."""
    spec.programs["by_btf"].target = "no_such_event"
    with pytest.raises(FileNotFoundError, match="no_such_event"):
        spec.load()
    spec.select("count")
    with spec.load() as objects:
        assert list(objects.programs) == ["count"]
    with pytest.raises(KeyError, match=r"'missing'.*its programs: last, count"):
        spec.select("count", "missing")


def test_a_tail_call_to_a_program_that_is_left_out(spec: CollectionSpec) -> None:
    """Its slot stays empty, and the call falls through."""
    with spec.load() as objects:
        assert objects.programs["jump"].test_run(PACKET).return_value == 77
    spec.select("jump")
    with spec.load() as objects:
        assert objects.programs["jump"].test_run(PACKET).return_value == 1


def test_another_program_type(spec: CollectionSpec) -> None:
    """The section's name is not the last word."""
    spec.select("count")
    spec.programs["count"].type = ebpf.ProgramType.SCHED_CLS
    with spec.load() as objects:
        assert objects.programs["count"].info().type is ebpf.ProgramType.SCHED_CLS
        objects.programs["count"].test_run(PACKET)
        assert objects.variables["runs"].value == 1


@pytest.mark.parametrize("event", ["sched_process_exec", "sched_process_fork"])
def test_another_event(spec: CollectionSpec, event: str, true_command: list[str]) -> None:
    """A program that stays with the section's event counts nothing, or counts something else."""
    spec.select("on_event")
    assert spec.programs["on_event"].target == "sys_exit"
    spec.programs["on_event"].target = event
    spec.variables["parent"].value = os.getpid()
    with spec.load() as objects:
        with objects.programs["on_event"].attach():
            assert objects.variables["events"].value == 0
            os.getppid()
            assert objects.variables["events"].value == 0
            subprocess.run(true_command, check=True)
        assert objects.variables["events"].value >= 1


def test_another_hook_by_btf(spec: CollectionSpec) -> None:
    """What the kernel checks at load is the changed target's arguments, not the section's."""
    spec.select("by_btf")
    with spec.load() as objects:
        assert objects.programs["by_btf"].info().id
    spec.programs["by_btf"].target = "no_such_event"
    with pytest.raises(FileNotFoundError, match="tracepoint no_such_event"):
        spec.load()
    # It reads a second argument, which this one does not have.
    spec.programs["by_btf"].target = "sched_process_exit"
    with pytest.raises(ebpf.VerifierError, match="by_btf"):
        spec.load()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"max_entries": 9}, "max_entries is 8, the object has 9"),
        ({"value_size": 4, "value_type_id": 0}, "value_size is 8, the object has 4"),
        ({"type": ebpf.MapType.LRU_HASH}, "type is"),
        ({"flags": ebpf.MapFlags.NO_PREALLOC}, "flags is"),
    ],
)
def test_a_pinned_map_has_to_fit(
    spec: CollectionSpec, bpffs: Path, change: dict[str, Any], problem: str
) -> None:
    """A pinned map of another layout would be read as if it had this one."""
    spec.select("count")
    spec.maps["counts"].pin_path = str(bpffs / "counts")
    with spec.load() as first:
        first.programs["count"].test_run(PACKET)
    with spec.load() as second:
        second.programs["count"].test_run(PACKET)
        counts: Any = second.maps["counts"]
        assert dict(counts) == {0: 2}
    spec.select()
    for name, value in change.items():
        setattr(spec.maps["counts"], name, value)
    with pytest.raises(ebpf.BpfError, match=rf"pinned at .*counts cannot be used.*{problem}"):
        spec.load()


def test_another_object_at_the_pin(spec: CollectionSpec, bpffs: Path) -> None:
    """A program that is pinned there is no map."""
    spec.maps["counts"].pin_path = str(bpffs / "counts")
    code = [mov(R0, 0), exit_()]
    with ebpf.Program.load(ebpf.ProgramType.SOCKET_FILTER, code) as program:
        program.pin(bpffs / "counts")
        with pytest.raises(ebpf.BpfError, match="is a program, not a map"):
            spec.load()


def test_a_map_that_was_taken_out(spec: CollectionSpec) -> None:
    """A program that uses it fails inside of this library, without the map's name."""
    spec.maps.pop("counts")
    with pytest.raises(ebpf.RelocationError, match=r"'counts'.*keep it .*autocreate = False$"):
        spec.load()


def test_names_that_a_collection_does_not_have(spec: CollectionSpec) -> None:
    """A slip in a name gives a bare KeyError."""
    with spec.load() as objects:
        for names, there in ((objects.maps, "counts"), (objects.programs, "count")):
            with pytest.raises(KeyError, match=rf"no \w+ 'typo'; there are: .*{there}"):
                names["typo"]
        with pytest.raises(KeyError, match=r"no variable 'typo'; there are: .*runs"):
            objects.variables["typo"]
