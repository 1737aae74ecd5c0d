"""Relocations, prototypes, registers and line information, without a kernel."""

from __future__ import annotations

import pickle
import re
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ebpf.compile
from ebpf import asm
from ebpf.asm import R0, R1, R3, R6, R7, R10, Label, assemble, call_local, exit_, ldxw, mov
from ebpf.asm.lines import debug_info, identifier
from ebpf.asm.portable import core_relocations
from ebpf.asm.prototypes import parse
from ebpf.btf import Btf
from ebpf.btf import types as t
from ebpf.btf.build import BtfBuilder
from ebpf.btf.core import Relocator
from ebpf.btf.ext import CoreKind
from ebpf.errors import AsmError, BtfError
from ebpf.plain import NamedTuple

SIGNED = t.IntEncoding.SIGNED


class TracepointField(NamedTuple):
    """As `ebpf.tracefs` has it, which needs a kernel."""

    name: str
    declaration: str
    offset: int
    size: int
    signed: bool

    @property
    def is_array(self) -> bool:
        return "[" in self.declaration


def types(*, shift: int, swapped: bool = False) -> Btf:
    """A struct with everything that a path may lead through, its fields `shift` bytes further."""
    b = BtfBuilder("little")
    number = b.add(t.Int(name="int", size=4, bits=32, encoding=SIGNED))
    pair = b.add(
        t.Struct(name="", size=8, members=(t.Member("a", number, 0), t.Member("b", number, 32)))
    )
    union = b.add(
        t.Union(name="", size=8, members=(t.Member("", pair, 0), t.Member("whole", number, 0)))
    )
    inner = b.add(
        t.Struct(name="inner", size=8 + shift, members=(t.Member("deep", number, 8 * (4 + shift)),))
    )
    array = b.add(t.Array(type_id=inner, index_type_id=number, length=3))
    ops = b.add(
        t.Union(name="either", size=16, members=(t.Member("", pair, 0), t.Member("x", number, 0)))
    )
    at = 8 * shift
    members = [
        t.Member("", union, at),
        t.Member("many", array, 64 + at),
        t.Member("bits", number, 64 + 3 * 8 * (8 + shift) + at, 3),
        t.Member("either", ops, 128 + 3 * 8 * (8 + shift) + at),
        t.Member("next", b.next_id + 1, 256 + 3 * 8 * (8 + shift) + at),
    ]
    size = 40 + 3 * (8 + shift) + shift
    b.add(t.Struct(name="outer", size=size, members=tuple(members), kind_flag=True))
    b.add(t.Pointer(type_id=b.next_id - 1))
    return b.to_btf()


HERE, THERE = types(shift=0), types(shift=4)
OUTER = asm.Struct("outer", HERE)
PATHS = ["a", "b", "whole", "many[2].deep", "either.b", "either.x", "many[1]"]


