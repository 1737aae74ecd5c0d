"""Text to instructions: what `str(instruction)`, llvm-objdump and the kernel's verifier print.

One table of patterns, in the order in which they are tried; `parse` says what it takes.
"""

from __future__ import annotations

import re

from ebpf import opcodes as op
from ebpf.asm.instruction import NAME, Instruction, Label, Position
from ebpf.asm.text import (
    ALU_SIGNS,
    ATOMIC_NAMES,
    ATOMIC_SIGNS,
    COMPARISONS,
    SIGNED_ALU_SIGNS,
    SIZES,
)
from ebpf.errors import AsmError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Match = re.Match[str]
    Builder = Callable[[Match], Instruction]

_ALU = {sign: (operation, 0) for operation, sign in ALU_SIGNS.items()} | {
    sign: (operation, 1) for operation, sign in SIGNED_ALU_SIGNS.items()
}
_JUMPS = {sign: operation for operation, sign in COMPARISONS.items()}
_SIZE_OF = {str(bits): size for size, bits in SIZES.items()}
_LOCKED = {sign: operation for operation, sign in ATOMIC_SIGNS.items()}
_FETCHED = {name: operation for operation, name in ATOMIC_NAMES.items()}

_NUMBER = r"[-+]?(?:0x[0-9a-fA-F]+|\d+)"
# r: r or w and a number; a: an address, m: in parentheses; n: a number; p: where to jump; s: bits.
_PARTS = {
    "r": r"([rw])(\d+)",
    "a": rf"r(\d+) ?([-+]) ?({_NUMBER})",
    "m": rf"\(r(\d+) ?([-+]) ?({_NUMBER})\)",
    "n": f"({_NUMBER})",
    "p": rf"(?:pc(?=[-+]))?({_NUMBER}|{NAME})(?: <[^>]*>)?",
    "s": "(8|16|32|64)",
    "name": f"({NAME})",
}

# What tools print around an instruction: the slot, its bytes, and the opcode of the kernel's text.
_PREFIX = re.compile(r"\d+:\s+(?:(?:[0-9a-f]{2} ){7,15}[0-9a-f]{2}\s+)?(?=\S)")
_OPCODE = re.compile(r"\(([0-9a-f]{2})\) ")
_LABEL = re.compile(rf"(?:[0-9a-f]{{16}} )?<?({NAME})>?:")
# Of llvm-objdump, then of bpftool: the declaration of a function, and with `opcodes` the bytes.
_HEADING = re.compile(
    r".*:\s+file format elf64-bpf|Disassembly of section .*:"
    r"|[\w ]+[ *]\w+\(.*\):|(?:[0-9a-f]{2} ){7,15}[0-9a-f]{2}"
)
_COMMENT = re.compile(r"(?:^|\s)(?:;|//|#(?=\s|$)).*")


def parse(text: str, *, filename: str = "<text>") -> list[Instruction | Label]:
    """The instructions and labels of a text, one a line; what they were made of is not checked.

    Read are the text of this library (``str(instruction)``, `listing`) and of llvm-objdump,
    relative jumps and jumps to ``name:`` alike, what ``bpftool prog dump xlated`` prints, and the
    instructions of the verifier's log, with the numbers and bytes that these put before each. A
    log's lines on its states are to be left out: it has instructions in the order in which they
    were verified. The kernel does not say what kind of reference a 64-bit load is: that becomes a
    plain number, bpftool's ``map[id:5]`` too. Where it gives a call the name of something that is
    no helper, that is taken for a kfunc. Comments start with ``;``, ``//`` or ``#``.

    Args:
        filename: what the position of each instruction names, with the line in `text`.

    Raises:
        AsmError: a line is no instruction, or a number does not fit it; it names the line.
    """
    found: list[Instruction | Label] = []
    for line, raw in enumerate(text.splitlines(), 1):
        position = Position(filename, line)
        content = _COMMENT.sub("", raw.strip()).strip()
        label = _LABEL.fullmatch(content)
        if label:
            found.append(Label(label[1], position))
        elif content and not _HEADING.fullmatch(content):
            found.append(_parse_line(content, position))
    return found


def _parse_line(content: str, position: Position) -> Instruction:
    words = " ".join(_PREFIX.sub("", content, count=1).split())
    opcode = _OPCODE.match(words)
    if opcode:
        words = words[opcode.end() :]
        if int(opcode[1], 16) == op.LDDW and not words.endswith(" ll"):
            words += " ll"
    try:
        made = _instruction(words)
    except AsmError as error:
        raise AsmError(f"{position}: {content!r}: {error}") from None
    if made is None:
        raise AsmError(f"{position}: {content!r} is no instruction")
    return Instruction(
        made.opcode, made.dst, made.src, made.offset, made.imm, made.target, made.map, position,
        made.symbol,
    )  # fmt: skip


