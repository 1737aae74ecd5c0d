"""What kernels refuse, and what is said of it. What one refuses although root is shown to be the
kernel's doing by a C program."""

from __future__ import annotations

import pytest

import ebpf
from ebpf.asm import R0, R1, exit_, ldxw, mov
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


def test_a_mistake_is_told_although_the_attach_type_is_younger() -> None:
    """Kernels before 5.14 pass over this attach type: that it is missing is not the reason."""
    with pytest.raises(ebpf.VerifierError, match="R1 invalid mem access"):
        ebpf.Program.load(
            ebpf.ProgramType.SK_REUSEPORT,
            [mov(R1, 5), ldxw(R0, R1 + 0), exit_()],
            attach_type=ebpf.AttachType.SK_REUSEPORT_SELECT,
        )
