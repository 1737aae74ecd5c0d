"""One function per bpf() command: what each does in the kernel, and how a refusal is told."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ebpf import BpfError, Link, LinkType, Map, MapType, NotSupportedError, Program, ProgramType
from ebpf._sys import bpf, ffi
from ebpf._sys.call import Attribute, address, check, checked
from ebpf.asm import (
    R0,
    R1,
    R2,
    R3,
    R6,
    R7,
    R10,
    Label,
    add,
    assemble,
    call,
    exit_,
    jeq,
    ldxdw,
    mov,
    stdw,
)
from ebpf.btf.types import Kind
from ebpf.errors import BpfFileExistsError, BpfFileNotFoundError
from ebpf.kernel_btf import kernel_btf, release
from ebpf.types import AttachType, Command, TaskFdType
from tests.kernel import environment
from tests.kernel.samples import CLONED, PASS, count, load, per_process


def u32(value: int) -> bytes:
    return value.to_bytes(4, sys.byteorder)


def u64(value: int) -> bytes:
    return value.to_bytes(8, sys.byteorder)


# ---- maps -----------------------------------------------------------------------------------


@pytest.fixture
def hash_fd() -> Iterator[int]:
    fd = bpf.map_create(map_type=1, key_size=4, value_size=8, max_entries=8, map_name=b"by_sys")
    yield fd
    os.close(fd)


def test_elements(hash_fd: int) -> None:
    """Written, read and deleted, each by its own command."""
    for number in (1, 2, 3):
        bpf.map_update_elem(hash_fd, u32(number), u64(number * 10))
    assert bpf.map_lookup_elem(hash_fd, u32(2), 8) == u64(20)
    with pytest.raises(BpfFileExistsError):
        bpf.map_update_elem(hash_fd, u32(2), u64(0), flags=1)
    bpf.map_delete_elem(hash_fd, u32(2))
    with pytest.raises(BpfFileNotFoundError):
        bpf.map_lookup_elem(hash_fd, u32(2), 8)
    with pytest.raises(BpfFileNotFoundError):
        bpf.map_delete_elem(hash_fd, u32(2))


def test_an_element_taken_out() -> None:
    """A queue has no keys: its pointer is NULL."""
    fd = bpf.map_create(map_type=MapType.QUEUE, value_size=8, max_entries=2)
    bpf.map_update_elem(fd, None, u64(5))
    assert bpf.map_lookup_and_delete_elem(fd, None, 8) == u64(5)
    with pytest.raises(BpfFileNotFoundError):
        bpf.map_lookup_and_delete_elem(fd, None, 8)
    os.close(fd)


def test_a_batch(hash_fd: int) -> None:
    """The count that the kernel writes comes back also with an error."""
    for number in range(5):
        bpf.map_update_elem(hash_fd, u32(number), u64(number))
    found_keys, found_values = ffi.new("uint32_t[8]"), ffi.new("uint64_t[8]")
    position = ffi.new("uint32_t *")
    found = {"keys": address(found_keys), "values": address(found_values), "map_fd": hash_fd}
    result, entries = bpf.map_lookup_batch(count=8, out_batch=address(position), **found)
    # ENOENT: the end of the map.
    assert (result, entries) == (-2, 5)
    assert dict(zip(found_keys[0:5], found_values[0:5], strict=True)) == {n: n for n in range(5)}


def test_a_frozen_map_takes_no_writes() -> None:
    fd = bpf.map_create(map_type=MapType.ARRAY, key_size=4, value_size=8, max_entries=1)
    bpf.map_freeze(fd)
    with pytest.raises(PermissionError):
        bpf.map_update_elem(fd, u32(0), u64(1))
    assert bpf.map_lookup_elem(fd, u32(0), 8) == u64(0)
    os.close(fd)


# ---- what is unknown to a kernel --------------------------------------------------------------


@pytest.mark.parametrize(
    "type", [MapType.BLOOM_FILTER, MapType.TASK_STORAGE, MapType.ARENA, MapType.INSN_ARRAY]
)
def test_a_map_type_younger_than_the_kernel_names_its_release(type: MapType) -> None:
    """The kernel says EINVAL, as to any mistake."""
    assert type.since is not None
    if environment.kernel_version() >= type.since:
        # Known there: what is wrong now is the size, and no release cures that.
        with pytest.raises(BpfError, match=r"bpf\(MAP_CREATE\)") as refused:
            bpf.map_create(needs=type.since, map_type=type, key_size=77, value_size=4)
        assert not isinstance(refused.value, NotSupportedError)
        return
    with pytest.raises(NotSupportedError, match="not in this kernel") as caught:
        bpf.map_create(needs=type.since, map_type=type, key_size=4, value_size=4, max_entries=1)
    assert caught.value.minimum_version == type.since


def test_a_command_younger_than_the_kernel_names_its_release() -> None:
    """TOKEN_CREATE (6.9); on newer kernels an invalid descriptor is the mistake."""
    if environment.kernel_version() >= (6, 9):
        with pytest.raises(BpfError) as refused:
            bpf.token_create(-1 & 0xFFFF_FFFF)
        assert getattr(refused.value, "minimum_version", None) is None
        return
    with pytest.raises(NotSupportedError, match=r"bpf\(TOKEN_CREATE\): not in this") as caught:
        bpf.token_create(0)
    assert caught.value.minimum_version == (6, 9)


def test_outputs_are_not_what_a_kernel_does_not_know() -> None:
    """They go in as zeros; a mistake in the inputs must not be blamed on them."""
    attribute = Attribute("prog_load", ("log_true_size",), prog_type=1)
    with pytest.raises(BpfError, match="Invalid argument") as caught:
        checked(Command.PROG_LOAD, attribute, -22)
    assert not isinstance(caught.value, NotSupportedError)


def test_a_plain_result_is_passed_on() -> None:
    """And ENOTSUPP, which errno does not know, is told apart."""
    assert check(7, "do something") == 7
    with pytest.raises(BpfFileNotFoundError, match="do something: No such file"):
        check(-2, "do something")
    with pytest.raises(
        NotSupportedError, match=r"do something: the kernel does not support this .*ENOTSUPP"
    ):
        check(-524, "do something")


# ---- programs ---------------------------------------------------------------------------------


def test_a_bound_map_lives_with_the_program() -> None:
    """PROG_BIND_MAP: tools find metadata so, in maps that no instruction mentions."""
    with load(ProgramType.KPROBE, PASS) as program:
        with per_process() as map:
            bpf.prog_bind_map(program.fileno(), map.fileno())
            number = map.info().id
        assert program.info().map_ids == [number]
        Map.from_id(number).close()


def test_ids_go_up_through_all_objects() -> None:
    """From below an id comes that id; behind the last, none."""
    with (
        per_process() as map,
        load(ProgramType.RAW_TRACEPOINT, count(map)) as program,
        program.attach_raw_tracepoint(CLONED[1]) as link,
    ):
        for following, number in (
            (bpf.map_get_next_id, map.info().id),
            (bpf.prog_get_next_id, program.info().id),
            (bpf.link_get_next_id, link.info().id),
        ):
            assert following(number - 1) == number
            assert following((1 << 31) - 2) is None


def test_what_a_descriptor_is_attached_to() -> None:
    """TASK_FD_QUERY asks about any process's descriptor."""
    with (
        load(ProgramType.RAW_TRACEPOINT, PASS) as program,
        program.attach_raw_tracepoint(CLONED[1]) as link,
    ):
        answer = bpf.task_fd_query(os.getpid(), link.fileno())
        assert answer["prog_id"] == program.info().id
        assert answer["fd_type"] == TaskFdType.RAW_TRACEPOINT
        assert answer["name"] == CLONED[1].encode()


