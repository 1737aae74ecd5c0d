"""Instructions as text, as LLVM's disassembler for BPF prints them: ``r0 = *(u64 *)(r1 + 8)``.

Where LLVM's text does not say everything, this one does: a call of a function of the program
is ``call pc+5`` and a call of a kernel function ``call kfunc#5`` (LLVM prints ``call 5`` for
both, as for helper 5), and the second half of a map value's address follows the first. Where a
reserved field is not zero, which LLVM overlooks and Linux refuses, the text is ``<unknown ...>``.
"""

from __future__ import annotations

from ebpf import opcodes as op

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ebpf.asm.instruction import Instruction

    Formatter = Callable[[Instruction], "str | None"]

_ALU_SIGNS = {
    op.ADD: "+=", op.SUB: "-=", op.MUL: "*=", op.DIV: "/=", op.OR: "|=", op.AND: "&=",
    op.LSH: "<<=", op.RSH: ">>=", op.MOD: "%=", op.XOR: "^=", op.MOV: "=", op.ARSH: "s>>=",
}  # fmt: skip
_SIGNED_ALU_SIGNS = {op.DIV: "s/=", op.MOD: "s%="}
_COMPARISONS = {
    op.JEQ: "==", op.JGT: ">", op.JGE: ">=", op.JSET: "&", op.JNE: "!=", op.JSGT: "s>",
    op.JSGE: "s>=", op.JLT: "<", op.JLE: "<=", op.JSLT: "s<", op.JSLE: "s<=",
}  # fmt: skip
_SIZES = {op.B: 8, op.H: 16, op.W: 32, op.DW: 64}
_ATOMIC_SIGNS = {op.ADD: "+=", op.OR: "|=", op.AND: "&=", op.XOR: "^="}
_ATOMIC_NAMES = {op.ADD: "add", op.OR: "or", op.AND: "and", op.XOR: "xor"}


def format_instruction(instruction: Instruction) -> str:
    """The text of `instruction`; ``<unknown ...>`` with its fields if its encoding is unknown."""
    text = _BY_CLASS[instruction.opcode & op.CLASS_MASK](instruction)
    if text is not None:
        return text
    return (
        f"<unknown opcode={instruction.opcode:#04x} dst={instruction.dst} src={instruction.src}"
        f" offset={instruction.offset} imm={instruction.imm}>"
    )


def _memory(base: int, offset: int) -> str:
    return f"r{base} {'-' if offset < 0 else '+'} {abs(offset)}"


def _place(instruction: Instruction, relative: int) -> str:
    return instruction.target if instruction.target is not None else f"{relative:+d}"


def _alu(i: Instruction) -> str | None:
    operation = i.opcode & op.OPERATION_MASK
    wide = i.opcode & op.CLASS_MASK == op.ALU64
    register = "r" if wide else "w"
    dst = f"{register}{i.dst}"
    by_register = bool(i.opcode & op.SOURCE_MASK)
    if operation == op.END:
        return _byte_swap(i, wide, by_register)
    if operation == op.NEG:
        return None if by_register or i.offset else f"{dst} = -{dst}"
    if operation == op.MOV and by_register and i.offset:
        return _sign_extending_move(i, wide, dst, f"{register}{i.src}")
    signs = {0: _ALU_SIGNS, 1: _SIGNED_ALU_SIGNS}.get(i.offset, {})
    if operation not in signs:
        return None
    return f"{dst} {signs[operation]} {f'{register}{i.src}' if by_register else i.imm}"


def _byte_swap(i: Instruction, wide: bool, to_big: bool) -> str | None:
    if i.imm not in (16, 32, 64) or i.offset or (wide and to_big):
        return None
    name = "bswap" if wide else "be" if to_big else "le"
    return f"r{i.dst} = {name}{i.imm} r{i.dst}"


def _sign_extending_move(i: Instruction, wide: bool, dst: str, src: str) -> str | None:
    if i.offset not in ((8, 16, 32) if wide else (8, 16)):
        return None
    return f"{dst} = (s{i.offset}){src}"


