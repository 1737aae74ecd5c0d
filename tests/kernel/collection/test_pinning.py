"""Maps that objects want to be pinned."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ebpf
from ebpf import pin
from ebpf.collection import maps as creating
from ebpf.spec import CollectionSpec, Iproute2, MapSpec
from tests.objects import compiled


@pytest.fixture
def root(bpffs: Path) -> Iterator[Path]:
    """A directory to pin below, emptied afterwards."""
    yield bpffs
    for folder, _, names in os.walk(bpffs, topdown=False):
        for name in names:
            os.unlink(os.path.join(folder, name))
        if folder != str(bpffs):
            os.rmdir(folder)


def test_iproute2_shares_maps_where_tc_looks(root: Path) -> None:
    """A map in another place is not the one that tc and other loaders share."""
    spec = CollectionSpec.from_file(compiled("iproute2_maps"))
    with spec.load(pin_root=str(root)) as first:
        shared: Any = first.maps["shared"]
        shared[bytes(4)] = bytes(range(8))
    assert (root / "tc" / "globals" / "shared").exists()
    with spec.load(pin_root=str(root)) as second:
        shared = second.maps["shared"]
        assert shared[bytes(4)] == bytes(range(8))


def test_an_unknown_namespace_of_iproute2(root: Path) -> None:
    """A guess would make a map that nobody else finds."""
    spec = CollectionSpec.from_file(compiled("iproute2_maps"))
    spec.maps["shared"].iproute2 = Iproute2(0, 1, 0, -1)
    with pytest.raises(ebpf.BpfError, match=r"'shared'.*pinning 1 is not known; set pin_path"):
        spec.load(pin_root=str(root))
    spec.maps["shared"].pin_path = str(root / "mine")
    with spec.load(pin_root=str(root)):
        assert (root / "mine").exists()


def test_a_pinned_map_is_used_again(root: Path) -> None:
    """A map that is made anew loses what the last run left in it; another one cannot be used."""
    spec = CollectionSpec.from_file(compiled("maps"))
    with spec.load(pin_root=str(root)) as first:
        number = first.maps["pinned"].info().id
    with spec.load(pin_root=str(root)) as second:
        assert second.maps["pinned"].info().id == number
    spec.maps["pinned"].max_entries += 1
    with pytest.raises(ebpf.BpfError, match=r"pinned at .*/pinned cannot be used.*max_entries"):
        spec.load(pin_root=str(root))


def test_data_that_is_pinned_keeps_its_values(root: Path) -> None:
    """Variables of a map that was there already must not start anew."""
    spec = CollectionSpec.from_file(compiled("tracer"))
    spec.maps[".data"].pin_path = str(root / "data")
    spec.select()
    with spec.load(pin_root=str(root), kconfig={"CONFIG_BPF": True}) as first:
        first.variables["counter"].value = 1234
    with spec.load(pin_root=str(root), kconfig={"CONFIG_BPF": True}) as second:
        assert second.variables["counter"].value == 1234


def test_slots_hold_what_the_object_says(root: Path) -> None:
    """A slot with another map or program is another lookup or tail call."""
    spec = CollectionSpec.from_file(compiled("iproute2_maps"))
    with spec.load(pin_root=str(root)) as objects:
        outside: Any = objects.maps["outside"]
        assert dict(outside.items()) == {3: objects.maps["inside"].info().id}


def test_a_load_that_fails_leaves_no_pins(root: Path) -> None:
    """The next load, of the object as it was mended, would be refused by what is left."""
    spec = CollectionSpec.from_file(compiled("iproute2_maps"))
    spec.maps["outside"].pin_path = str(root / "outside")
    spec.maps["inside"].pin_path = str(root / "inside")
    with ebpf.Map.create(ebpf.MapType.ARRAY, key="I", value="I", max_entries=1) as mine:
        mine.pin(root / "inside")
    # The program uses it, and is refused without.
    spec.maps["shared"].autocreate = False
    with pytest.raises(ebpf.VerifierError):
        spec.load(pin_root=str(root))
    # What was there before the load is not the load's to remove.
    assert os.listdir(root) == ["inside"]


def test_a_pin_that_cannot_be_removed_leaves_no_other(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All those behind it would stay; one that is gone already is no failure of the load."""
    spec = CollectionSpec.from_file(compiled("iproute2_maps"))
    spec.maps["outside"].pin_path = str(root / "outside")
    spec.maps["inside"].pin_path = str(root / "inside")
    spec.maps["shared"].autocreate = False
    real, asked = pin.unpin, list[str]()

    def once(path: str) -> None:
        asked.append(path)
        if len(asked) == 1:
            raise ebpf.BpfPermissionError(errno.EACCES, f"unpin: {path}")
        os.unlink(path)
        real(path)

    monkeypatch.setattr("ebpf.collection.loader.unpin", once)
    with pytest.raises(ebpf.BpfPermissionError, match="unpin") as caught:
        spec.load(pin_root=str(root))
    assert isinstance(caught.value.__context__, ebpf.VerifierError)
    assert len(asked) == 2
    assert os.listdir(root) == [os.path.basename(asked[0])]


