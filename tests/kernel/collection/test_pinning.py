"""Maps that objects want to be pinned."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ebpf
from ebpf.spec import CollectionSpec, Iproute2
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
