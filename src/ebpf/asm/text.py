"""Instructions as text, as LLVM's disassembler for BPF prints them: ``r0 = *(u64 *)(r1 + 8)``.

Where LLVM's text does not say everything, this one does, so that it can be read back: a call of a
function of the program is ``call pc+5`` and one of a kernel function ``call kfunc#5`` (LLVM prints
``call 5`` for both, as for helper 5), and the second half of a map value's address follows the
first. Where a reserved field is not zero, which LLVM overlooks and Linux refuses, the text is
``<unknown ...>``.
"""

from __future__ import annotations

from ebpf import opcodes as op

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ebpf.asm.instruction import Instruction

    Number = Callable[[int], str]
    Formatter = Callable[[Instruction, Number], "str | None"]

ALU_SIGNS = {
    op.ADD: "+=", op.SUB: "-=", op.MUL: "*=", op.DIV: "/=", op.OR: "|=", op.AND: "&=",
    op.LSH: "<<=", op.RSH: ">>=", op.MOD: "%=", op.XOR: "^=", op.MOV: "=", op.ARSH: "s>>=",
}  # fmt: skip
SIGNED_ALU_SIGNS = {op.DIV: "s/=", op.MOD: "s%="}
COMPARISONS = {
    op.JEQ: "==", op.JGT: ">", op.JGE: ">=", op.JSET: "&", op.JNE: "!=", op.JSGT: "s>",
    op.JSGE: "s>=", op.JLT: "<", op.JLE: "<=", op.JSLT: "s<", op.JSLE: "s<=",
}  # fmt: skip
SIZES = {op.B: 8, op.H: 16, op.W: 32, op.DW: 64}
ATOMIC_SIGNS = {op.ADD: "+=", op.OR: "|=", op.AND: "&=", op.XOR: "^="}
ATOMIC_NAMES = {op.ADD: "add", op.OR: "or", op.AND: "and", op.XOR: "xor"}
SWAP_SIZES = (16, 32, 64)


def format_instruction(instruction: Instruction, number: Number = str) -> str:
    """The text of `instruction`; ``<unknown ...>`` with its fields if its encoding is unknown."""
    if has_reserved_fields(instruction):
        return unknown_text(instruction)
    text = _BY_CLASS[instruction.opcode & op.CLASS_MASK](instruction, number)
    return unknown_text(instruction) if text is None else text


def unknown_text(instruction: Instruction) -> str:
    i = instruction
    return f"<unknown opcode={i.opcode:#04x} dst={i.dst} src={i.src} offset={i.offset} imm={i.imm}>"


def has_reserved_fields(instruction: Instruction) -> bool:
    """Whether a field that means nothing in this instruction is not zero."""
    used = _used_fields(instruction)
    return any(getattr(instruction, name) for name in _FIELDS if name not in used)


_FIELDS = ("dst", "src", "offset", "imm")
_ALL = frozenset(_FIELDS)


def _used_fields(i: Instruction) -> frozenset[str]:
    kind = i.opcode & op.CLASS_MASK
    if kind in (op.ALU, op.ALU64):
        return _used_by_alu(i)
    if kind in (op.JMP, op.JMP32):
        return _used_by_jump(i)
    if kind in (op.LDX, op.ST):
        return _ALL - {"imm" if kind == op.LDX else "src"}
    if kind == op.STX:
        return _ALL if i.opcode & op.MODE_MASK == op.ATOMIC else _ALL - {"imm"}
    if i.opcode == op.LDDW:
        return _ALL - {"offset"}
    return frozenset({"src", "imm"} if i.opcode & op.MODE_MASK == op.IND else {"imm"})


def _used_by_alu(i: Instruction) -> frozenset[str]:
    operation = i.opcode & op.OPERATION_MASK
    if operation == op.NEG:
        return frozenset({"dst"})
    if operation == op.END:
        return frozenset({"dst", "imm"})
    if not i.opcode & op.SOURCE_MASK:
        return frozenset({"dst", "imm", "offset"})
    cast = i.opcode == op.ALU64 | op.MOV | op.X and i.offset == op.ADDR_SPACE_CAST
    return _ALL if cast else _ALL - {"imm"}


def _used_by_jump(i: Instruction) -> frozenset[str]:
    if i.opcode == op.CALL_OPCODE:
        kfunc = i.src == op.PSEUDO_KFUNC_CALL
        return frozenset({"src", "imm", "offset"} if kfunc else {"src", "imm"})
    fields = {
        op.EXIT_OPCODE: set(), op.JA32: {"imm"}, op.JMP | op.JA: {"offset"},
        op.JMP | op.JCOND: {"offset"}, op.JAX: {"dst"}, op.CALL_OPCODE | op.X: {"dst"},
    }.get(i.opcode)  # fmt: skip
    if fields is not None:
        return frozenset(fields)
    return _ALL - {"imm" if i.opcode & op.SOURCE_MASK else "src"}


