"""Advice with a refusal, where there is some to give."""

from __future__ import annotations

import pytest

import ebpf
from ebpf.asm import R0, R2, R3, R10, Helper, assemble, call, exit_, mov
from tests.kernel.samples import python

SOCKET_FILTER = ebpf.ProgramType.SOCKET_FILTER

# Root by its number only, see test_load.
WITHOUT_PERFMON = ("setpriv", "--inh-caps=-all,+bpf", "--bounding-set=-all,+bpf")

LOAD = """
import ebpf
from ebpf.asm import *
try:
    ebpf.Program.load(ebpf.ProgramType.SOCKET_FILTER, [{code}, exit_()], license="GPL", name="x")
except ebpf.VerifierError as error:
    print(error)
"""


@pytest.mark.parametrize("code", ["call(Helper.GET_CURRENT_TASK)", "mov(R0, R10)"])
def test_what_cap_perfmon_permits(code: str) -> None:
    """ "Unknown func" of a helper that the kernel has, or an address that may not leak: root loads
    the same program without complaint."""
    assert "does not have CAP_PERFMON" in python(LOAD.format(code=code), prefix=WITHOUT_PERFMON)


def test_with_the_capability_it_is_no_cause() -> None:
    """A wrong guess costs an hour."""
    code = [call(Helper.GET_CURRENT_TASK), mov(R0, R10), exit_()]
    ebpf.Program.load(SOCKET_FILTER, code, license="GPL").close()
    code = [mov(R2, 0), call(Helper.TCP_SEND_ACK), mov(R0, 0), exit_()]
    with pytest.raises(ebpf.VerifierError) as caught:
        ebpf.Program.load(SOCKET_FILTER, code)
    assert "CAP_PERFMON" not in str(caught.value)


def test_an_instruction_that_the_kernel_does_not_know() -> None:
    """Compilers make newer instructions than many kernels know."""
    unknown = bytes([0xE7, 0, 0, 0, 0, 0, 0, 0])
    with pytest.raises(ebpf.VerifierError, match=r"clang -mcpu=v3") as caught:
        ebpf.Program.load(SOCKET_FILTER, unknown + bytes.fromhex("9500000000000000"), name="newer")
    assert caught.value.program == "newer"
    assert caught.value.source == ""


def test_the_place_of_an_assembled_instruction() -> None:
    """The same attributes as for an object: the program, the slot and the line of Python."""
    code = assemble([mov(R0, R3), exit_()], check=False)
    with pytest.raises(ebpf.VerifierError) as caught:
        ebpf.Program.load(SOCKET_FILTER, code, name="frame")
    assert (caught.value.program, caught.value.instruction) == ("frame", 0)
    assert caught.value.source.startswith(__file__)
