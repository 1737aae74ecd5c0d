"""Reading a verifier log: the one line that says why."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ebpf.asm import Assembly

# Lines that close every log and explain nothing.
_STATISTICS = re.compile(
    r"processed \d+ insns|verification time|stack depth|insns processed|max_states_per_insn"
)
# "12: (85) call bpf_map_lookup_elem#1", also with "R1=..." before or behind in newer kernels.
_INSTRUCTION = re.compile(r"^(\d+): \(([0-9a-f]{2})\) ?(.*)$")


def summarize(log: str, assembly: Assembly | None = None) -> str:
    """The line of `log` that explains the refusal, with the instruction that it is about.

    With the `assembly` that was loaded, the line of Python source that made the instruction is
    named as well.
    """
    lines = [line.strip() for line in log.splitlines()]
    lines = [line for line in lines if line and not _STATISTICS.match(line)]
    if not lines:
        return "the verifier gave no reason"
    reason = lines[-1]
    where = ""
    for line in reversed(lines):
        match = _INSTRUCTION.match(line)
        if match:
            text = match[3].split(";")[0].strip()
            where = f" (instruction {match[1]}: {text}{_source(assembly, int(match[1]))})"
            break
    return reason + where


def _source(assembly: Assembly | None, slot: int) -> str:
    if assembly is None or slot >= len(assembly.positions):
        return ""
    position = assembly.positions[slot]
    return "" if position is None else f", {position.filename}:{position.line}"
