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
        ("R3 !read_ok", "R1 to R5 do not survive (R6 to R9 do)"),
        ("R1 type=ctx expected=fp, pkt, pkt_meta, map_value", "on its stack (R10 - n)"),
        ("R2 type=scalar expected=fp", "on its stack (R10 - n)"),
        ("invalid write to stack R10 off=-520 size=8", "has 512 bytes"),
        ("invalid stack off=-1024 size=8", "has 512 bytes"),
        ("Tracing programs must provide btf_id", "attach_type and attach_to"),
    ],
)
def test_the_commonest_refusals_have_advice(reason: str, advice: str) -> None:
    """The verifier's words tell a newcomer what is wrong, not what to write."""
    assert advice in hint(reason)


@pytest.mark.parametrize(
    "reason",
    [
        "R7 !read_ok",
        "R1 type=fp expected=ctx",
        "invalid read from stack off -8+0 size 8",
        "invalid write to stack R10 off=-512 size=16",
        "invalid mem access 'map_ptr'",
        "",
    ],
)
def test_what_has_no_one_remedy_has_no_advice(reason: str) -> None:
    """Advice for another mistake leads astray."""
    assert hint(reason) == ""