def test_a_program_that_printed_nothing_has_an_empty_stream() -> None:
    """PROG_STREAM_READ_BY_FD, 6.17."""
    with load(ProgramType.SOCKET_FILTER, PASS) as program:
        assert bpf.prog_stream_read_by_fd(program.fileno(), 1, 100) == b""
        with pytest.raises(BpfError):
            bpf.prog_stream_read_by_fd(program.fileno(), 99, 100)


# ---- BTF --------------------------------------------------------------------------------------

# struct btf_header, one BTF_KIND_INT "int", and its name: include/uapi/linux/btf.h
INT = struct.pack("=IIII", 1, 1 << 24, 4, 32)
BTF = struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(INT), len(INT), 5) + INT + b"\0int\0"


def test_btf_is_loaded_described_and_found() -> None:
    """By its id, a second descriptor for the same object."""
    fd, log = bpf.btf_load(BTF)
    assert fd > 2
    assert log == b""
    info = bpf.obj_get_info_by_fd(fd, "btf")
    assert info["btf_size"] == len(BTF)
    assert bpf.btf_get_next_id(info["id"] - 1) == info["id"]
    copy = bpf.btf_get_fd_by_id(info["id"])
    assert bpf.obj_get_info_by_fd(copy, "btf")["id"] == info["id"]
    os.close(copy)
    os.close(fd)


def test_refused_btf_comes_with_the_kernels_log() -> None:
    """200 bits do not fit an int of 4 bytes."""
    wrong = BTF.replace(struct.pack("=I", 32), struct.pack("=I", 200))
    result, log = bpf.btf_load(wrong, log_size=4096)
    assert result == -22
    assert b"Invalid" in log or b"nr_bits" in log or b"exceeds" in log, log


# ---- links ------------------------------------------------------------------------------------


