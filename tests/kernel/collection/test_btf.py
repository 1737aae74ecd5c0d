"""BTF in the kernel: whole where the kernel knows it, and no less of it than need be elsewhere.

What a kernel knows is dated by its release here and probed by the library; what it then has is
told by bpftool.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ebpf
from ebpf._sys import bpf
from ebpf._sys.call import Attribute
from ebpf.btf import Btf
from ebpf.btf import types as t
from ebpf.btf.build import BtfBuilder
from ebpf.btf.sanitize import Feature, probe_blob
from ebpf.collection.arena import far_offsets
from ebpf.collection.btf import knows_context_tags, load_btf, missing_features
from ebpf.features import clear_cache
from ebpf.spec import CollectionSpec
from tests.kernel import environment
from tests.objects import compiled

LACKING = {f for f in Feature if f.minimum_version > environment.kernel_version()}

# Kind -> the feature that it takes, and what stands for it where the kernel lacks that.
REPLACED = {
    "FLOAT": (Feature.FLOAT, "STRUCT"),
    "DECL_TAG": (Feature.DECL_TAG, "INT"),
    "TYPE_TAG": (Feature.TYPE_TAG, "CONST"),
    "ENUM64": (Feature.ENUM64, "UNION"),
}

Types = list[dict[str, Any]]


def dumped(*what: str) -> Types:
    """The types of a file or of BTF in the kernel, as bpftool tells them."""
    text = subprocess.check_output(["bpftool", "-j", "btf", "dump", *what], text=True)
    # On 5.10 what bpftool asks too much for stands before it, as an object of its own.
    types: Types = json.loads(text[text.index('{"types"') :])["types"]
    return types


def in_kernel(fd: int) -> Types:
    """The types of the BTF behind the descriptor."""
    text = Path(f"/proc/self/fdinfo/{fd}").read_text(encoding="ascii")
    number = text.partition("btf_id:")[2].split()[0]
    return dumped("id", number)


@pytest.fixture
def objects() -> Iterator[ebpf.Collection]:
    with CollectionSpec.from_file(compiled("btf_kinds")).load() as loaded:
        yield loaded


def test_the_probes_say_what_the_release_says() -> None:
    """A probe that is wrong takes types away for nothing, or has the kernel refuse them all."""
    clear_cache()
    assert missing_features() == LACKING


def test_an_object_keeps_every_kind_that_the_kernel_has(objects: ebpf.Collection) -> None:
    """Types that are replaced without need are lost to bpftool and to everyone who prints."""
    number = objects.programs["reads"].info().btf_id
    assert number
    kept = dumped("id", str(number))
    meant = dumped("file", str(compiled("btf_kinds")))
    # What a compiler writes, for this test to show anything.
    assert {type["kind"] for type in meant} >= set(REPLACED)
    for before, after in zip(meant, kept, strict=False):
        feature, other = REPLACED.get(before["kind"], (None, before["kind"]))
        expected = other if feature in LACKING else before["kind"]
        assert (before["id"], expected) == (after["id"], after["kind"])
        # Kernels refuse some names, so what replaces a float has none.
        if before["kind"] not in ("FLOAT", "TYPE_TAG") or feature not in LACKING:
            assert before["name"] == after["name"]
    assert len(kept) - len(meant) == (Feature.ENUM64 in LACKING)


def test_values_of_a_map_keep_their_place(objects: ebpf.Collection) -> None:
    """Where a replaced type had another size, bpftool and the verifier would see other fields."""
    members: Any = objects.maps["members"]
    info = members.info()
    assert info.btf_value_type_id
    types = {type["id"]: type for type in dumped("id", str(info.btf_id))}
    value = types[info.btf_value_type_id]
    assert (value["kind"], value["size"]) == ("STRUCT", info.value_size)
    offsets = {member["name"]: member["bits_offset"] // 8 for member in value["members"]}
    assert offsets == {
        "ratio": 0, "exact": 8, "tagged": 16, "pointer": 24, "wide": 32, "with_sign": 40,
    }  # fmt: skip
    members[7] = {"ratio": 1.5, "exact": 2.5, "tagged": 40, "wide": 1 << 40, "with_sign": -1}
    assert objects.programs["reads"].test_run(ctx=bytes(16)).return_value == 39
    del members[7]
    assert objects.programs["reads"].test_run(ctx=bytes(16)).return_value == 0
    assert objects.variables["wide"].value == 1 << 40


def test_functions_and_lines_are_there_whatever_was_replaced(objects: ebpf.Collection) -> None:
    """They refer to types by number: one that moved would be refused, or none be attached."""
    number = objects.programs["reads"].info().id
    dump = ["bpftool", "-j", "prog", "show", "id", str(number)]
    assert json.loads(subprocess.check_output(dump))["btf_id"]
    code = ["bpftool", "prog", "dump", "xlated", "id", str(number), "linum"]
    text = subprocess.check_output(code, text=True)
    assert "int reads(void * context):" in text
    assert "of_map(struct member * value)" in text
    assert "return value->tagged + value->with_sign;" in text


def of_feature(feature: Feature) -> bytes:
    """A struct with members, and behind it what the feature is about."""
    builder = BtfBuilder()
    number = builder.add(t.Int(name="int", size=4, bits=32, encoding=t.IntEncoding.SIGNED))
    builder.add(t.Struct(name="before", size=4, members=(t.Member("x", number, 0),)))
    builder.add_all(Btf(probe_blob(feature)))
    return builder.to_bytes()


@pytest.mark.parametrize("feature", Feature)
def test_each_feature_alone(feature: Feature) -> None:
    """What is replaced for one feature must not depend on another one being missing."""
    data = probe_blob(feature) if feature is Feature.LAYOUT else of_feature(feature)
    fd = load_btf(data)
    try:
        kernel = in_kernel(fd)
    finally:
        os.close(fd)
    meant = list(Btf(data).types())
    assert [type["id"] for type in kernel][: len(meant)] == [type.id for type in meant]
    changed = [
        (type.kind.name, found["kind"])
        for type, found in zip(meant, kernel, strict=False)
        if type.kind.name != found["kind"]
    ]
    expected = {
        Feature.EMPTY_DATASEC: [("DATASEC", "STRUCT")],
        Feature.FLOAT: [("FLOAT", "STRUCT")],
        Feature.DECL_TAG: [("DECL_TAG", "INT")],
        Feature.TYPE_TAG: [("TYPE_TAG", "CONST")],
        Feature.ENUM64: [("ENUM64", "UNION")],
        Feature.TAG_ATTRIBUTE: [("DECL_TAG", "INT")] if Feature.DECL_TAG in LACKING else [],
    }
    assert changed == (expected.get(feature, []) if feature in LACKING else [])
    if feature is Feature.QMARK_DATASEC:
        (section,) = (type for type in kernel if type["kind"] == "DATASEC")
        assert section["name"] == ("_.data" if feature in LACKING else "?.data")


def test_btf_that_no_kernel_takes_is_a_warning_and_the_object_loads() -> None:
    """As with libbpf: programs and maps work without their types."""
    spec = CollectionSpec.from_file(compiled("data"))
    assert spec.btf is not None
    broken = BtfBuilder()
    broken.add_all(spec.btf)
    number = broken.add(t.Int(name="odd", size=4, bits=32))
    members = (t.Member("overlapping", number, 0), t.Member("overlapping", number, 0))
    broken.add(t.Struct(name="broken", size=2, members=members))
    spec.btf = broken.to_btf()
    spec.select()
    with pytest.warns(RuntimeWarning, match="refuses the object's BTF"), spec.load() as objects:
        assert not next(iter(objects.maps.values())).info().btf_id


def refuse_btf(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(bpf, "btf_load", lambda *data, **fields: (-code, b""))


def test_who_may_not_load_btf_loads_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket filter that a process without capabilities may load would need to be compiled
    without -g, as with libbpf it does not."""
    refuse_btf(monkeypatch, errno.EPERM)
    spec = CollectionSpec.from_file(compiled("data"))
    with spec.load() as objects:
        assert objects.programs
        assert not any(program.info().btf_id for program in objects.programs.values())


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOMEM])
def test_structs_of_functions_need_their_btf(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """The kernel would say something else of the map that is made without types."""
    refuse_btf(monkeypatch, code)
    spec = CollectionSpec.from_file(compiled("struct_ops"))
    with pytest.raises(ebpf.BpfError, match=r"^load BTF: ") as caught:
        spec.load()
    assert caught.value.errno == code


@pytest.mark.parametrize("probe", [knows_context_tags, far_offsets])
def test_a_failure_in_passing_is_no_answer(
    probe: Callable[[], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every later load would do what older kernels need, or what they refuse."""
    clear_cache()
    answer = probe()
    clear_cache()
    with monkeypatch.context() as without_descriptors:
        full = bpf.LoadResult(Attribute("prog_load"), -errno.EMFILE, b"")
        without_descriptors.setattr(bpf, "prog_load", lambda *sizes, **fields: full)
        refuse_btf(without_descriptors, errno.EMFILE)
        with pytest.raises(ebpf.BpfError, match="probe ") as caught:
            probe()
        assert caught.value.errno == errno.EMFILE
    assert probe() is answer
