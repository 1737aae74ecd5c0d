"""Where the arguments of a USDT probe are: the operands that the compiler wrote into the note.

    x86-64      -4@$7, 8@%rax, 4@-12(%rbp), 8@(%rdi), 1@-96(%rbp,%rax,8)
    arm64       -4@7, 8@x0, 4@[sp, 12], 8@[x1]
    riscv64     -4@7, 8@a0, 4@-12(s0)
    s390x       -4@7, 8@%r2, 4@164(%r15)

The number before the ``@`` is the size in bytes, negative for a signed value. Registers become
offsets in the ``struct pt_regs`` that a program gets (arch/*/include/uapi/asm/ptrace.h).
"""

from __future__ import annotations

import re
from enum import IntEnum

from ebpf.errors import FormatError
from ebpf.plain import NamedTuple

EM_S390, EM_X86_64, EM_AARCH64, EM_RISCV = 22, 62, 183, 243


class ArgumentKind(IntEnum):
    """``enum __bpf_usdt_arg_type`` of libbpf's usdt.bpf.h."""

    CONST = 0  # the value itself
    REG = 1  # in a register
    REG_DEREF = 2  # in memory, at a register plus an offset
    SIB = 3  # in memory, at a register plus a scaled one plus an offset


class UsdtArgument(NamedTuple):
    """One argument.

    ``value`` is the constant, or the offset to the registers' sum. ``register`` and
    ``index_register`` are offsets in ``struct pt_regs``, ``scale`` is 1, 2, 4 or 8.
    """

    kind: ArgumentKind
    size: int
    signed: bool
    value: int = 0
    register: int = 0
    index_register: int = 0
    scale: int = 1


_SIZE = r"(?P<size>-?[1248])@"
_NUMBER = r"[+-]?(?:0[xX][0-9a-fA-F]+|\d+)"

# By machine: the whole of one argument. A group that is missing is none of the form at hand.
_FORMS = {
    EM_X86_64: (
        rf"\$(?P<const>{_NUMBER})"
        rf"|(?P<offset>{_NUMBER})?\((?P<base>%\w+)?(?:,\s*(?P<index>%\w+)(?:,\s*(?P<scale>[1248]))?)?\)"
        r"|(?P<register>%\w+)"
    ),
    EM_AARCH64: (
        rf"(?P<const>{_NUMBER})"
        rf"|\[\s*(?P<base>[a-z]\w+)\s*(?:,\s*#?(?P<offset>{_NUMBER})\s*)?\]"
        r"|(?P<register>[a-z]\w+)"
    ),
    EM_RISCV: (
        rf"(?P<offset>{_NUMBER})?\((?P<base>[a-z]\w+)\)"
        rf"|(?P<const>{_NUMBER})"
        r"|(?P<register>[a-z]\w+)"
    ),
    EM_S390: (
        rf"(?P<offset>{_NUMBER})?\((?:(?P<index>%r\d+),)?(?P<base>%r\d+)\)"
        rf"|(?P<const>{_NUMBER})"
        r"|(?P<register>%r\d+)"
    ),
}
_PATTERNS = {
    machine: re.compile(rf"\s*{_SIZE}(?:{forms})(?=\s|$)") for machine, forms in _FORMS.items()
}


def _x86_64() -> dict[str, int]:
    order = [
        "r15",
        "r14",
        "r13",
        "r12",
        "bp",
        "bx",
        "r11",
        "r10",
        "r9",
        "r8",
        "ax",
        "cx",
        "dx",
        "si",
        "di",
        "orig_ax",
        "ip",
        "cs",
        "flags",
        "sp",
    ]
    offsets = {name: 8 * number for number, name in enumerate(order)}
    found = {}
    for name in order:
        if name in ("orig_ax", "cs", "flags"):
            continue
        if name.startswith("r"):
            names = [name, f"{name}d", f"{name}w", f"{name}b"]
        else:
            low = f"{name[0]}l" if name in ("ax", "bx", "cx", "dx") else f"{name}l"
            names = [f"r{name}", f"e{name}", name, low]
        found.update({f"%{each}": offsets[name] for each in names})
    return found


def _numbered(prefix: str, numbers: range, first: int) -> dict[str, int]:
    return {f"{prefix}{n}": first + 8 * at for at, n in enumerate(numbers)}


# By machine: offset of each register in struct pt_regs (struct user_pt_regs, user_regs_struct).
REGISTERS: dict[int, dict[str, int]] = {
    EM_X86_64: _x86_64(),
    EM_AARCH64: {
        **_numbered("x", range(31), 0),
        **_numbered("w", range(31), 0),
        "sp": 248,
        "pc": 256,
    },
    EM_RISCV: {
        "pc": 0,
        "ra": 8,
        "sp": 16,
        "gp": 24,
        "tp": 32,
        "fp": 64,
        **_numbered("t", range(3), 40),
        **_numbered("s", range(2), 64),
        **_numbered("a", range(8), 80),
        **_numbered("s", range(2, 12), 144),
        **_numbered("t", range(3, 7), 224),
    },
    EM_S390: _numbered("%r", range(16), 24),
}


def parse_arguments(text: str, machine: int) -> list[UsdtArgument]:
    """The arguments of a probe, in their order.

    Args:
        text: as in the note: ``-4@%edi 8@-16(%rbp)``.
        machine: the file's ``e_machine``.

    Raises:
        FormatError: an operand that no program can read (a floating point register), or a machine
            whose operands are not known here.
    """
    pattern = _PATTERNS.get(machine)
    if pattern is None:
        known = "x86-64, arm64, riscv64 and s390x"
        raise FormatError(f"USDT arguments {text!r}: of ELF machine {machine}; known are {known}")
    found: list[UsdtArgument] = []
    at = 0
    while text[at:].strip():
        match = pattern.match(text, at)
        if match is None:
            raise FormatError(
                f"USDT arguments {text!r}: argument {len(found)} is of a form that is not known"
            )
        found.append(_argument(match, machine, text))
        at = match.end()
    return found


def _argument(match: re.Match[str], machine: int, text: str) -> UsdtArgument:
    size = int(match["size"])
    head = (abs(size), size < 0)

    def register(group: str) -> int:
        name = match[group]
        if name not in REGISTERS[machine]:
            raise FormatError(f"USDT arguments {text!r}: the register {name} is not saved")
        return REGISTERS[machine][name]

    if match["const"] is not None:
        return UsdtArgument(ArgumentKind.CONST, *head, _signed(match["const"]))
    if match["register"] is not None:
        return UsdtArgument(ArgumentKind.REG, *head, 0, register("register"))
    if match["base"] is None:
        raise FormatError(f"USDT arguments {text!r}: an address without a base register")
    offset = _signed(match["offset"] or "0")
    groups = match.groupdict()
    if groups.get("index") is None:
        return UsdtArgument(ArgumentKind.REG_DEREF, *head, offset, register("base"))
    scale = int(groups.get("scale") or 1)
    return UsdtArgument(ArgumentKind.SIB, *head, offset, register("base"), register("index"), scale)


def _signed(text: str) -> int:
    return int(text, 0)
