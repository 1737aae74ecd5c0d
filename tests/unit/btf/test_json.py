"""JSON, judged by bpftool's."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from ebpf.btf import Btf
from ebpf.btf import types as t
from ebpf.btf.build import BtfBuilder
from ebpf.btf.json import to_json, type_row

from .blob import btf_section
from .conftest import VMLINUX
from .strategies import type_lists


def bpftool_rows(bpftool: str, path: Path) -> list[dict[str, Any]]:
    command = [bpftool, "-j", "btf", "dump", "file", str(path)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows: list[dict[str, Any]] = json.loads(text)["types"]
    return rows


def assert_as_bpftool(btf: Btf, expected: list[dict[str, Any]]) -> None:
    rows = json.loads(to_json(btf))["types"]
    assert len(rows) == len(expected) > 0
    for row, other in zip(rows, expected, strict=True):
        if row["kind"] == "ENUM" and row["encoding"] == "UNSIGNED":
            for value in other["values"]:
                value["val"] &= 0xFFFFFFFF  # bpftool extends the sign of unsigned values
        if "encoding" in row and "encoding" not in other:
            assert row.pop("encoding") in ("SIGNED", "UNSIGNED")  # written since bpftool 7.1
        assert row == other


@pytest.mark.parametrize("target", ["bpfel", "bpfeb"])
def test_every_kind_is_written_as_bpftool_writes_it(
    target: str, bpftool: str, compile_bpf: Callable[[str], Path]
) -> None:
    """Fails when a key or value of any kind differs from bpftool's."""
    path = compile_bpf(target)
    btf = Btf(btf_section(path))
    assert_as_bpftool(btf, bpftool_rows(bpftool, path))
    kinds = {row["kind"] for row in json.loads(to_json(btf))["types"]}
    assert kinds == {kind.name for kind in t.Kind} - {"VOID"}


def test_the_kernels_types_are_written_as_bpftool_writes_them(bpftool: str, vmlinux: bytes) -> None:
    """Fails when any type of the kernel differs from bpftool's."""
    assert_as_bpftool(Btf(vmlinux), bpftool_rows(bpftool, VMLINUX))


@given(type_lists())
def test_random_types_are_json(types: list[t.Type]) -> None:
    """Fails when a type gives no JSON, or types are missing in it."""
    builder = BtfBuilder("little")
    for type in types:
        builder.add(type)
    rows = json.loads(to_json(builder.to_btf()))["types"]
    assert [(row["id"], row["kind"]) for row in rows] == [
        (number, type.kind.name) for number, type in enumerate(types, 1)
    ]


def test_a_kind_that_is_not_known() -> None:
    """Fails when a type of a newer format cannot be shown."""
    type = t.Unknown(id=3, name="new", kind_number=40, vlen=1, size_or_type=2, body=b"\1\2")
    assert type_row(type) == {
        "id": 3,
        "kind": "UNKNOWN_40",
        "name": "new",
        "vlen": 1,
        "size_or_type": 2,
        "body": "0102",
    }