def _memory(base: int, offset: int, number: Number) -> str:
    return f"r{base} {'-' if offset < 0 else '+'} {number(abs(offset))}"


def relative(distance: int, number: Number = str) -> str:
    return f"{'-' if distance < 0 else '+'}{number(abs(distance))}"


def _place(instruction: Instruction, distance: int, number: Number) -> str:
    return instruction.target if instruction.target is not None else relative(distance, number)


def _alu(i: Instruction, number: Number) -> str | None:
    operation = i.opcode & op.OPERATION_MASK
    wide = i.opcode & op.CLASS_MASK == op.ALU64
    register = "r" if wide else "w"
    dst = f"{register}{i.dst}"
    by_register = bool(i.opcode & op.SOURCE_MASK)
    if operation == op.END:
        return _byte_swap(i, wide, by_register)
    if operation == op.NEG:
        return None if by_register else f"{dst} = -{dst}"
    if operation == op.MOV and by_register and i.offset:
        return _special_move(i, wide, dst, f"{register}{i.src}", number)
    signs = {0: ALU_SIGNS, 1: SIGNED_ALU_SIGNS}.get(i.offset, {})
    if operation not in signs:
        return None
    return f"{dst} {signs[operation]} {f'{register}{i.src}' if by_register else number(i.imm)}"


def _byte_swap(i: Instruction, wide: bool, to_big: bool) -> str | None:
    if i.imm not in SWAP_SIZES or (wide and to_big):
        return None
    name = "bswap" if wide else "be" if to_big else "le"
    return f"r{i.dst} = {name}{i.imm} r{i.dst}"


def _special_move(i: Instruction, wide: bool, dst: str, src: str, number: Number) -> str | None:
    if wide and i.offset == op.ADDR_SPACE_CAST:
        to, of = number(i.imm >> 16 & 0xFFFF), number(i.imm & 0xFFFF)
        return f"{dst} = addr_space_cast({src}, {to}, {of})"
    return f"{dst} = (s{i.offset}){src}" if is_sign_extension(i) else None


def is_sign_extension(i: Instruction) -> bool:
    """Whether a move by register with an offset is one that extends a sign."""
    wide = i.opcode & op.CLASS_MASK == op.ALU64
    return i.offset in ((8, 16, 32) if wide else (8, 16))


def _jump(i: Instruction, number: Number) -> str | None:
    operation = i.opcode & op.OPERATION_MASK
    if operation in COMPARISONS:
        register = "r" if i.opcode & op.CLASS_MASK == op.JMP else "w"
        src = f"{register}{i.src}" if i.opcode & op.SOURCE_MASK else number(i.imm)
        place = _place(i, i.offset, number)
        return f"if {register}{i.dst} {COMPARISONS[operation]} {src} goto {place}"
    if i.opcode == op.JMP | op.JA:
        return f"goto {_place(i, i.offset, number)}"
    if i.opcode == op.JA32:
        return f"gotol {_place(i, i.imm, number)}"
    if i.opcode == op.JMP | op.JCOND:
        return f"may_goto {_place(i, i.offset, number)}"
    if i.opcode == op.JAX:
        return f"gotox r{i.dst}"
    if i.opcode == op.EXIT_OPCODE:
        return "exit"
    if i.opcode == op.CALL_OPCODE:
        return _call(i, number)
    return f"callx r{i.dst}" if i.opcode == op.CALL_OPCODE | op.X else None


def _call(i: Instruction, number: Number) -> str | None:
    if i.target is not None:
        return f"call {i.target}"
    if i.src == op.PSEUDO_CALL:
        return f"call pc{relative(i.imm, number)}"
    if i.src == op.PSEUDO_KFUNC_CALL:
        if i.symbol is not None:
            return f"call kfunc:{i.symbol}"
        # The second number is the place of a module's BTF.
        return f"call kfunc#{i.imm}" + (f"@{i.offset}" if i.offset else "")
    return f"call {number(i.imm)}" if i.src == 0 else None


