"""Advice for what the verifier says, in the words of several kernels."""

from __future__ import annotations

import pytest

from ebpf.programs.hints import hint


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("unknown opcode 8d", "compile with -O2"),
        ("unknown opcode c3", "clang -mcpu=v3"),
        ("R0 invalid mem access 'map_value_or_null'", "compare the pointer with NULL first"),
        ("R1 pointer arithmetic on map_value_or_null prohibited, null-check it first", "with NULL"),
        ("R1 invalid mem access 'scalar'", "bpf_probe_read_kernel or BPF_CORE_READ"),
        ("R1 invalid mem access 'inv'", "bpf_probe_read_kernel or BPF_CORE_READ"),
        ("R0 !read_ok", "every way to the exit"),
    ],
)
def test_the_commonest_refusals_have_advice(reason: str, advice: str) -> None:
    """The verifier's words tell a newcomer what is wrong, not what to write."""
    assert advice in hint(reason)


@pytest.mark.parametrize("reason", ["R3 !read_ok", "invalid mem access 'map_ptr'", ""])
def test_what_has_no_one_remedy_has_no_advice(reason: str) -> None:
    """Advice for another mistake leads astray."""
    assert hint(reason) == ""