def _instruction(words: str) -> Instruction | None:
    for pattern, build in _TABLE:
        match = pattern.fullmatch(words)
        if match:
            return build(match)
    return None


def _signed(text: str, bits: int = 32) -> int:
    """A number of `bits` bits that may be written without its sign."""
    number = int(text, 0) if text.lstrip("+-").startswith("0x") else int(text)
    if not -(2 ** (bits - 1)) <= number < 2**bits:
        raise AsmError(f"{text} does not fit in {bits} bits")
    return number - 2**bits if number >= 2 ** (bits - 1) else number


def _immediate(text: str, wide: bool) -> int:
    """An immediate; one that is extended to 64 bits must not look like a bigger number."""
    number = _signed(text)
    if wide and number < 0 and "-" not in text:
        raise AsmError(f"{text} would be sign-extended to {number & 2**64 - 1:#x}")
    return number


def _offset(sign: str, text: str) -> int:
    return -_signed(text) if sign == "-" else _signed(text)


def _jump_to(opcode: int, place: str, dst: int = 0, src: int = 0, imm: int = 0) -> Instruction:
    if place[0] not in "+-0123456789":
        return Instruction(opcode, dst, src, imm=imm, target=place, position=None)
    distance = _signed(place)
    if opcode == op.JA32:
        return Instruction(opcode, imm=distance, position=None)
    return Instruction(opcode, dst, src, distance, imm, position=None)


def _alu(m: Match) -> Instruction:
    kind, dst, sign, source, src, number = m.groups()
    operation, offset = _ALU[sign]
    wide = kind == "r"
    opcode = operation | (op.ALU64 if wide else op.ALU)
    if source is None:
        return Instruction(opcode, int(dst), 0, offset, _immediate(number, wide), position=None)
    if source != kind:
        raise AsmError("r and w registers do not mix")
    return Instruction(opcode | op.X, int(dst), int(src), offset, position=None)


def _unary(m: Match) -> Instruction:
    kind, dst, other, src = m.groups()
    if (kind, dst) != (other, src):
        raise AsmError("the register must be the same on both sides")
    opcode = op.NEG | (op.ALU64 if kind == "r" else op.ALU)
    return Instruction(opcode, int(dst), position=None)


def _swap(m: Match) -> Instruction:
    dst, name, bits, src = m.groups()
    if dst != src:
        raise AsmError("the register must be the same on both sides")
    opcode = {"le": op.ALU, "be": op.ALU | op.X, "bswap": op.ALU64}[name] | op.END
    return Instruction(opcode, int(dst), imm=int(bits), position=None)


def _extend(m: Match) -> Instruction:
    kind, dst, bits, _, src = m.groups()
    opcode = op.MOV | op.X | (op.ALU64 if kind == "r" else op.ALU)
    return Instruction(opcode, int(dst), int(src), int(bits), position=None)


def _cast(m: Match) -> Instruction:
    dst, src, to, of = m.groups()
    spaces = _signed(str(_signed(to) << 16 | _signed(of)))
    opcode = op.ALU64 | op.MOV | op.X
    return Instruction(opcode, int(dst), int(src), op.ADDR_SPACE_CAST, spaces, position=None)


def _branch(m: Match) -> Instruction:
    kind, dst, sign, source, src, number, pc, place = m.groups()
    wide = kind == "r"
    opcode = _JUMPS[sign] | (op.JMP if wide else op.JMP32)
    if source is None:
        # The kernel prints 32 bits without a sign.
        imm = _immediate(number, wide and not pc)
        return _jump_to(opcode, place, int(dst), 0, imm)
    if source != kind:
        raise AsmError("r and w registers do not mix")
    return _jump_to(opcode | op.X, place, int(dst), int(src))


def _goto(m: Match) -> Instruction:
    opcodes = {"goto": op.JMP | op.JA, "gotol": op.JA32, "may_goto": op.JMP | op.JCOND}
    return _jump_to(opcodes[m[1]], m[2])


def _goto_register(m: Match) -> Instruction:
    opcode = op.JAX if m[1] == "gotox" else op.CALL_OPCODE | op.X
    return Instruction(opcode, int(m[2]), position=None)


def _call(m: Match) -> Instruction:
    pc, number, name = m.groups()
    if name is not None:
        return Instruction(op.CALL_OPCODE, src=op.PSEUDO_CALL, target=name, position=None)
    src = op.PSEUDO_CALL if pc else 0
    return Instruction(op.CALL_OPCODE, src=src, imm=_signed(number), position=None)