def _load(i: Instruction, number: Number) -> str | None:
    if i.opcode == op.LDDW:
        return _load_64(i, number)
    size = i.opcode & op.SIZE_MASK
    if size == op.DW:
        return None
    mode = i.opcode & op.MODE_MASK
    if mode == op.ABS:
        return f"r0 = *(u{SIZES[size]} *)skb[{number(i.imm)}]"
    if mode == op.IND:
        # LLVM knows no immediate here, although classic BPF and the kernel add it.
        sign = "-" if i.imm < 0 else "+"
        index = f"r{i.src}" + (f" {sign} {number(abs(i.imm))}" if i.imm else "")
        return f"r0 = *(u{SIZES[size]} *)skb[{index}]"
    return None


def _load_64(i: Instruction, number: Number) -> str:
    low, high = i.imm & 0xFFFF_FFFF, i.imm >> 32 & 0xFFFF_FFFF
    if i.map is not None:
        offset = f"+{number(high)}" if i.src == op.PSEUDO_MAP_VALUE else ""
        return f"r{i.dst} = {_map_name(i.map)}{offset} ll"
    if i.symbol is not None:
        return f"r{i.dst} = kernel:{i.symbol} ll"
    if i.target is not None:
        return f"r{i.dst} = &{i.target} ll"
    if i.src == 0:
        return f"r{i.dst} = {number(i.imm)} ll"
    low = low - 2**32 if low >= 2**31 else low
    return f"ld_pseudo r{i.dst}, {number(i.src)}, {number(low)}" + (
        f", {number(high)}" if high else ""
    )


def _map_name(map_reference: object) -> str:
    name = map_reference if isinstance(map_reference, str) else getattr(map_reference, "name", None)
    return name if isinstance(name, str) else f"<{type(map_reference).__name__}>"


def _load_memory(i: Instruction, number: Number) -> str | None:
    size = i.opcode & op.SIZE_MASK
    mode = i.opcode & op.MODE_MASK
    memory = _memory(i.src, i.offset, number)
    if mode == op.MEM:
        # Loads of less than 64 bits clear the rest, so LLVM shows them as loads of the lower half.
        register = "r" if size == op.DW else "w"
        return f"{register}{i.dst} = *(u{SIZES[size]} *)({memory})"
    if mode == op.MEMSX and size != op.DW:
        return f"r{i.dst} = *(s{SIZES[size]} *)({memory})"
    return None


def _store_immediate(i: Instruction, number: Number) -> str | None:
    if i.opcode & op.MODE_MASK != op.MEM:
        return None
    memory = _memory(i.dst, i.offset, number)
    return f"*(u{SIZES[i.opcode & op.SIZE_MASK]} *)({memory}) = {number(i.imm)}"


def _store_register(i: Instruction, number: Number) -> str | None:
    size = i.opcode & op.SIZE_MASK
    mode = i.opcode & op.MODE_MASK
    register = "r" if size == op.DW else "w"
    if mode == op.MEM:
        memory = _memory(i.dst, i.offset, number)
        return f"*(u{SIZES[size]} *)({memory}) = {register}{i.src}"
    if mode != op.ATOMIC:
        return None
    if i.imm == op.LOAD_ACQUIRE:
        memory = f"(u{SIZES[size]} *)({_memory(i.src, i.offset, number)})"
        return f"{register}{i.dst} = load_acquire({memory})"
    if i.imm == op.STORE_RELEASE:
        memory = f"(u{SIZES[size]} *)({_memory(i.dst, i.offset, number)})"
        return f"store_release({memory}, {register}{i.src})"
    return _atomic(i, SIZES[size], register, number) if size in (op.W, op.DW) else None


def _atomic(i: Instruction, bits: int, register: str, number: Number) -> str | None:
    memory = _memory(i.dst, i.offset, number)
    src = f"{register}{i.src}"
    suffix = "_64" if bits == 64 else "32_32"
    if i.imm == op.XCHG:
        return f"{src} = xchg{suffix}({memory}, {src})"
    if i.imm == op.CMPXCHG:
        return f"{register}0 = cmpxchg{suffix}({memory}, {register}0, {src})"
    if i.imm in ATOMIC_SIGNS:
        return f"lock *(u{bits} *)({memory}) {ATOMIC_SIGNS[i.imm]} {src}"
    name = ATOMIC_NAMES.get(i.imm & ~op.FETCH)
    return f"{src} = atomic_fetch_{name}((u{bits} *)({memory}), {src})" if name else None


_BY_CLASS: dict[int, Formatter] = {
    op.LD: _load,
    op.LDX: _load_memory,
    op.ST: _store_immediate,
    op.STX: _store_register,
    op.ALU: _alu,
    op.JMP: _jump,
    op.JMP32: _jump,
    op.ALU64: _alu,
}