def _jump(i: Instruction) -> str | None:
    operation = i.opcode & op.OPERATION_MASK
    wide = i.opcode & op.CLASS_MASK == op.JMP
    by_register = bool(i.opcode & op.SOURCE_MASK)
    if operation in _COMPARISONS:
        register = "r" if wide else "w"
        src = f"{register}{i.src}" if by_register else str(i.imm)
        place = _place(i, i.offset)
        return f"if {register}{i.dst} {_COMPARISONS[operation]} {src} goto {place}"
    if i.opcode == op.JMP | op.JA:
        return f"goto {_place(i, i.offset)}"
    if i.opcode == op.JA32:
        return f"gotol {_place(i, i.imm)}"
    if i.opcode == op.JMP | op.JCOND and i.src == 0:
        return f"may_goto {_place(i, i.offset)}"
    if i.opcode == op.EXIT_OPCODE:
        return "exit" if i.imm == 0 else None
    if i.opcode == op.CALL_OPCODE:
        return _call(i)
    if i.opcode == op.CALL_OPCODE | op.X:
        return f"callx r{i.dst}"
    return None


def _call(i: Instruction) -> str | None:
    if i.target is not None:
        return f"call {i.target}"
    if i.src == op.PSEUDO_CALL:
        return f"call pc{i.imm:+d}"
    if i.src == op.PSEUDO_KFUNC_CALL:
        return f"call kfunc#{i.imm}"
    return f"call {i.imm}" if i.src == 0 else None


def _load(i: Instruction) -> str | None:
    if i.opcode == op.LDDW:
        return _load_64(i)
    size = i.opcode & op.SIZE_MASK
    if size == op.DW:
        return None
    mode = i.opcode & op.MODE_MASK
    if mode == op.ABS:
        return f"r0 = *(u{_SIZES[size]} *)skb[{i.imm}]"
    if mode == op.IND:
        # LLVM knows no immediate here, although classic BPF and the kernel add it.
        index = f"r{i.src}" + (f" {'-' if i.imm < 0 else '+'} {abs(i.imm)}" if i.imm else "")
        return f"r0 = *(u{_SIZES[size]} *)skb[{index}]"
    return None


def _load_64(i: Instruction) -> str:
    low, high = i.imm & 0xFFFF_FFFF, i.imm >> 32
    if i.map is not None:
        offset = f"+{high & 0xFFFF_FFFF}" if i.src == op.PSEUDO_MAP_VALUE else ""
        return f"r{i.dst} = {_map_name(i.map)}{offset} ll"
    if i.target is not None:
        return f"r{i.dst} = {i.target} ll"
    if i.src == 0:
        return f"r{i.dst} = {i.imm} ll"
    low = low - 2**32 if low >= 2**31 else low
    return f"ld_pseudo r{i.dst}, {i.src}, {low}" + (f", {high}" if high else "")


def _map_name(map_reference: object) -> str:
    name = map_reference if isinstance(map_reference, str) else getattr(map_reference, "name", None)
    return name if isinstance(name, str) else f"<{type(map_reference).__name__}>"


def _load_memory(i: Instruction) -> str | None:
    size = i.opcode & op.SIZE_MASK
    mode = i.opcode & op.MODE_MASK
    memory = _memory(i.src, i.offset)
    if mode == op.MEM:
        # Loads of less than 64 bits clear the rest, so LLVM shows them as loads of the lower half.
        register = "r" if size == op.DW else "w"
        return f"{register}{i.dst} = *(u{_SIZES[size]} *)({memory})"
    if mode == op.MEMSX and size != op.DW:
        return f"r{i.dst} = *(s{_SIZES[size]} *)({memory})"
    return None


def _store_immediate(i: Instruction) -> str | None:
    if i.opcode & op.MODE_MASK != op.MEM:
        return None
    return f"*(u{_SIZES[i.opcode & op.SIZE_MASK]} *)({_memory(i.dst, i.offset)}) = {i.imm}"


def _store_register(i: Instruction) -> str | None:
    size = i.opcode & op.SIZE_MASK
    mode = i.opcode & op.MODE_MASK
    register = "r" if size == op.DW else "w"
    if mode == op.MEM:
        return f"*(u{_SIZES[size]} *)({_memory(i.dst, i.offset)}) = {register}{i.src}"
    if mode == op.ATOMIC and size in (op.W, op.DW):
        return _atomic(i, _SIZES[size], register)
    return None


def _atomic(i: Instruction, bits: int, register: str) -> str | None:
    memory = _memory(i.dst, i.offset)
    src = f"{register}{i.src}"
    suffix = "_64" if bits == 64 else "32_32"
    if i.imm == op.XCHG:
        return f"{src} = xchg{suffix}({memory}, {src})"
    if i.imm == op.CMPXCHG:
        return f"{register}0 = cmpxchg{suffix}({memory}, {register}0, {src})"
    if i.imm in _ATOMIC_SIGNS:
        return f"lock *(u{bits} *)({memory}) {_ATOMIC_SIGNS[i.imm]} {src}"
    name = _ATOMIC_NAMES.get(i.imm & ~op.FETCH)
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
