"""The numbers of the instruction encoding: RFC 9669, and linux/bpf.h where Linux has more.

An opcode is one byte. Arithmetic and jumps: operation (0xf0), source (0x08), class (0x07).
Loads and stores: mode (0xe0), size (0x18), class (0x07).
"""

from __future__ import annotations

CLASS_MASK = 0x07
LD, LDX, ST, STX, ALU, JMP, JMP32, ALU64 = range(8)

OPERATION_MASK = 0xF0
SOURCE_MASK = 0x08
K, X = 0x00, 0x08

ADD, SUB, MUL, DIV, OR, AND, LSH, RSH = 0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70
NEG, MOD, XOR, MOV, ARSH, END = 0x80, 0x90, 0xA0, 0xB0, 0xC0, 0xD0

JA, JEQ, JGT, JGE, JSET, JNE, JSGT, JSGE = 0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70
CALL, EXIT, JLT, JLE, JSLT, JSLE, JCOND = 0x80, 0x90, 0xA0, 0xB0, 0xC0, 0xD0, 0xE0

SIZE_MASK = 0x18
W, H, B, DW = 0x00, 0x08, 0x10, 0x18

MODE_MASK = 0xE0
IMM, ABS, IND, MEM, MEMSX, ATOMIC = 0x00, 0x20, 0x40, 0x60, 0x80, 0xC0

# The immediate of an atomic instruction: an arithmetic operation and this bit, or one of these.
FETCH = 0x01
XCHG = 0xE1
CMPXCHG = 0xF1
LOAD_ACQUIRE = 0x100
STORE_RELEASE = 0x110

# The offset of a 64-bit move that casts between address spaces.
ADDR_SPACE_CAST = 1

LDDW = LD | IMM | DW
JA32 = JMP32 | JA
CALL_OPCODE = JMP | CALL
EXIT_OPCODE = JMP | EXIT
JAX = JMP | JA | X

# The source field of LDDW says what its immediate means.
PSEUDO_MAP_FD = 1
PSEUDO_MAP_VALUE = 2
PSEUDO_BTF_ID = 3
PSEUDO_FUNC = 4
PSEUDO_MAP_IDX = 5
PSEUDO_MAP_IDX_VALUE = 6

# The source field of a call does, too.
PSEUDO_CALL = 1
PSEUDO_KFUNC_CALL = 2
