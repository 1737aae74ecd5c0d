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

# Reason -> advice.
_ADVICE = (
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
