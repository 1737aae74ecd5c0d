"""Fields by name: what assembled programs read must be what Python knows of the same things."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from ebpf import (
    ArrayMap,
    AttachType,
    BtfError,
    HashMap,
    MapType,
    Program,
    ProgramType,
    VerifierError,
    asm,
    tracefs,
)
from ebpf.asm import (
    R0,
    R1,
    R6,
    R7,
    R8,
    R9,
    R10,
    Instruction,
    Label,
    Register,
    and_,
    assemble,
    call,
    exit_,
    jeq,
    jne,
    ld_map_value,
    ldxdw,
    mov,
    mul,
    rsh,
    snippets,
    stdw,
    stxdw,
    stxw,
)
from ebpf.asm.portable import core_relocations
from ebpf.btf import Btf
from ebpf.btf import types as t
from ebpf.btf.build import BtfBuilder
from ebpf.btf.core import Relocator
from ebpf.collection.btf import load_btf
from ebpf.kernel_btf import kernel_btf
from tests.binaries import built
from tests.kernel.links.hooks import KPROBES, library
from tests.kernel.samples import load, start_threads

BUFFER = R10 - 8
CLONE_THREAD = 0x10000  # include/uapi/linux/sched.h
TASK = asm.Struct("task_struct", kernel_btf)
CURRENT = [call("get_current_task"), mov(R6, R0)]


def run(code: object) -> int:
    """What a program with the current task in R6 returns: 32 bits."""
    whole = [CURRENT, code, exit_()]
    with Program.load(ProgramType.RAW_TRACEPOINT, whole, license="GPL") as program:
        return program.test_run(ctx=bytes(16)).return_value


def moved() -> Btf:
    """Types of a kernel that never was: all in other places, and of other sizes."""
    builder = BtfBuilder()
    char = builder.add(t.Int(name="char", size=1, bits=8, encoding=t.IntEncoding.SIGNED))
    number = builder.add(t.Int(name="int", size=4, bits=32, encoding=t.IntEncoding.SIGNED))
    name = builder.add(t.Array(type_id=char, index_type_id=number, length=4))
    pointer = builder.next_id + 1
    members = (
        t.Member("real_parent", pointer, 0),
        t.Member("tgid", number, 64),
        t.Member("comm", name, 96),
        t.Member("no_such_member", number, 128),
    )
    builder.add(t.Struct(name="task_struct", size=24, members=members))
    builder.add(t.Pointer(type_id=pointer - 1))
    kinds = (t.Enumerator("PIDTYPE_TGID", 99), t.Enumerator("PIDTYPE_SID", 98))
    builder.add(t.Enum(name="pid_type", size=4, values=kinds))
    return builder.to_btf()


MOVED = moved()
NONE = t.IntEncoding(0)


def test_a_program_written_for_other_types_reads_the_right_fields() -> None:
    """The offsets that it was assembled with would be other fields here."""
    task = asm.Struct("task_struct", MOVED)
    assert run(task.read(R0, R6, "tgid", buffer=BUFFER)) == os.getpid()
    assert run(task.read(R0, R6, "real_parent.tgid", buffer=BUFFER)) == os.getppid()
    with open("/proc/self/comm", "rb") as file:
        comm = file.read()
    assert run([task.read(R0, R6, "comm[2]", buffer=BUFFER)]) == comm[2]


def test_an_object_carries_its_relocations() -> None:
    """What is loaded by the loader of compiled objects is not what Program.load makes."""
    task = asm.Struct("task_struct", MOVED)
    code = [CURRENT, task.read(R7, R6, "real_parent.tgid", buffer=BUFFER), mov(R0, R7), exit_()]
    spec = asm.collection(asm.Function("main", code, "raw_tp"), license="GPL")
    assert len(spec.functions["main"].core_relocations) == 6
    with spec.load() as objects:
        assert objects.programs["main"].test_run(ctx=bytes(16)).return_value == os.getppid()


def paths(btf: Btf, type: t.Struct | t.Union, prefix: str = "") -> Iterator[str]:
    """Every path of one name or two, and the last element of each array."""
    for member in type.members:
        target = btf.resolve(member.type_id)
        path = prefix + member.name
        if member.name:
            yield path
        if isinstance(target, t.Array) and target.length:
            yield f"{path}[{target.length - 1}]"
        elif isinstance(target, (t.Struct, t.Union)) and (not member.name or not prefix):
            yield from paths(btf, target, f"{path}." if member.name else prefix)


@pytest.mark.parametrize("name", ["sk_buff", "task_struct", "tcp_sock", "mm_struct"])
def test_every_field_of_a_struct(name: str) -> None:
    """What a program carries of the kernel's types is refused, or finds other fields in it."""
    kernel = kernel_btf()
    struct = asm.Struct(name, kernel)
    code: list[object] = []
    for path in paths(kernel, struct.layout.type):
        bitfield = struct.layout.field(path).bitfield_size
        code += struct.read(R0, R6, path, buffer=BUFFER) if bitfield else struct.offset(R0, path)
    assembly = assemble([code, exit_()], check=False)
    local, relocations = core_relocations(assembly)
    assert len(relocations) > 50
    os.close(load_btf(bytes(local.data)))
    relocator, patched = Relocator(local, [kernel]), bytearray(assembly.code)
    for relocation in relocations:
        assert not relocator.apply(patched, relocation, relocation.insn_offset // 8).poison
    assert bytes(patched) == assembly.code


def test_sizes_existence_and_enumerators_are_the_kernels() -> None:
    """A program would believe the types that it was written with."""
    task, kernel = asm.Struct("task_struct", MOVED), kernel_btf().find_struct("task_struct")
    assert run(task.size(R0)) == kernel.size
    assert run(task.size(R0, "comm")) == 16
    assert run(task.offset(R0, "comm")) == kernel.offsetof("comm")
    assert run(task.exists(R0, "comm")) == 1
    assert run(task.exists(R0, "no_such_member")) == 0
    assert run(task.exists(R0)) == 1
    assert run(asm.enum_value(R0, "pid_type", "PIDTYPE_TGID", MOVED)) == 1


def test_what_is_asked_for_first_may_be_missing() -> None:
    """A program for several kernels could not use what only some have."""
    task = asm.Struct("task_struct", MOVED)
    missing = task.read(R0, R6, "no_such_member", buffer=BUFFER)
    assert (
        run(
            [
                task.exists(R7, "no_such_member"),
                mov(R0, 9),
                jeq(R7, 0, "end"),
                missing,
                Label("end"),
            ]
        )
        == 9
    )
    with pytest.raises(VerifierError, match="struct task_struct has no field `no_such_member`"):
        run(missing)
    spec = asm.collection(
        asm.Function("main", [CURRENT, missing, exit_()], "raw_tp"), license="GPL"
    )
    with pytest.raises(VerifierError, match="struct task_struct has no field `no_such_member`"):
        spec.load()


def mark(encoding: t.IntEncoding) -> Btf:
    """A packet with a mark of this sign."""
    builder = BtfBuilder()
    number = builder.add(t.Int(name="number", size=4, bits=32, encoding=encoding))
    builder.add(t.Struct(name="sk_buff", size=8, members=(t.Member("mark", number, 32),)))
    return builder.to_btf()


@pytest.mark.parametrize(("encoding", "above"), [(t.IntEncoding.SIGNED, 2**32 - 1), (NONE, 0)])
def test_signed_numbers_keep_their_sign(encoding: t.IntEncoding, above: int) -> None:
    """A negative number of 32 bits would be a large one, or a large one negative."""
    packet = asm.Struct("sk_buff", mark(encoding))
    code = [mov(R6, R1), packet.read(R0, R6, "mark", buffer=BUFFER), rsh(R0, 32), exit_()]
    with Program.load(ProgramType.SCHED_CLS, code, license="GPL") as program:
        context = (-7 & 0xFFFF_FFFF).to_bytes(12, "little")[:4].rjust(12, b"\0").ljust(192, b"\0")
        assert program.test_run(bytes(64), ctx=context).return_value == above


def test_copy_takes_a_whole_field() -> None:
    """A name would be cut off, or land elsewhere."""
    code = [TASK.copy(R10 - 16, R6, "comm"), jne(R0, 0, "end"), ldxdw(R0, R10 - 16), Label("end")]
    with open("/proc/self/comm", "rb") as file:
        assert run(code).to_bytes(4, "little") == file.read()[:4].ljust(4, b"\0")


@pytest.mark.parametrize(("first", "expected"), [(0xFF, 2), (0x01, 2), (0x02, 3), (0, 0)])
def test_bitfields(first: int, expected: int) -> None:
    """Other bits than those of the field would be read."""
    # The address of a test run's device is zeros: a packet is for some, for others, or for it.
    packet = bytes([first] * 6) + bytes(58)
    code = [
        mov(R6, R1),
        asm.Struct("sk_buff", kernel_btf).read(R0, R6, "pkt_type", buffer=BUFFER),
        exit_(),
    ]
    with Program.load(ProgramType.SCHED_CLS, code, license="GPL") as program:
        assert program.test_run(packet).return_value == expected


def test_contexts_have_fields() -> None:
    """The context's layout would have to be known by heart."""
    skb = asm.context(ProgramType.SCHED_CLS, kernel_btf)
    code = [mov(R6, R1), skb.load(R0, R6, "len"), exit_()]
    with Program.load(ProgramType.SCHED_CLS, code) as program:
        assert program.test_run(bytes(77)).return_value == 77
    assert not any(hasattr(one, "access") for one in skb.load(R0, R1, "len"))
    with pytest.raises(BtfError, match="did you mean"):
        skb.load(R0, R1, "lenn")


def test_arguments_of_a_tracepoint() -> None:
    """They would be counted by hand, and read by offsets of one kernel."""
    fork = asm.tracepoint_arguments("sched_process_fork", kernel_btf)
    # The names are those of a function that some kernels leave out of their BTF.
    named = kernel_btf().find_all("__traceiter_sched_process_fork")
    assert fork.names == (("parent", "child") if named else ("0", "1"))
    with ArrayMap.create(MapType.ARRAY, value=16, max_entries=1) as found:
        code = [
            fork.load(R6, R1, 0),
            fork.load(R7, R1, 1),
            fork.struct(0).load(R8, R6, "tgid"),
            jne(R8, os.getpid(), "end"),
            ld_map_value(R1, found),
            fork.struct(1).load(R8, R7, "pid"),
            stxdw(R1 + 0, R8),
            # Through a pointer, by loads that the kernel makes safe.
            fork.struct(1).load(R8, R7, "group_leader.pid"),
            stxdw(R1 + 8, R8),
            Label("end"),
            mov(R0, 0),
            exit_(),
        ]
        with Program.load(
            ProgramType.TRACING,
            code,
            license="GPL",
            attach_type=AttachType.TRACE_RAW_TP,
            attach_to="sched_process_fork",
        ) as program:
            program.attach_tracing()
            (thread,) = start_threads()
        record = bytes(found[0])
    assert int.from_bytes(record[:8], sys.byteorder) == thread
    assert int.from_bytes(record[8:], sys.byteorder) == os.getpid()


@pytest.mark.refused_like("fentry.c")
def test_arguments_and_result_of_a_traced_function() -> None:
    """An argument would be another one, or the result be taken for one."""
    clone = asm.arguments("kernel_clone", kernel_btf)
    with ArrayMap.create(MapType.ARRAY, value=16, max_entries=1) as found:
        code = [
            clone.load(R6, R1, "args"),
            clone.result(R7, R1),
            call("get_current_pid_tgid"),
            rsh(R0, 32),
            jne(R0, os.getpid(), "end"),
            ld_map_value(R1, found),
            stxdw(R1 + 0, R7),
            clone.struct("args").load(R8, R6, "flags"),
            stxdw(R1 + 8, R8),
            Label("end"),
            mov(R0, 0),
            exit_(),
        ]
        with Program.load(
            ProgramType.TRACING,
            code,
            license="GPL",
            attach_type=AttachType.TRACE_FEXIT,
            attach_to="kernel_clone",
        ) as program:
            program.attach_tracing()
            (thread,) = start_threads()
        record = bytes(found[0])
    assert int.from_bytes(record[:8], sys.byteorder) == thread
    assert int.from_bytes(record[8:], sys.byteorder) & CLONE_THREAD


@pytest.mark.parametrize("source", ["tracefs", "BTF"])
def test_the_record_of_a_tracepoint(source: str) -> None:
    """A field would be read from another place of the record."""
    fields = tracefs.tracepoint_fields("sched", "sched_process_fork")
    if source == "BTF":
        child = asm.Struct("trace_event_raw_sched_process_fork", kernel_btf).load(
            R6, R1, "child_pid"
        )
    else:
        child = asm.tracepoint(fields).load(R6, R1, "child_pid")
    with ArrayMap.create(MapType.ARRAY, value="q", max_entries=1) as found:
        code = [
            child,
            call("get_current_pid_tgid"),
            rsh(R0, 32),
            jne(R0, os.getpid(), "end"),
            ld_map_value(R1, found),
            stxdw(R1 + 0, R6),
            Label("end"),
            mov(R0, 0),
            exit_(),
        ]
        with Program.load(ProgramType.TRACEPOINT, code, license="GPL") as program:
            program.attach_tracepoint("sched", "sched_process_fork")
            (thread,) = start_threads()
        assert found[0] == thread


def test_a_string_that_a_record_leads_to(true_command: list[str]) -> None:
    """What is behind the record would be taken for its string."""
    record = asm.tracepoint(tracefs.tracepoint_fields("sched", "sched_process_exec"))
    with HashMap.create(key="i", value=256, max_entries=1024) as names:
        code = [
            record.load(R7, R1, "pid"),
            record.address(R6, R1, "filename"),
            stxw(R10 - 8, R7),
            [stdw(R10 - 16 - at, 0) for at in range(0, 256, 8)],
            snippets.read_str(R10 - 264, 256, R6, "end"),
            snippets.update(names, R10 - 8, R10 - 264),
            Label("end"),
            mov(R0, 0),
            exit_(),
        ]
        with Program.load(ProgramType.TRACEPOINT, code, license="GPL") as program:
            program.attach_tracepoint("sched", "sched_process_exec")
            with subprocess.Popen(true_command) as process:
                pass
        name = bytes(names[process.pid])
    assert os.path.basename(name.rstrip(b"\0")) == b"true"


def test_arguments_and_result_of_a_probed_function() -> None:
    """Registers would be those of another machine."""
    registers, path = asm.PtRegs(), built("library")
    with ArrayMap.create(MapType.ARRAY, value="Q", max_entries=1) as found:

        def keep(code: list[Instruction]) -> list[object]:
            tail = [ld_map_value(R1, found), stxdw(R1 + 0, R6), mov(R0, 0), exit_()]
            return [code, tail]

        entering = keep(registers.argument(R6, R1, 0))
        with Program.load(ProgramType.KPROBE, entering, license="GPL") as program:
            program.attach_uprobe(path, "twice")
            library().twice(1234)
        assert found[0] & 0xFFFFFFFF == 1234
        leaving = keep(registers.result(R6, R1))
        with Program.load(ProgramType.KPROBE, leaving, license="GPL") as program:
            program.attach_uretprobe(path, "twice")
            library().twice(1234)
        assert found[0] & 0xFFFFFFFF == 2468


@KPROBES
def test_arguments_of_a_kernel_function_by_name() -> None:
    """The names of BTF would lead to other registers than those that the kernel passes them in."""
    read = asm.arguments("vfs_read", kernel_btf, registers=asm.PtRegs())
    mode = read.struct("file").read(R8, R7, "f_mode", buffer=BUFFER)
    with ArrayMap.create(MapType.ARRAY, value="qq", max_entries=1) as found:

        def keep(code: list[object], slot: int, number: Register) -> list[object]:
            own = [call("get_current_pid_tgid"), rsh(R0, 32), jne(R0, os.getpid(), "end")]
            tail = [ld_map_value(R1, found, 8 * slot), stxdw(R1 + 0, number), Label("end")]
            return [mov(R6, R1), *own, *code, *tail, mov(R0, 0), exit_()]

        # A file that is open for reading has FMODE_READ, which is 1.
        entering: list[object] = [read.load(R9, R6, "count"), read.load(R7, R6, "file"), mode]
        entering += [and_(R8, 1), mul(R9, R8)]
        empty, other_end = os.pipe2(os.O_NONBLOCK)
        with (
            load(ProgramType.KPROBE, keep(entering, 0, R9)) as entry,
            load(ProgramType.KPROBE, keep([read.result(R7, R6)], 1, R7)) as leaving,
            open("/dev/zero", "rb", buffering=0) as zeros,
            open(empty, "rb", buffering=0),
            open(other_end, "wb", buffering=0),
        ):
            entry.attach_kprobe("vfs_read")
            leaving.attach_kretprobe("vfs_read")
            os.read(zeros.fileno(), 12345)
            assert found[0] == (12345, 12345)
            with pytest.raises(BlockingIOError):
                os.read(empty, 77)
            assert found[0] == (77, -errno.EAGAIN)


def test_arguments_of_system_calls() -> None:
    """The registers at the entry of a system call are others than those of a function."""
    registers = asm.PtRegs()
    with ArrayMap.create(MapType.ARRAY, value="Q", max_entries=1) as found:
        code = [
            ldxdw(R7, R1 + 0),
            registers.system_call_argument(R6, R7, 3, buffer=BUFFER),
            registers.system_call_argument(R8, R7, 0, buffer=BUFFER),
            jne(R8, 0x7FFF_0001, "end"),
            ld_map_value(R1, found),
            stxdw(R1 + 0, R6),
            Label("end"),
            mov(R0, 0),
            exit_(),
        ]
        with Program.load(ProgramType.RAW_TRACEPOINT, code, license="GPL") as program:
            program.attach_raw_tracepoint("sys_enter")
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.pwrite(0x7FFF_0001, b"", 0x1234_5678)
        assert found[0] == 0x1234_5678


def test_the_registers_are_where_the_kernels_types_have_them() -> None:
    """An offset in the table of this machine is wrong."""
    layout = kernel_btf().find_struct("pt_regs")
    numbered = [f"regs[{number}]" for number in range(8)]
    names = {
        "x86_64": (["di", "si", "dx", "cx", "r8", "r9"], "ax", "ip", "sp", "bp"),
        "aarch64": (numbered, "regs[0]", "pc", "sp", "regs[29]"),
    }

    def place(register: str) -> int:
        member, _, number = register.removesuffix("]").partition("[")
        return layout.offsetof(member) + 8 * int(number or 0)

    registers = asm.PtRegs()
    arguments, result, instruction, stack, frame = names[registers.machine]
    for number, name in enumerate(arguments):
        assert registers.argument(R0, R1, number)[0].offset == place(name)
    assert registers.result(R0, R1)[0].offset == place(result)
    assert registers.instruction_pointer(R0, R1)[0].offset == place(instruction)
    assert registers.stack_pointer(R0, R1)[0].offset == place(stack)
    assert registers.frame_pointer(R0, R1)[0].offset == place(frame)


def test_what_only_some_kernels_have() -> None:
    """A program for two kernels would be refused by the one that lacks a field."""
    task = asm.Struct.declared("task_struct", {"tgid": "int", "nowhere": "u64"})
    code = [
        call("get_current_task"),
        mov(R6, R0),
        mov(R0, 1),
        task.exists(R1, "nowhere"),
        asm.jne(R1, 0, "there"),
        task.exists(R1, "tgid"),
        asm.jeq(R1, 0, "there"),
        task.read(R0, R6, "tgid", buffer=R10 - 8),
        exit_(),
        asm.Label("there"),
        task.read(R0, R6, "nowhere", buffer=R10 - 8),
        exit_(),
    ]
    with Program.load(ProgramType.RAW_TRACEPOINT, code, license="GPL") as program:
        assert program.test_run(ctx=bytes(8)).return_value == os.getpid()
