"""CO-RE against the running kernel, by what the relocated programs find in it."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ebpf
from ebpf.btf import Btf, Kind
from ebpf.btf import types as t
from ebpf.btf.build import BtfBuilder
from ebpf.kernel_btf import kernel_btf, loaded_btf
from ebpf.spec import CollectionSpec
from tests.kernel.environment import kernel_version
from tests.objects import compiled

ADDR_NO_RANDOMIZE = 0x0040000  # include/uapi/linux/personality.h
PERF_CONTEXT_KERNEL = -128  # include/uapi/linux/perf_event.h


def test_relocated_programs_read_the_right_fields() -> None:
    """Offsets of the declaration that the program was compiled with would read other fields."""
    with CollectionSpec.from_file(compiled("core_load")).load() as objects:
        for program in objects.programs.values():
            program.test_run(ctx=bytes(16))
        results = tuple(objects.variables["results"].value)
    kernel = kernel_btf()
    task, packet = kernel.find_struct("task_struct"), kernel.find_struct("sk_buff")
    with open("/proc/self/comm", "rb") as file:
        assert results[2] & 0xFF == file.read()[3]
    assert results[:2] == (threading.get_native_id(), os.getppid())
    assert results[3] == 120 + os.nice(0)
    # A program without the member skips what it does with it.
    assert results[4] == 0
    assert results[5] == task.offsetof("tasks.prev")
    assert results[6:8] == (16, 1)
    assert results[12:15] == (1, 0, packet.size)
    assert results[15:18] == (1, 0, 1)
    assert results[20] == kernel.find("task_struct", Kind.STRUCT).id


def test_a_bitfield_is_where_the_kernel_has_it() -> None:
    """Shifts that are wrong give another field's bits."""
    with CollectionSpec.from_file(compiled("core_load")).load() as objects:
        objects.programs["numbers"].test_run(ctx=bytes(16))
        left, right, start, size = objects.variables["results"].value[8:12]
    packet = kernel_btf().layout(kernel_btf().find("sk_buff", Kind.STRUCT).id)
    field = packet.field("pkt_type")
    assert right == 64 - 3
    # The bytes that are read, as a little-endian number of 64 bits, shifted up to the field.
    assert start * 8 + (64 - left) == field.bit_offset + 3
    assert size in (1, 2, 4, 8)


@pytest.fixture
def moved() -> Iterator[ebpf.Collection]:
    """The programs of the doctored declarations, run once in this thread."""
    spec = CollectionSpec.from_file(compiled("core_moved"))
    spec.select("probed")
    os.sched_setscheduler(0, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))
    try:
        with spec.load() as objects:
            objects.programs["probed"].test_run(ctx=bytes(16))
            yield objects
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def test_bitfields_and_plain_fields_change_places(moved: ebpf.Collection) -> None:
    """A declared width that is kept reads the neighbours, or cuts a value off."""
    assert moved.variables["on_fork"].value == 1
    assert moved.variables["static_prio"].value == 120 + os.nice(0)


def test_an_element_of_an_array_of_structs(moved: ebpf.Collection) -> None:
    """Its place comes from the kernel's size of the element and the kernel's order in it."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert moved.variables["limit"].value == soft
    with open("/proc/self/comm", "rb") as file:
        assert moved.variables["letter"].value == file.read()[2]


def test_values_of_enumerations_of_64_bits(moved: ebpf.Collection) -> None:
    """The width that was declared says nothing about the kernel's, in either direction."""
    assert moved.variables["hash"].value == 2
    (found,) = (e for e in kernel_enumerators() if e["name"] == "PERF_CONTEXT_KERNEL")
    assert moved.variables["context_exists"].value == 1
    assert moved.variables["context"].value == found["val"] % (1 << 64)
    assert moved.variables["context"].value & 0xFFFFFFFF == PERF_CONTEXT_KERNEL & 0xFFFFFFFF


def kernel_enumerators() -> list[dict[str, Any]]:
    """Of perf_callchain_context, as bpftool reads the kernel's BTF."""
    dump = ["bpftool", "-j", "btf", "dump", "file", "/sys/kernel/btf/vmlinux"]
    types = json.loads(subprocess.check_output(dump))["types"]
    (found,) = (
        type
        for type in types
        if type["name"] == "perf_callchain_context" and type["kind"] in ("ENUM", "ENUM64")
    )
    values: list[dict[str, Any]] = found["values"]
    return values