def _call_kernel(m: Match) -> Instruction:
    name, number, place = m.groups()
    from ebpf.asm.helpers import Helper

    known = Helper.__members__.get(name.removeprefix("bpf_").upper())
    is_helper = name == "unknown" or known == int(number)
    src = 0 if is_helper else op.PSEUDO_KFUNC_CALL
    offset = int(place or 0)
    return Instruction(
        op.CALL_OPCODE, src=src, offset=offset, imm=_signed(number), position=None
    )  # fmt: skip


def _call_symbol(m: Match) -> Instruction:
    return Instruction(op.CALL_OPCODE, src=op.PSEUDO_KFUNC_CALL, symbol=m[1], position=None)


def _packet(m: Match) -> Instruction:
    size, src, sign, added, number = m.groups()
    if src is None:
        opcode = op.LD | op.ABS | _SIZE_OF[size]
        return Instruction(opcode, imm=_signed(number), position=None)
    imm = _offset(sign, added) if added else 0
    return Instruction(op.LD | op.IND | _SIZE_OF[size], src=int(src), imm=imm, position=None)


def _constant(m: Match) -> Instruction:
    return Instruction(op.LDDW, int(m[1]), imm=_signed(m[2], 64), position=None)


def _pseudo(m: Match) -> Instruction:
    dst, kind, low, high = m.groups()
    imm = _signed(low) & 0xFFFF_FFFF | _signed(high or "0") << 32
    return Instruction(op.LDDW, int(dst), _signed(kind), imm=imm, position=None)


def _map_by_id(m: Match) -> Instruction:
    dst, number, offset = m.groups()
    imm = _signed(number) & 0xFFFF_FFFF | _signed(offset or "0") << 32
    return Instruction(op.LDDW, int(dst), imm=imm, position=None)


def _callback(m: Match) -> Instruction:
    dst, distance = m.groups()
    imm = _signed(distance) & 0xFFFF_FFFF
    return Instruction(op.LDDW, int(dst), op.PSEUDO_FUNC, imm=imm, position=None)


def _reference(m: Match) -> Instruction:
    dst, mark, name, offset = m.groups()
    number = int(dst)
    if mark == "&":
        return Instruction(op.LDDW, number, op.PSEUDO_FUNC, target=name, position=None)
    if mark:
        return Instruction(op.LDDW, number, op.PSEUDO_BTF_ID, symbol=name, position=None)
    if offset is None:
        return Instruction(op.LDDW, number, op.PSEUDO_MAP_FD, map=name, position=None)
    imm = _signed(offset) << 32
    return Instruction(op.LDDW, number, op.PSEUDO_MAP_VALUE, imm=imm, map=name, position=None)


def _load(m: Match) -> Instruction:
    _, dst, extends, size, base, sign, offset = m.groups()
    mode = op.MEM if extends == "u" else op.MEMSX
    opcode = op.LDX | mode | _SIZE_OF[size]
    return Instruction(opcode, int(dst), int(base), _offset(sign, offset), position=None)


def _store(m: Match) -> Instruction:
    size, base, sign, offset, source, src, number = m.groups()
    opcode = (op.ST if source is None else op.STX) | op.MEM | _SIZE_OF[size]
    imm = _immediate(number, size == "64") if source is None else 0
    place = _offset(sign, offset)
    return Instruction(opcode, int(base), int(src or 0), place, imm, position=None)


def _atomic(size: str, base: str, offset: int, src: str, imm: int) -> Instruction:
    opcode = op.STX | op.ATOMIC | _SIZE_OF[size]
    return Instruction(opcode, int(base), int(src), offset, imm, position=None)


def _locked(m: Match) -> Instruction:
    size, base, sign, offset, operation, _, src = m.groups()
    return _atomic(size, base, _offset(sign, offset), src, _LOCKED[operation])


def _fetching(m: Match) -> Instruction:
    _, result, name, size, base, sign, offset, _, src = m.groups()
    if result != src:
        raise AsmError("the register must be the same on both sides")
    return _atomic(size, base, _offset(sign, offset), src, _FETCHED[name] | op.FETCH)


def _exchange(m: Match) -> Instruction:
    _, result, suffix, base, sign, offset, _, src = m.groups()
    if result != src:
        raise AsmError("the register must be the same on both sides")
    size = "64" if suffix == "_64" else "32"
    return _atomic(size, base, _offset(sign, offset), src, op.XCHG)


def _kernel_exchange(m: Match) -> Instruction:
    _, result, size, base, sign, offset, _, src = m.groups()
    if result != src:
        raise AsmError("the register must be the same on both sides")
    return _atomic(size, base, _offset(sign, offset), src, op.XCHG)


