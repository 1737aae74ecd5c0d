"""What one kernel refuses although root: shown to be the kernel's doing by a C program."""

from __future__ import annotations

import pytest

import ebpf
from ebpf.asm import R0, exit_, mov
from ebpf.btf import Kind
from ebpf.kernel_btf import kernel_btf


@pytest.mark.refused_like("fentry.c")
def test_fentry_program_loads() -> None:
    """An fentry program that the kernel takes from C has to load from here too."""
    target = kernel_btf().find("do_nanosleep", Kind.FUNC)
    with ebpf.Program.load(
        ebpf.ProgramType.TRACING,
        [mov(R0, 0), exit_()],
        license="GPL",
        attach_type=ebpf.AttachType.TRACE_FENTRY,
        attach_btf_id=target.id,
    ) as program:
        assert program.info().type == ebpf.ProgramType.TRACING
