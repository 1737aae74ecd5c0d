"""What to do about a refusal of the verifier, where the reason has one remedy."""

from __future__ import annotations

from ebpf._sys import facts
from ebpf.patterns import Pattern

_OLDER_INSTRUCTIONS = (
    "kernels say so of instructions that are newer than they are; clang -mcpu=v3 or -mcpu=v2 makes"
    " others"
)
_LICENSE = 'the helper or kfunc is for programs whose license is GPL-compatible ("GPL")'
_PERFMON = "this process does not have CAP_PERFMON, without which the verifier allows less"

# The opcode is all of the reason: a call through a register, which no kernel knows.
_INDIRECT_CALL = (
    "this is a call through a register, which clang makes of inline functions without -O2; compile"
    " with -O2"
)
_NULL = "compare the pointer with NULL first"
_NO_POINTER = (
    "this is a number, not a pointer that the verifier knows; memory of the kernel is read with"
    " bpf_probe_read_kernel or BPF_CORE_READ, that of a process with bpf_probe_read_user"
)
_NO_RESULT = "nothing has set R0, the return value; give it one on every way to the exit"
_NO_ARGUMENT = (
    "it has no value here: nothing has set it, or a call was in between, which R1 to R5 do not"
    " survive (R6 to R9 do)"
)
_NO_MEMORY = (
    "it takes the address of memory that the program may use: on its stack (R10 - n), in the value"
    " of a map or in a packet"
)
_STACK = "a program's stack has 512 bytes; more has room in the value of a PERCPU_ARRAY map"
_NO_TARGET = "give attach_type and attach_to (in C, the section's name) for what it attaches to"

# Reason -> advice; the first that fits.
_ADVICE = (
    (Pattern(r"unknown opcode 8d"), _INDIRECT_CALL),
    (Pattern(r"mem access '\w*_or_null'|pointer arithmetic on \w+_or_null"), _NULL),
    (Pattern(r"invalid mem access '(?:scalar|inv)'"), _NO_POINTER),
    (Pattern(r"R0 !read_ok"), _NO_RESULT),
    (Pattern(r"R[1-5] !read_ok"), _NO_ARGUMENT),
    (Pattern(r"R[1-5] type=\w+ expected=fp\b"), _NO_MEMORY),
    # An offset below -512.
    (Pattern(r"invalid .*stack.* off=-(?:51[3-9]|5[2-9]\d|[6-9]\d\d|\d{4,})\b"), _STACK),
    (Pattern(r"must provide btf_id"), _NO_TARGET),
    (Pattern(r"unknown opcode|uses reserved fields|invalid atomic opcode"), _OLDER_INSTRUCTIONS),
    (Pattern(r"GPL-restricted function|from non-GPL compatible program"), _LICENSE),
)

# What CAP_PERFMON permits (allow_ptr_leaks, and the helpers of bpf_base_func_proto).
_OF_PERFMON = Pattern(
    r"leaks addr|pointer .*prohibited|unknown func |program of this type cannot use helper "
)


def hint(reason: str) -> str:
    """A sentence, or "" where there is no advice to give."""
    for pattern, advice in _ADVICE:
        if pattern.search(reason):
            return advice
    held = facts.effective_capabilities() if _OF_PERFMON.search(reason) else None
    if held is not None and not held & {"CAP_PERFMON", "CAP_SYS_ADMIN"}:
        return _PERFMON
    return ""