@pytest.fixture
def cgroup(tmp_path: Path) -> Iterator[int]:
    """A descriptor of a control group that nothing is in, on a mount of our own."""
    mount, group = tmp_path / "mount", tmp_path / "mount" / f"test-{os.getpid()}"
    mount.mkdir()
    subprocess.run(["mount", "-t", "cgroup2", "none", str(mount)], check=True)
    group.mkdir()
    fd = os.open(group, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)
    group.rmdir()
    subprocess.run(["umount", str(mount)], check=True)


EGRESS = AttachType.CGROUP_INET_EGRESS


def egress_programs(cgroup: int) -> list[int]:
    ids = ffi.new("uint32_t[8]")
    answer = bpf.prog_query(
        ("prog_cnt",), target_fd=cgroup, attach_type=EGRESS, prog_ids=address(ids), prog_cnt=8
    )
    return list(ids[0 : answer["prog_cnt"]])


def test_attaching_without_a_link(cgroup: int) -> None:
    """PROG_ATTACH, PROG_QUERY, PROG_DETACH."""
    with load(ProgramType.CGROUP_SKB, PASS) as program:
        target = {"target_fd": cgroup, "attach_bpf_fd": program.fileno(), "attach_type": EGRESS}
        bpf.prog_attach(**target)
        assert egress_programs(cgroup) == [program.info().id]
        bpf.prog_detach(**target)
        assert egress_programs(cgroup) == []
        with pytest.raises(BpfFileNotFoundError):
            bpf.prog_detach(**target)


def test_a_link_that_can_be_updated_and_detached(cgroup: int) -> None:
    """Other kinds than the tracing ones take another program, and end for every holder."""
    with load(ProgramType.CGROUP_SKB, PASS) as one, load(ProgramType.CGROUP_SKB, PASS) as two:
        fd = bpf.link_create(prog_fd=one.fileno(), target_fd=cgroup, attach_type=EGRESS)
        with Link(fd) as link, Link.from_id(link.info().id) as holder:
            info = link.info()
            assert info.type == LinkType.CGROUP
            assert info.details["cgroup_id"] == os.fstat(cgroup).st_ino
            assert info.details["attach_type"] is EGRESS
            assert egress_programs(cgroup) == [one.info().id]
            link.update(two)
            assert egress_programs(cgroup) == [two.info().id] == [holder.info().prog_id]
            link.detach()
            assert egress_programs(cgroup) == []
            # It exists, attached to nothing.
            assert holder.info().details["cgroup_id"] == 0
            with pytest.raises(BpfError):
                holder.update(one)


def test_an_iterator_is_read(cgroup: int) -> None:
    """ITER_CREATE: reading the descriptor runs the program for each task."""
    function = kernel_btf().find("bpf_iter_task", Kind.FUNC)
    release()
    # struct bpf_iter__task { struct bpf_iter_meta *meta; struct task_struct *task; }, and the
    # first member of bpf_iter_meta is the seq_file.
    insns = [
        ldxdw(R7, R1 + 8),
        jeq(R7, 0, "end"),
        ldxdw(R6, R1 + 0),
        ldxdw(R1, R6 + 0),
        stdw(R10 - 8, 0x55),
        mov(R2, R10),
        add(R2, -8),
        mov(R3, 8),
        call("seq_write"),
        Label("end"),
        *PASS,
    ]
    with Program.load(
        ProgramType.TRACING,
        insns,
        license="GPL",
        attach_type=AttachType.TRACE_ITER,
        attach_btf_id=function.id,
    ) as program:
        fd = bpf.link_create(prog_fd=program.fileno(), attach_type=AttachType.TRACE_ITER)
        with Link(fd) as link:
            iterator = bpf.iter_create(link.fileno())
            with os.fdopen(iterator, "rb") as output:
                data = output.read()
    assert len(data) >= 16
    assert data == u64(0x55) * (len(data) // 8)


def test_the_numbers_of_a_command_are_its_own() -> None:
    """A command that this kernel does not have is refused, not taken for another."""
    attribute = Attribute("map_freeze", map_fd=0xFFFF)
    with pytest.raises(BpfError, match="UNKNOWN_4095"):
        checked(Command(4095), attribute, -22)


def test_a_file_descriptor_of_a_program_is_good_for_its_info() -> None:
    """Sizes first, then buffers of those sizes."""
    code = assemble([mov(R0, 1), exit_()]).resolve()
    loaded = bpf.prog_load(prog_type=ProgramType.SOCKET_FILTER, insns=code, license=b"GPL\0")
    fd = loaded.checked("load")
    info = bpf.prog_info(fd, instructions=True)
    assert info["xlated_prog_insns"] == code
    assert len(info["jited_prog_insns"]) == info["jited_prog_len"]
    assert info["name"] == b""
    os.close(fd)
