"""Two objects linked into one, loaded and run; libbpf's linker and loader beside them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import ebpf
from ebpf.elf.linker import link
from ebpf.kernel_btf import kernel_btf
from ebpf.spec import CollectionSpec
from tests.kernel.conformance.compare import differences, with_ebpf, with_libbpf
from tests.objects import compiled

PACKET = bytes(64)
# libbpf looks for the kernel's configuration, which guests do not have, until it has all options.
KCONFIG = {"CONFIG_BPF_SYSCALL_MISSING": "0"}


def paths() -> list[Path]:
    return [compiled("link_main"), compiled("link_parts")]


def linked(folder: Path) -> Path:
    """The file that this library's linker makes of them."""
    path = folder / "both.bpf.o"
    path.write_bytes(link([(one.name, one.read_bytes()) for one in paths()]))
    return path


def run(*names: str, order: int = 1) -> tuple[dict[str, int], list[int]]:
    """What the programs return, and what all of them leave in ``out``."""
    spec = CollectionSpec.from_files(paths()[::order])
    spec.select("main_target", *names)
    with spec.load() as objects:
        objects.maps["parts_map"][1] = {"count": 77, "name": b"shared"}
        returned = {name: objects.programs[name].test_run(PACKET).return_value for name in names}
        return returned, list(objects.variables["out"].value)


def test_each_half_runs_what_the_other_has() -> None:
    """A call, value or map that is taken from the wrong object, or from nowhere."""
    returned, out = run("main_entry", "parts_entry")
    assert returned == {"main_entry": 1, "parts_entry": 2}
    # hits: 100 + 1 in main; parts: 200 + 2, then main again: 101 + 2, with the constant 1000.
    assert out[0] == 101
    assert out[1] == 202 + 103 + 1000
    assert out[2] == (202 + 3) * 2
    assert out[3:11] == [12, 21, 70, 1, 0, 6, 77, 2]
    assert (out[11], out[12], out[14]) == (11, 1, ord("main text"[6]))
    assert (out[16], out[17], out[18]) == (206, 32, 41)
    assert out[19:26] == [70, 1, 0, 77, 6, 22, 2]
    assert out[26] == ord("text of parts"[6])
    assert out[13] == out[27] > 0
    assert out[15] == 0


def test_the_first_of_two_weak_ones_counts() -> None:
    """Which one it is must depend on the order only, and be the same for both halves."""
    _, out = run("main_entry", "parts_entry", order=-1)
    assert (out[4], out[18]) == (22, 42)
    assert (out[6], out[20]) == (2, 2)
    assert (out[3], out[5]) == (12, 70)


def test_maps_hold_the_maps_and_programs_of_their_object() -> None:
    """Slots of the second object that are written to the places of the first."""
    spec = CollectionSpec.from_files(paths())
    spec.select("main_target", "main_maps", "parts_maps")
    with spec.load() as objects:
        # The tail call ends in main_target.
        assert objects.programs["main_maps"].test_run(PACKET).return_value == 5
        assert objects.programs["parts_maps"].test_run(PACKET).return_value == 1
        assert (objects.maps["main_map"][0], objects.maps["other_map"][0]) == (3, 4)


def test_fields_are_found_by_the_types_of_each_object() -> None:
    """A relocation that means another object's type of the same name reads another field."""
    _, out = run("main_offsets", "parts_offsets")
    wanted = kernel_btf().find_struct("task_struct").offsetof("tgid")
    assert (out[30], out[31]) == (wanted, wanted)


def test_callbacks_of_one_name_are_two() -> None:
    """Static functions are found by their distance in a section that has grown."""
    if not ebpf.features.helper("for_each_map_elem", ebpf.ProgramType.SOCKET_FILTER):
        raise ebpf.NotSupportedError("bpf_for_each_map_elem", (5, 13))
    _, out = run("main_callback", "parts_callback")
    assert (out[28], out[29]) == (1, 10)


@pytest.mark.parametrize("program", ["main_entry", "parts_entry", "main_maps", "main_offsets"])
def test_the_kernel_gets_the_same_from_libbpf(tmp_path: Path, program: str) -> None:
    """What was linked here is an object file for any loader."""
    chosen = ["main_target", program]
    path = linked(tmp_path)
    theirs, ours = with_libbpf(path, chosen, KCONFIG), with_ebpf(path, chosen, KCONFIG)
    assert not theirs.error, theirs.log
    assert differences(theirs, ours) == []


def test_what_bpftool_links_is_the_same_to_the_kernel(tmp_path: Path) -> None:
    """bpftool's BTF has variables out of order and out of place, which kernels refuse."""
    path = tmp_path / "bpftool" / "both.bpf.o"
    path.parent.mkdir()
    subprocess.run(["bpftool", "gen", "object", path, *paths()], check=True)
    chosen = ["main_target", "main_entry", "parts_entry"]
    theirs, ours = (with_ebpf(one, chosen, KCONFIG) for one in (path, linked(tmp_path)))
    assert not ours.error
    for one in (*theirs.maps, *ours.maps):
        # The linkers order types differently.
        one["types"] = bool(one.pop("key_type_id")), bool(one.pop("value_type_id"))
    assert differences(theirs, ours) == []


def test_an_extern_that_is_not_linked_is_explained() -> None:
    """ "Invalid argument" tells nobody that an object is missing."""
    spec = CollectionSpec.from_file(paths()[0])
    spec.select("main_entry")
    with pytest.raises(ebpf.LinkError, match=r"'main_entry' .*'parts_map'.*from_files"):
        spec.load()