def relocated(code: object, target: Btf) -> bytes:
    assembly = assemble([code, exit_()], byteorder="little", check=False)
    local, relocations = core_relocations(assembly)
    relocator = Relocator(local, [target])
    patched = bytearray(assembly.code)
    for relocation in relocations:
        assert not relocator.apply(patched, relocation, relocation.insn_offset // 8).poison
    return bytes(patched)


@pytest.mark.parametrize("path", PATHS)
def test_a_path_leads_to_the_same_field_in_other_types(path: str) -> None:
    """The instruction keeps the offset of the types that it was written with."""
    for target in (HERE, THERE):
        patched = relocated(OUTER.offset(R0, path), target)
        assert struct.unpack_from("<i", patched, 4)[0] == target.find_struct("outer").offsetof(path)


def test_all_paths_of_one_program_share_their_types() -> None:
    """What one relocation adds to a struct must not lead another one elsewhere."""
    codes = [OUTER.offset(R0, path) for path in (*PATHS, *reversed(PATHS))]
    patched = relocated(codes, THERE)
    found = [imm for _, _, _, imm in struct.iter_unpack("<BBhi", patched)][:-1]
    layout = THERE.find_struct("outer")
    assert found == [layout.offsetof(path) for path in (*PATHS, *reversed(PATHS))]


def test_a_program_carries_only_what_it_uses() -> None:
    """Every program would have the types of half the kernel."""
    local, (relocation,) = core_relocations(
        assemble([OUTER.load(R0, R1, "many[1].deep")[0], exit_()])
    )
    assert relocation.kind == CoreKind.FIELD_BYTE_OFFSET
    outer = local.type(relocation.type_id)
    assert isinstance(outer, t.Struct)
    assert [member.name for member in outer.members] == ["many"]
    assert outer.size == HERE.find_struct("outer").size


def test_bitfields_are_read_with_the_shifts_of_the_target() -> None:
    """The bits of a neighbour would be read."""
    code = OUTER.read(R0, R6, "bits", buffer=R10 - 8)
    patched = relocated(code, THERE)
    *_, left, right, _ = (imm for _, _, _, imm in struct.iter_unpack("<BBhi", patched))
    assert (left, right) == (61, 61)
    with pytest.raises(AsmError, match=r"load: outer.bits is a bitfield: read\(\) it"):
        OUTER.load(R0, R1, "bits")


def test_the_neighbours_of_a_bitfield_are_left_alone() -> None:
    """A store of three bits would set the whole number that they are in."""
    for code in (
        lambda: OUTER.store(R1, "bits", R0),
        lambda: OUTER.address(R0, R1, "bits"),
        lambda: OUTER.copy(R10 - 8, R1, "bits"),
    ):
        with pytest.raises(AsmError, match=r"outer.bits is a bitfield: (offset|read)\(\)"):
            code()


def test_a_copy_goes_where_it_is_to_go() -> None:
    """What R3 pointed to would be taken for what the field is read from."""
    with pytest.raises(AsmError, match="target must not be in R3"):
        OUTER.copy(R3 + 8, R6, "either")


def test_pointers_are_followed() -> None:
    """A path through a pointer would be an offset in one struct."""
    first, second, *_ = OUTER.load(R0, R1, "next.b")
    assert str(first) == f"r0 = *(u64 *)(r1 + {HERE.find_struct('outer').offsetof('next')})"
    assert str(second).endswith("(r0 + 4)")
    with pytest.raises(AsmError, match=r"pointee\('next'\)"):
        OUTER.offset(R0, "next.b")
    assert OUTER.pointee("next").name == "outer"


@pytest.mark.parametrize(
    ("path", "error", "match"),
    [
        ("c", BtfError, "no field 'c'"),
        ("many", AsmError, "copy"),
        ("many[9].deep", BtfError, "index 9"),
        ("a.b", BtfError, "no fields"),
    ],
)
def test_wrong_paths(path: str, error: type[Exception], match: str) -> None:
    """A mistake would be an offset of something else."""
    with pytest.raises(error, match=match):
        OUTER.load(R0, R1, path)


def test_enumerators() -> None:
    """An enumerator would keep the number that it had where the program was written."""

    def enum(value: int) -> Btf:
        builder = BtfBuilder("little")
        values = (t.Enumerator("OTHER", 0), t.Enumerator("ONE", value))
        builder.add(t.Enum(name="kind", size=4, values=values))
        return builder.to_btf()

    code = asm.enum_value(R0, "kind", "ONE", enum(1))
    assert struct.unpack_from("<i", relocated(code, enum(5)), 4)[0] == 5
    with pytest.raises(AsmError, match="it has: OTHER, ONE"):
        asm.enum_value(R0, "kind", "TWO", enum(1))


def test_a_relocated_instruction_is_a_value() -> None:
    """Two that are relocated differently would be equal, or lose their line when they are kept."""
    (one,) = OUTER.offset(R0, "a")
    (same,) = OUTER.offset(R0, "a")
    (other,) = OUTER.offset(R0, "whole")
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one != mov(R0, one.imm)
    assert one.position is not None
    assert one.position.filename == __file__


@pytest.mark.parametrize(
    "text", ["", "a b", "int f(", "int f(u32)", "int f(int * a b)", "f(x y)", "9()"]
)
def test_wrong_prototypes(text: str) -> None:
    """A mistake would be a function of another type."""
    with pytest.raises(AsmError):
        asm.collection(asm.Function(text, [mov(R0, 0), exit_()]))


def test_prototypes() -> None:
    """A parameter would have another type or name."""
    parsed = parse("static  unsigned   long f(const char *text, struct key* key, u32 n) ;")
    assert (parsed.name, parsed.static, parsed.returns) == ("f", True, "unsigned long")
    assert parsed.parameters == (("char *", "text"), ("struct key *", "key"), ("u32", "n"))
    assert parse("int f(void)").parameters == ()
    assert parse("name").declared is False


def test_the_types_of_a_prototype() -> None:
    """The kernel would be told something else of the arguments."""
    code = [mov(R0, 0), exit_()]
    made = asm.collection(asm.Function("u64 f(struct outer *o, struct xdp_md *c)", code), btf=HERE)
    assert made.btf is not None
    func = made.btf.find("f", t.Kind.FUNC)
    assert isinstance(func, t.Func)
    assert func.linkage == t.Linkage.GLOBAL
    outer = made.btf.find("outer", t.Kind.STRUCT)
    assert isinstance(outer, t.Struct)
    assert outer.size == HERE.find_struct("outer").size
    with pytest.raises(AsmError, match="btf="):
        asm.collection(asm.Function("int f(struct outer *o)", code))


def test_types_of_a_prototype_that_the_kernel_has() -> None:
    """What C calls a parameter could not be said."""
    b = BtfBuilder("little")
    long = b.add(t.Int(name="long unsigned int", size=8, bits=64))
    b.add(t.Typedef(name="size_t", type_id=b.add(t.Typedef(name="kernel_size", type_id=long))))
    values = (t.Enumerator("ONE", 1),)
    b.add(t.Enum(name="kind", size=4, values=values))
    body = b.add(t.Struct(name="", size=8, members=(t.Member("x", long, 0),)))
    b.add(t.Typedef(name="key_t", type_id=body))
    text = "size_t f(enum kind a, key_t *key)"
    made = asm.collection(asm.Function(text, [mov(R0, 0), exit_()]), btf=b.to_btf()).btf
    assert made is not None
    func = made.find("f", t.Kind.FUNC)
    assert isinstance(func, t.Func)
    prototype = made.resolve(func.type_id)
    assert isinstance(prototype, t.FuncProto)
    kinds = [made.resolve(parameter.type_id) for parameter in prototype.parameters]
    assert made.resolve(prototype.type_id) == t.Int(
        id=prototype.type_id, name="long unsigned int", size=8, bits=64
    )
    assert isinstance(kinds[0], t.Enum)
    assert kinds[0].size == 4
    assert isinstance(kinds[1], t.Pointer)
    assert made.sizeof(kinds[1].type_id) == 8
    with pytest.raises(AsmError, match="unknown type 'enum kind'"):
        asm.collection(asm.Function("int f(enum kind a)", [mov(R0, 0), exit_()]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("int f(int a, int b, int c, int d, int e, int f)", "6 parameters"),
        ("void *f(void)", "static"),
        ("struct key f(int a)", "static"),
        ("int f(char a[4])", "an array is passed as a pointer"),
    ],
)
def test_prototypes_that_no_kernel_takes(text: str, message: str) -> None:
    """The verifier would speak of a compiler."""
    with pytest.raises(AsmError, match=message):
        asm.Function(text, [mov(R0, 0), exit_()])


def test_fields_that_the_types_at_hand_lack() -> None:
    """Nobody could ask on an old kernel for what a newer one has."""
    declared = asm.Struct.declared("outer", {"gone": "struct file *", "a": "int", "whole": "u64"})
    target = THERE.find_struct("outer")
    for code, found in (
        (declared.exists(R0, "gone"), 0),
        (declared.exists(R0, "a"), 1),
        (declared.offset(R0, "a"), target.offsetof("a")),
    ):
        assert struct.unpack_from("<i", relocated(code, THERE), 4)[0] == found
    with pytest.raises(BtfError, match=r"Struct.declared\('outer'"):
        OUTER.exists(R0, "gone")
    with pytest.raises(AsmError, match=r"outer\.a: 'size_t' is no number"):
        asm.Struct.declared("outer", {"a": "size_t"})


def test_functions_that_are_not_there() -> None:
    """A call would go wherever its number leads."""
    calls = [call_local("nowhere"), exit_()]
    with pytest.raises(
        AsmError, match=rf"{re.escape(__file__)}:\d+.*no function or label.*main, x"
    ):
        asm.collection(asm.Function("main", [*calls, Label("x"), exit_()], "xdp"))
    with pytest.raises(AsmError, match="twice"):
        asm.collection(asm.Function("f", [exit_()]), asm.Function("f", [exit_()]))
    with pytest.raises(AsmError, match="no program type"):
        asm.collection(asm.Function("f", [mov(R0, 0), exit_()], "nothing"))


def test_code_of_a_function_is_read_once() -> None:
    """A second collection of a function with a generator would be empty."""
    function = asm.Function("main", (one for one in [mov(R0, 0), exit_()]), "xdp")
    first, second = asm.collection(function), asm.collection(function)
    assert first.functions["main"].code == second.functions["main"].code
    with pytest.raises(TypeError, match="code"):
        asm.Function("main", [mov(R0, 0), 5], "xdp")


MACHINES = {"x86_64": "x86", "aarch64": "arm64", "riscv64": "riscv", "s390x": "s390"}


def fields(machine: str) -> list[str]:
    """The registers in the order in which uapi asm/ptrace.h (asm/processor.h) has them."""
    if machine == "x86_64":
        text = "r15 r14 r13 r12 bp bx r11 r10 r9 r8 ax cx dx si di orig_ax ip cs flags sp ss"
    elif machine == "aarch64":
        text = " ".join(f"regs[{n}]" for n in range(31)) + " sp pc pstate orig_x0"
    elif machine == "riscv64":
        saved = " ".join(f"s{n}" for n in range(2, 12))
        arguments = " ".join(f"a{n}" for n in range(8))
        text = f"pc ra sp gp tp t0 t1 t2 s0 s1 {arguments} {saved} t3 t4 t5 t6"
        text += " status badaddr cause orig_a0"
    else:
        text = "args psw.mask psw.addr " + " ".join(f"gprs[{n}]" for n in range(16)) + " orig_gpr2"
    return text.split()


@pytest.mark.parametrize("machine", MACHINES)
def test_registers_are_those_of_the_tracing_header(machine: str) -> None:
    """The assembler and C programs would disagree about a machine."""
    header = Path(ebpf.compile.__file__).parent / "include" / "bpf" / "bpf_tracing.h"
    part = (
        header.read_text().split(f"__TARGET_ARCH_{MACHINES[machine]})")[1].split("TARGET_ARCH_")[0]
    )
    names: dict[str, str] = {}
    for key, name in re.findall(r"#define ___bpf_(\w*reg\w+) ([\w.\[\]]+)\n", part):
        if "bpf_" not in name:  # an alias, or no register
            names.setdefault(key, name)
    order = fields(machine)
    registers = asm.PtRegs(machine)

    def offset(key: str) -> int:
        return 8 * order.index(names[key])

    arguments = [offset(f"reg{n}") for n in range(1, 9) if f"reg{n}" in names]
    found = [registers.argument(R0, R1, n)[0].offset for n in range(len(arguments))]
    assert found == arguments
    with pytest.raises(AsmError, match="in registers"):
        registers.argument(R0, R1, len(arguments))
    for key, method in (
        ("reg_rc", registers.result), ("reg_ip", registers.instruction_pointer),
        ("reg_sp", registers.stack_pointer), ("reg_fp", registers.frame_pointer),
    ):  # fmt: skip
        assert method(R0, R1)[0].offset == offset(key)
    for number in range(6):
        own = f"sysreg{number + 1}"
        key = own if own in names else f"reg{number + 1}"
        code = registers.system_call_argument(R0, R6, number, buffer=R10 - 8)
        assert code[1].imm == offset(key)


def test_another_machine() -> None:
    """Its registers would be those of this one."""
    with pytest.raises(AsmError, match="x86_64, aarch64"):
        asm.PtRegs("alpha")


def test_line_information() -> None:
    """A line would belong to another instruction."""
    code = [
        mov(R0, 1), call_local("f"),
        exit_(),
        Label("f"),
        ldxw(R0, R1), exit_(),
    ]  # fmt: skip
    info = debug_info(assemble(code, byteorder="little"), "main")
    btf = Btf(info.btf)
    assert [func.name for func in btf.types() if isinstance(func, t.Func)] == ["main", "main_f"]
    assert list(struct.iter_unpack("<II", info.func_info)) == [(0, 3), (3, 4)]
    lines = list(struct.iter_unpack("<IIII", info.line_info))
    assert [slot for slot, *_ in lines] == [0, 2, 3]
    assert {btf.strings.get(name) for _, name, _, _ in lines} == {__file__}
    texts = [btf.strings.get(text) for _, _, text, _ in lines]
    assert texts == ['mov(R0, 1), call_local("f"),', "exit_(),", "ldxw(R0, R1), exit_(),"]


@given(st.text())
def test_every_name_becomes_one_of_a_function(text: str) -> None:
    """The kernel refuses BTF for its names."""
    assert re.fullmatch(r"[A-Za-z_]\w{0,126}", identifier(text), re.ASCII)


def functions() -> Btf:
    """``int f(u8 small, struct by_value two, s16, struct by_value *place)`` and a tracepoint."""
    b = BtfBuilder("little")
    number = b.add(t.Int(name="int", size=4, bits=32, encoding=SIGNED))
    small = b.add(t.Int(name="u8", size=1, bits=8))
    short = b.add(t.Int(name="s16", size=2, bits=16, encoding=SIGNED))
    two = b.add(t.Struct(name="by_value", size=16, members=(t.Member("x", number, 64),)))
    place = b.add(t.Pointer(type_id=two))
    parameters = [("small", small), ("two", two), ("", short), ("place", place)]
    whole = tuple(t.Parameter(name, kind) for name, kind in parameters)
    b.add(t.Func(name="f", type_id=b.add(t.FuncProto(type_id=number, parameters=whole))))
    data = t.Parameter("__data", b.add(t.Pointer(type_id=0)))
    named = (data, t.Parameter("place", place), t.Parameter("n", number))
    bare = tuple(parameter._replace(name="") for parameter in named)
    pointer = b.add(t.Pointer(type_id=b.add(t.FuncProto(type_id=0, parameters=bare))))
    b.add(t.Typedef(name="btf_trace_event", type_id=pointer))
    b.add(t.Func(name="__traceiter_event", type_id=b.add(t.FuncProto(type_id=0, parameters=named))))
    b.add(t.Typedef(name="btf_trace_bare", type_id=pointer))
    return b.to_btf()


def test_arguments_of_functions() -> None:
    """An argument behind a struct by value would be a part of it; a short one have others' bits."""
    found = asm.arguments("f", functions())
    assert found.names == ("small", "two", "2", "place")
    texts = {name: list(map(str, found.load(R6, R1, name))) for name in ("small", "2", "place")}
    assert texts == {
        "small": ["r6 = *(u64 *)(r1 + 0)", "r6 <<= 56", "r6 >>= 56"],
        "2": ["r6 = *(u64 *)(r1 + 24)", "r6 <<= 48", "r6 s>>= 48"],
        "place": ["r6 = *(u64 *)(r1 + 32)"],
    }
    assert str(found.result(R6, R1)[0]) == "r6 = *(u64 *)(r1 + 40)"
    assert str(found.struct("place").load(R6, R6, "x")[0]) == "w6 = *(u32 *)(r6 + 8)"
    assert found.load(R6, R1, 3) == found.load(R6, R1, "place")
    with pytest.raises(AsmError, match="no argument 4"):
        found.load(R6, R1, 4)
    with pytest.raises(AsmError, match="by value"):
        found.load(R6, R1, "two")
    with pytest.raises(AsmError, match="it has: small, two, 2, place"):
        found.load(R6, R1, "tiny")
    with pytest.raises(BtfError, match="no pointer"):
        found.struct("small")


@pytest.mark.parametrize("machine", MACHINES)
def test_arguments_in_registers(machine: str) -> None:
    """An argument would be read where fentry has it, or from a register of another machine."""
    b = BtfBuilder("little")
    number = b.add(t.Int(name="int", size=4, bits=32, encoding=SIGNED))
    pointer = b.add(t.Pointer(type_id=b.add(t.Struct(name="place", size=0, members=()))))
    kinds = [pointer, number, pointer]
    whole = tuple(t.Parameter(name, kind) for name, kind in zip("abc", kinds, strict=True))
    b.add(t.Func(name="f", type_id=b.add(t.FuncProto(type_id=number, parameters=whole))))
    registers = asm.PtRegs(machine)
    found = asm.arguments("f", b.to_btf(), registers=registers)
    assert found.load(R6, R1, "a") == registers.argument(R6, R1, 0)
    widened = ["r6 <<= 32", "r6 s>>= 32"]
    assert found.load(R6, R1 + 8, "b")[:1] == registers.argument(R6, R1 + 8, 1)
    assert list(map(str, found.load(R6, R1, "b")[1:])) == widened
    assert found.load(R6, R1, 2) == registers.argument(R6, R1, 2)
    assert found.result(R6, R1)[:1] == registers.result(R6, R1)
    assert list(map(str, found.result(R6, R1)[1:])) == widened
    by_value = asm.arguments("f", functions(), registers=registers)
    assert by_value.load(R6, R1, "small")[:1] == registers.argument(R6, R1, 0)
    for behind in ("2", "place"):
        with pytest.raises(AsmError, match=rf"f: {behind} is not told, as from two on"):
            by_value.load(R6, R1, behind)
    with pytest.raises(AsmError, match="by value: where that is"):
        by_value.load(R6, R1, "two")


def test_arguments_of_members() -> None:
    """A program for struct_ops would have to count its arguments itself."""
    b = BtfBuilder("little")
    number = b.add(t.Int(name="int", size=4, bits=32, encoding=SIGNED))
    bare = t.FuncProto(type_id=number, parameters=(t.Parameter("", number),) * 2)
    pointer = b.add(t.Pointer(type_id=b.add(bare)))
    members = (t.Member("pick", pointer, 0), t.Member("turn", pointer, 64))
    b.add(t.Struct(name="ops", size=24, members=(*members, t.Member("flags", number, 128))))
    named = (t.Parameter("first", number), t.Parameter("second", number))
    proto = b.add(t.FuncProto(type_id=number, parameters=named))
    b.add(t.Func(name="ops__pick", type_id=proto))
    btf = b.to_btf()
    assert asm.arguments("ops.pick", btf).names == ("first", "second")
    turn = asm.arguments("ops.turn", btf)
    assert turn.names == ("0", "1")
    assert str(turn.load(R6, R1, 1)[0]) == "r6 = *(u64 *)(r1 + 8)"
    with pytest.raises(BtfError, match="flags is no function"):
        asm.arguments("ops.flags", btf)
    with pytest.raises(BtfError, match="did you mean turn"):
        asm.arguments("ops.turns", btf)


def test_arguments_of_tracepoints() -> None:
    """What whoever registered passes to himself would be the first argument."""
    found = asm.tracepoint_arguments("event", functions())
    assert found.names == ("place", "n")
    assert str(found.load(R6, R1, "n")[0]) == "r6 = *(u64 *)(r1 + 8)"
    assert asm.tracepoint_arguments("bare", functions()).names == ("0", "1")
    with pytest.raises(AsmError, match="returns nothing"):
        found.result(R0, R1)
    with pytest.raises(BtfError, match="no tracepoint named 'other'"):
        asm.tracepoint_arguments("other", functions())


def test_records_of_tracepoints() -> None:
    """A string's place would be taken for the string, or what programs may not read be read."""
    record = asm.tracepoint(
        {
            "common_pid": TracepointField("common_pid", "int common_pid", 4, 4, True),
            "error": TracepointField("error", "short error", 8, 2, True),
            "name": TracepointField("name", "__data_loc char[] name", 12, 4, False),
            "comm": TracepointField("comm", "char comm[16]", 16, 16, False),
            "near": TracepointField("near", "__rel_loc char[] near", 32, 4, False),
        }
    )
    shown = list(map(str, record.load(R6, R1, "error")))
    assert shown == ["w6 = *(u16 *)(r1 + 8)", "r6 <<= 48", "r6 s>>= 48"]
    shown = list(map(str, record.address(R6, R1, "name")))
    assert shown == ["w6 = *(u32 *)(r1 + 12)", "w6 &= 65535", "r6 += r1"]
    assert list(map(str, record.address(R6, R1, "comm"))) == ["r6 = r1", "r6 += 16"]
    # Its word counts from where it ends itself: 8 bytes behind R7, and 36.
    shown = list(map(str, record.address(R6, R7 + 8, "near")))
    assert shown == ["w6 = *(u32 *)(r7 + 40)", "w6 &= 65535", "r6 += r7", "r6 += 44"]
    with pytest.raises(AsmError, match="common"):
        record.load(R6, R1, "common_pid")
    with pytest.raises(AsmError, match="address"):
        record.load(R6, R1, "comm")
    with pytest.raises(AsmError, match="it has: error, name, comm, near"):
        record.load(R6, R1, "none")
    with pytest.raises(AsmError, match="both are needed"):
        record.address(R1, R1, "name")


def test_types_that_the_target_lacks() -> None:
    """What is missing would be taken for something else."""
    assembly = assemble([OUTER.offset(R0, "a"), exit_()], byteorder="little")
    local, (relocation,) = core_relocations(assembly)
    empty = BtfBuilder("little").to_btf()
    assert Relocator(local, [empty]).apply(bytearray(assembly.code), relocation, 0).poison


def test_pickling_a_plain_instruction() -> None:
    """Programs are sent between processes."""
    code = assemble([mov(R0, 0), exit_()])
    assert pickle.loads(pickle.dumps(code)) == code
