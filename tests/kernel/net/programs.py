"""Programs for packets, written in assembly."""

from __future__ import annotations

from typing import Any

from ebpf import AttachType, Program, ProgramFlags, ProgramType, XdpAction
from ebpf.asm import R0, R1, R2, Label, exit_, jge, ldxw, mov, sub
from tests.kernel.net.network import LONG

# The length of a packet in R2: of struct xdp_md data_end - data, of struct __sk_buff len.
_LENGTH: dict[ProgramType, list[Any]] = {
    ProgramType.XDP: [ldxw(R2, R1 + 4), ldxw(R1, R1 + 0), sub(R2, R1)],
    ProgramType.SCHED_CLS: [ldxw(R2, R1 + 0)],
}
_PASS = {ProgramType.XDP: int(XdpAction.PASS), ProgramType.SCHED_CLS: -1}


def deciding(
    type: ProgramType,
    value: int,
    attach_type: AttachType | None = None,
    flags: ProgramFlags = ProgramFlags(0),  # noqa: B008
) -> Program:
    """A program that returns a number, and lets pass what has LONG bytes or more."""
    insns = [
        *_LENGTH[type],
        mov(R0, _PASS[type]),
        jge(R2, LONG, "end"),
        mov(R0, value),
        Label("end"),
        exit_(),
    ]
    return Program.load(type, insns, license="GPL", attach_type=attach_type, flags=flags)
