"""Where a program comes from, as the kernel shows it; functions and their types."""

from __future__ import annotations

import os
import re
import struct
import subprocess
from dataclasses import dataclass

import pytest

from ebpf import (
    AsmError,
    BpfFileNotFoundError,
    MapSpec,
    MapType,
    NotSupportedError,
    Program,
    ProgramType,
    RingBuffer,
    VerifierError,
    asm,
)
from ebpf.asm import (
    R0,
    R1,
    R2,
    R3,
    R4,
    R10,
    Label,
    add,
    call,
    call_kfunc,
    call_local,
    exit_,
    jeq,
    jsgt,
    ld_btf_id,
    ld_func,
    ld_map_fd,
    ld_map_value,
    ldxw,
    mov,
    snippets,
    stdw,
    stw,
)
from ebpf.asm.lines import identifier
from ebpf.codec import u32, u64
from ebpf.kernel_btf import kernel_btf
from tests.kernel.environment import kernel_has, kernel_has_variables, kernel_version

FILTER = ProgramType.SOCKET_FILTER
FILE = os.path.basename(__file__)
PACKET = bytes(64)


def linum(program: Program) -> list[str]:
    """What bpftool says of the lines of a program."""
    command = ["bpftool", "prog", "dump", "xlated", "id", str(program.info().id), "linum"]
    return subprocess.check_output(command, text=True).splitlines()


def line_of(text: str) -> int:
    """The first line of this file that begins with `text`."""
    with open(__file__, encoding="utf-8") as file:
        return next(n for n, line in enumerate(file, 1) if line.strip().startswith(text))


def test_bpftool_shows_the_lines_of_python() -> None:
    """A dump is instructions only: nobody sees what they were written as."""
    code = [
        mov(R0, 7),
        exit_(),
    ]
    with Program.load(FILTER, code, name="lines") as program:
        shown = linum(program)
    at = line_of("mov(R0, 7),")
    where = [f"; mov(R0, 7), [file:{__file__} line_num:{at} line_col:0]"]
    where.append(f"; exit_(), [file:{__file__} line_num:{at + 1} line_col:0]")
    assert [line for line in shown if line.startswith(";")] == where
    assert shown[0] == "int lines():"


def test_the_log_of_a_refusal_shows_the_line() -> None:
    """The log names instructions by numbers that nobody counts."""
    with pytest.raises(VerifierError) as refused:
        Program.load(FILTER, [mov(R0, 0), ldxw(R0, R1 + 4096), exit_()])
    at = line_of("Program.load(FILTER, [mov(R0, 0), ldxw(R0, R1 + 4096)")
    assert "; Program.load(FILTER, [mov(R0, 0), ldxw(R0, R1 + 4096)" in refused.value.log
    assert refused.value.source.endswith(f"{FILE}:{at}")


def test_functions_have_names_and_callbacks_are_accepted() -> None:
    """The kernel takes no callback from a program without function information."""
    if kernel_version() < (5, 13):
        raise NotSupportedError("addresses of functions", (5, 13))
    spec = MapSpec("numbers", MapType.ARRAY, key_size=4, value_size=8, max_entries=3)
    code = [
        stdw(R10 - 8, 0),
        ld_map_fd(R1, "numbers"),
        ld_func(R2, "each"),
        mov(R3, R10),
        add(R3, -8),
        mov(R4, 0),
        call("for_each_map_elem"),
        exit_(),
        Label("each"),
        mov(R0, 0),
        exit_(),
    ]
    with asm.collection(asm.Function("walk", code, "socket"), maps=[spec]).load() as objects:
        walk = objects.programs["walk"]
        assert walk.test_run(PACKET).return_value == 3
        assert "int walk_each():" in linum(walk)
        with Program.load(FILTER, code, maps=dict(objects.maps), name="alone") as alone:
            assert alone.test_run(PACKET).return_value == 3


def test_a_name_with_a_dot_is_the_kernels_name_too() -> None:
    """No function of C can be called so, and the kernel would refuse it as one."""
    with Program.load(FILTER, [mov(R0, 0), exit_()], name="a.b") as program:
        assert program.info().name == "a.b"
    assert identifier("9 lives") == "__lives"


LENGTH = asm.Function(
    "int length(struct __sk_buff *skb, u32 more)", [ldxw(R0, R1 + 0), add(R0, R2), exit_()]
)
TYPED = [mov(R2, 5), call_local("length"), exit_()]


def test_global_functions_have_typed_arguments() -> None:
    """A function that is verified by itself could not use its context."""
    spec = asm.collection(asm.Function("typed", TYPED, "socket"), LENGTH)
    # At level 1 the log of 5.10 begins anew with each function.
    with spec.load(log_level=2) as objects:
        typed = objects.programs["typed"]
        assert typed.test_run(PACKET).return_value == len(PACKET) - 14 + 5
        assert re.search(r"Func#1 (\('length'\) )?is safe for any args", typed.log)
        assert any(
            re.match(r"int length\(struct __sk_buff ?\* ?skb", line) for line in linum(typed)
        )


def test_a_global_function_is_verified_alone() -> None:
    """What callers pass must not matter: 'more' is any number there."""
    looks = asm.Function(
        "int looks(u32 at)", [jsgt(R1, 0, "on"), Label("on"), ldxw(R0, R1), exit_()]
    )
    spec = asm.collection(
        asm.Function("main", [mov(R1, 0), call_local("looks"), exit_()], "socket"), looks
    )
    with pytest.raises(VerifierError, match=f"invalid mem access.*{FILE}:"):
        spec.load()


