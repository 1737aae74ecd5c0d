"""What programs have in common that judge the packets of an interface by tc."""

from __future__ import annotations

import ebpf

IN, OUT = 0, 1
HOOKS = {
    IN: (ebpf.AttachType.TCX_INGRESS, "ingress"),
    OUT: (ebpf.AttachType.TCX_EGRESS, "egress"),
}

# What a program returns: let the next one, or filter, decide.
NEXT = -1


def attach(program: ebpf.Program, interface: str, direction: int) -> None:
    """By tcx where the kernel has it; the program owns what is attached."""
    hook, word = HOOKS[direction]
    try:
        program.attach_tcx(interface, hook)
    except ebpf.NotSupportedError:
        program.attach_tc(interface, word)