@pytest.mark.needs_config("CONFIG_NF_CONNTRACK")
def test_types_of_modules_are_found() -> None:
    """A struct that only a module has would be taken for missing."""
    subprocess.run(["modprobe", "nf_conntrack"], check=False)
    assert Path("/proc/sys/net/netfilter").is_dir(), "nf_conntrack is not there"
    module = Path("/sys/kernel/btf/nf_conntrack")
    base = ["-B", "/sys/kernel/btf/vmlinux"] if module.exists() else []
    owner = module if module.exists() else module.with_name("vmlinux")
    dump = subprocess.check_output(["bpftool", *base, "-j", "btf", "dump", "file", str(owner)])
    found = [
        type
        for type in json.loads(dump)["types"]
        if type["name"] == "conntrack_gc_work" and type["kind"] == "STRUCT"
    ]
    expected = (0, 0)
    if found:
        (exiting,) = (m for m in found[0]["members"] if m["name"] == "exiting")
        expected = (found[0]["size"], exiting["bits_offset"] // 8)
    # Modules have BTF since 5.11; before that nobody knows the struct.
    assert found or kernel_version() < (5, 11)
    spec = CollectionSpec.from_file(compiled("core_moved"))
    spec.select("of_module")
    with spec.load() as objects:
        objects.programs["of_module"].test_run(ctx=bytes(16))
        values = objects.variables
        assert (values["work_size"].value, values["exiting_offset"].value) == expected


def test_ids_of_types(moved: ebpf.Collection) -> None:
    """An id of the wrong BTF names another type."""
    own = loaded_btf(moved.programs["probed"].info().btf_id)
    local = own.type(moved.variables["local_id"].value)
    target = kernel_btf().type(moved.variables["target_id"].value)
    assert (local.name, local.kind) == (target.name, target.kind) == ("task_struct", Kind.STRUCT)


def test_types_match_by_their_members(moved: ebpf.Collection) -> None:
    """A declaration with a member of another type is no description of the kernel's."""
    assert moved.variables["matches"].value == 1
    assert moved.variables["no_match"].value == 0


def test_loads_get_the_width_of_the_field(true_command: list[str]) -> None:
    """A load of the declared width reads the neighbour of a narrow field, or half a wide one."""
    spec = CollectionSpec.from_file(compiled("core_moved"))
    spec.select("direct")
    personality = ctypes.CDLL(None, use_errno=True).personality
    before = personality(0xFFFFFFFF)
    with spec.load() as objects:
        with objects.programs["direct"].attach():
            personality(before | ADDR_NO_RANDOMIZE)
            try:
                subprocess.run(true_command, check=True)
            finally:
                personality(before)
        assert objects.variables["wide"].value == before | ADDR_NO_RANDOMIZE
        assert objects.variables["narrow"].value == before | ADDR_NO_RANDOMIZE
        assert objects.variables["nothing"].value == 0


def external(field_offset: int) -> bytes:
    """BTF in which task_struct has only a field static_prio, at this offset in bytes."""
    builder = BtfBuilder()
    number = builder.add(t.Int(name="int", size=4, bits=32, encoding=t.IntEncoding.SIGNED))
    members = (t.Member("static_prio", number, 8 * field_offset),)
    builder.add(t.Struct(name="task_struct", size=field_offset + 4, members=members))
    return builder.to_bytes()


def as_elf(raw: bytes, directory: Path) -> Path:
    """An ELF file for this machine that has the BTF in a section, as vmlinux has it."""
    (directory / "raw").write_bytes(raw)
    subprocess.run(["cc", "-x", "c", "-c", "/dev/null", "-o", "empty.o"], cwd=directory, check=True)
    command = ["objcopy", "--add-section", ".BTF=raw", "empty.o", "vmlinux"]
    subprocess.run(command, cwd=directory, check=True)
    return directory / "vmlinux"


def as_file(raw: bytes, directory: Path) -> Path:
    (directory / "kernel.btf").write_bytes(raw)
    return directory / "kernel.btf"


@pytest.mark.parametrize("given", [as_file, as_elf, lambda raw, _: Btf(raw)])
def test_external_btf_decides(
    given: Callable[[bytes, Path], str | Path | Btf], tmp_path: Path
) -> None:
    """A kernel without BTF has only this to say where its fields are."""
    spec = CollectionSpec.from_file(compiled("core_external"))
    task = kernel_btf().find_struct("task_struct")
    for name, expected in (("tgid", os.getpid()), ("pid", threading.get_native_id())):
        source = given(external(task.offsetof(name)), tmp_path)
        with spec.load(kernel_btf=source) as objects:
            objects.programs["probed"].test_run(ctx=bytes(16))
            assert objects.variables["static_prio"].value == expected


def test_external_btf_that_is_none(tmp_path: Path) -> None:
    """The file has to be named, not the kernel's BTF taken in its place."""
    spec = CollectionSpec.from_file(compiled("core_external"))
    with pytest.raises(FileNotFoundError, match="missing"):
        spec.load(kernel_btf=tmp_path / "missing")
    for content, problem in (
        (b"garbage" * 9, "magic"),
        (b"", "header"),
        (b"\x7fELF" + bytes(99), ""),
    ):
        path = as_file(content, tmp_path)
        with pytest.raises(ebpf.FormatError, match=rf"kernel_btf .*kernel\.btf.*{problem}"):
            spec.load(kernel_btf=path)
    subprocess.run(["cc", "-x", "c", "-c", "/dev/null", "-o", "empty.o"], cwd=tmp_path, check=True)
    with pytest.raises(ebpf.FormatError, match=r"empty\.o.*no section \.BTF"):
        spec.load(kernel_btf=tmp_path / "empty.o")


def test_external_btf_without_the_type() -> None:
    """The kernel's own BTF must not answer where an external one was given."""
    builder = BtfBuilder()
    builder.add(t.Int(name="int", size=4, bits=32, encoding=t.IntEncoding.SIGNED))
    spec = CollectionSpec.from_file(compiled("core_external"))
    with pytest.raises(ebpf.VerifierError, match=r"task_struct"):
        spec.load(kernel_btf=builder.to_btf())