def _compare_exchange(m: Match) -> Instruction:
    suffix, base, sign, offset, _, src = m.groups()
    size = "64" if suffix == "_64" else "32"
    return _atomic(size, base, _offset(sign, offset), src, op.CMPXCHG)


def _kernel_compare_exchange(m: Match) -> Instruction:
    size, base, sign, offset, _, src = m.groups()
    return _atomic(size, base, _offset(sign, offset), src, op.CMPXCHG)


def _acquire(m: Match) -> Instruction:
    _, dst, size, base, sign, offset = m.groups()
    opcode = op.STX | op.ATOMIC | _SIZE_OF[size]
    place = _offset(sign, offset)
    return Instruction(opcode, int(dst), int(base), place, op.LOAD_ACQUIRE, position=None)


def _release(m: Match) -> Instruction:
    size, base, sign, offset, _, src = m.groups()
    return _atomic(size, base, _offset(sign, offset), src, op.STORE_RELEASE)


def _unknown(m: Match) -> Instruction:
    opcode, dst, src, offset, imm = m.groups()
    return Instruction(int(opcode, 16), int(dst), int(src), int(offset), int(imm), position=None)


def _compile(pattern: str) -> re.Pattern[str]:
    for name, part in _PARTS.items():
        pattern = pattern.replace("{" + name + "}", part)
    return re.compile(pattern)


def _alternatives(signs: Iterable[str]) -> str:
    return "|".join(re.escape(sign) for sign in sorted(signs, key=len, reverse=True))


_FETCH_NAMES = "|".join(_FETCHED)
_TABLE: list[tuple[re.Pattern[str], Builder]] = [
    (_compile(pattern), build)
    for pattern, build in (
        (r"exit", lambda m: Instruction(op.EXIT_OPCODE, position=None)),
        (rf"{{r}} ({_alternatives(_ALU)}) (?:{{r}}|{{n}})", _alu),
        (r"{r} = -{r}", _unary),
        (r"r(\d+) = (le|be|bswap)(16|32|64) r(\d+)", _swap),
        (r"{r} = \(s(8|16|32)\) ?{r}", _extend),
        (r"r(\d+) = addr_space_cast\(r(\d+), {n}, {n}\)", _cast),
        (rf"if {{r}} ({_alternatives(_JUMPS)}) (?:{{r}}|{{n}}) goto (pc(?=[-+]))?{{p}}", _branch),
        (r"(goto|gotol|may_goto) {p}", _goto),
        (r"(gotox|callx) r(\d+)", _goto_register),
        (r"call kfunc:{name}", _call_symbol),
        (r"call (\w+)#(-?\d+)(?:@(-?\d+))?", _call_kernel),
        # bpftool names the function that is called.
        (r"call (?:(pc(?=[-+]))?{n}(?:#\S+)?|{name})", _call),
        (r"r0 = \*\(u(8|16|32) \*\)skb\[(?:r(\d+)(?: ([-+]) {n})?|{n})\]", _packet),
        (r"r(\d+) = {n} ll", _constant),
        (r"r(\d+) = map\[idx?:{n}\](?:(?:\[0\])?\+{n})? ll", _map_by_id),
        (r"r(\d+) = subprog\[{n}\] ll", _callback),
        (r"ld_pseudo r(\d+), {n}, {n}(?:, {n})?", _pseudo),
        (r"r(\d+) = (&|kernel:)?{name}(?:\+{n})? ll", _reference),
        (r"{r} = \*\(([us]){s} \*\){m}", _load),
        (r"\*\(u{s} \*\){m} = (?:{r}|{n})", _store),
        (rf"lock \*\(u{{s}} \*\){{m}} ({_alternatives(_LOCKED)}) {{r}}", _locked),
        (
            rf"{{r}} = atomic(?:64)?_fetch_({_FETCH_NAMES})\(\(u{{s}} \*\){{m}}, {{r}}\)",
            _fetching,
        ),
        (r"{r} = xchg(_64|32_32)\({a}, {r}\)", _exchange),
        (r"[rw]0 = cmpxchg(_64|32_32)\({a}, [rw]0, {r}\)", _compare_exchange),
        (r"{r} = atomic(?:64)?_xchg\(\(u{s} \*\){m}, {r}\)", _kernel_exchange),
        (r"r0 = atomic(?:64)?_cmpxchg\(\(u{s} \*\){m}, r0, {r}\)", _kernel_compare_exchange),
        (r"{r} = load_acquire\(\(u{s} \*\){m}\)", _acquire),
        (r"store_release\(\(u{s} \*\){m}, {r}\)", _release),
        (r"<unknown opcode=(0x\w+) dst=(\d+) src=(\d+) offset=(-?\d+) imm=(-?\d+)>", _unknown),
    )
]