def test_a_static_function_is_verified_where_it_is_called() -> None:
    """It could not use what its caller passes."""
    fill = asm.Function("static int fill(u32 *place)", [stw(R1, 3), mov(R0, 0), exit_()])
    main = [mov(R1, R10), add(R1, -8), call_local("fill"), ldxw(R0, R10 - 8), exit_()]
    with asm.collection(asm.Function("main", main, "socket"), fill).load() as objects:
        assert objects.programs["main"].test_run(PACKET).return_value == 3


def test_maps_and_sections_of_an_assembled_object() -> None:
    """Maps of the spec are not those of the program, or its section says nothing."""
    code = [ld_map_value(R1, "state", 4), ldxw(R0, R1), jeq(R0, 0, "end"), Label("end"), exit_()]
    state = MapSpec("state", MapType.ARRAY, key_size=4, value_size=8, max_entries=1)
    spec = asm.collection(asm.Function("main", code, "xdp"), maps=[state], license="GPL")
    assert spec.programs["main"].type is ProgramType.XDP
    with spec.load() as objects:
        objects.maps["state"].update({0: struct.pack("=II", 0, 2)})
        assert objects.programs["main"].test_run(PACKET).return_value == 2


@dataclass
class Event:
    pid: u32
    size: u64


def test_typed_maps() -> None:
    """Values would be bytes, and bpftool would not know their fields."""
    maps = [
        asm.TypedMap("counts", MapType.HASH, key="I", value=Event, max_entries=2),
        asm.TypedMap("totals", MapType.ARRAY, value="Q", max_entries=1),
        asm.TypedMap("events", MapType.RINGBUF, value=Event, max_entries=4096),
    ]
    code = [
        stdw(R10 - 16, 7),
        stdw(R10 - 8, 11),
        stw(R10 - 24, 5),
        snippets.update("counts", R10 - 24, R10 - 16),
        snippets.add_to("totals", by=9),
        snippets.ring_output("events", R10 - 16, 16),
        exit_(),
    ]
    with asm.collection(asm.Function("main", code, "raw_tp"), maps=maps).load() as objects:
        objects.programs["main"].test_run(ctx=bytes(8))
        counts = objects.maps["counts"]
        assert counts[5].size == 11
        assert objects.maps["totals"][0] == 9
        with RingBuffer(objects.maps["events"]) as ring:
            (event,) = ring.read_batch(2)
        assert (event.pid, event.size) == (7, 11)
        dump = ["bpftool", "map", "dump", "id", str(counts.info().id)]
        assert '"size": 11' in subprocess.check_output(dump, text=True)


def test_functions_of_the_kernel() -> None:
    """Only programs that are loaded alone could call them by name."""
    code = [
        call_kfunc("bpf_cast_to_kern_ctx"),
        asm.Struct("sk_buff", kernel_btf).load(R0, R0, "len"),
        exit_(),
    ]
    spec = asm.collection(asm.Function("main", code, "tc"), license="GPL")
    assert list(spec.externs) == ["bpf_cast_to_kern_ctx"]
    if kernel_version() < (6, 2):
        raise NotSupportedError("bpf_cast_to_kern_ctx", (6, 2))
    with spec.load() as objects:
        assert objects.programs["main"].test_run(bytes(80)).return_value == 80
    wrong = asm.collection(asm.Function("main", [call_kfunc("nowhere_at_all"), exit_()], "tc"))
    with pytest.raises(BpfFileNotFoundError, match="nowhere_at_all"):
        wrong.load()


def test_variables_of_the_kernel() -> None:
    """Another variable would be read."""
    code = [ld_btf_id(R1, "runqueues"), call("this_cpu_ptr"), mov(R0, 3), exit_()]
    spec = asm.collection(asm.Function("main", code, "tc"), license="GPL")
    if not kernel_has_variables():
        with pytest.raises(BpfFileNotFoundError, match="was made without variables"):
            spec.load()
    elif kernel_has("CONFIG_KALLSYMS_ALL"):
        with spec.load() as objects:
            assert objects.programs["main"].test_run(PACKET).return_value == 3
    else:
        # The kernel tells by the number which variable it does not know the address of.
        with pytest.raises(VerifierError, match="address for kernel symbol 'runqueues'"):
            spec.load()


def test_a_map_must_be_named() -> None:
    """A spec with a descriptor in it would be loaded with another process's map."""
    code = [ld_map_fd(R1, open(os.devnull)), mov(R0, 0), exit_()]  # noqa: SIM115
    with pytest.raises(AsmError, match="name the map"):
        asm.collection(asm.Function("main", code, "xdp"))
    code[0].map.close()  # type: ignore[union-attr]


def test_a_map_gets_what_its_type_decides() -> None:
    """A map that Map.create makes would be refused for the key and value that it leaves out."""
    main = asm.Function("main", [ld_map_fd(R1, "jumps"), mov(R0, 0), exit_()], "xdp")
    jumps = asm.TypedMap("jumps", MapType.PROG_ARRAY, max_entries=2)
    with asm.collection(main, maps=[jumps]).load() as objects:
        objects.maps["jumps"][1] = objects.programs["main"]
        assert objects.maps["jumps"][1] == objects.programs["main"].info().id