def test_slots_of_a_map_that_was_there_are_left_alone(root: Path) -> None:
    """The inner map in use, and what it holds, would be replaced under everybody's feet."""
    spec = CollectionSpec.from_file(compiled("iproute2_maps"))
    spec.maps["outside"].pin_path = str(root / "outside")
    with spec.load(pin_root=str(root)) as first:
        outside: Any = first.maps["outside"]
        with ebpf.Map.create(ebpf.MapType.ARRAY, key="I", value="I", max_entries=1) as mine:
            outside[3] = mine
            number = mine.info().id
        with spec.load(pin_root=str(root)):
            assert dict(outside.items()) == {3: number}


def test_a_map_that_another_process_pins_first_is_used(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that load the same object at once would not share the map, or one would fail."""
    spec = CollectionSpec.from_file(compiled("iproute2_maps"))
    spec.maps["inside"].pin_path = str(root / "inside")
    make, others = creating._make, []

    def late(spec: MapSpec, *rest: Any) -> Any:
        if spec.name == "inside" and not others:
            others.append(make(spec, *rest))
            others[0].pin(root / "inside")
        return make(spec, *rest)

    monkeypatch.setattr(creating, "_make", late)
    with spec.load(pin_root=str(root)) as objects:
        assert objects.maps["inside"].info().id == others[0].info().id
    others[0].close()


def test_a_pinned_map_that_vanishes_is_made_anew(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process that unpins at its end would make this load fail."""
    spec = CollectionSpec.from_file(compiled("iproute2_maps"))
    spec.maps["inside"].pin_path = str(root / "inside")
    with spec.load(pin_root=str(root)):
        pass
    reuse = creating._reuse

    def late(spec: MapSpec, btf: Any, path: str) -> Any:
        os.unlink(path)
        return reuse(spec, btf, path)

    with monkeypatch.context() as patched:
        patched.setattr(creating, "_reuse", late)
        spec.maps["shared"].pin_path = str(root / "other")
        with spec.load(pin_root=str(root)) as objects:
            assert (root / "inside").exists()
            assert objects.maps["inside"].info().max_entries == 1


def test_a_slot_for_a_map_that_was_not_created(root: Path) -> None:
    """A slot that stays empty is a lookup that fails, in programs that count on it."""
    spec = CollectionSpec.from_file(compiled("iproute2_maps"))
    spec.maps["inside"].autocreate = False
    with pytest.raises(ebpf.RelocationError, match=r"'outside': slot 3.*'inside'.*autocreate"):
        spec.load(pin_root=str(root))
    spec.maps["outside"].slots.clear()
    spec.load(pin_root=str(root)).close()
