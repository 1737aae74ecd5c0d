"""Reading a verifier log: the lines that say why."""

from __future__ import annotations

# For the patterns: a log may have to be read when no descriptor is left to import it with.
import re  # noqa: F401

from ebpf.patterns import Pattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ebpf.asm.helpers import Helper

# "12: (85) call bpf_map_lookup_elem#1", also with "R1=..." before or behind in newer kernels.
_INSTRUCTION = Pattern(r"^(\d+): \([0-9a-f]{2}\) ?(.*)$")

# Instructions that a reason names by number, because none was walked before it.
_NAMED = Pattern(r"\binsn (\d+)")

# What is written besides, behind or among the reasons, and explains nothing.
_ASIDE = Pattern(
    # the statistics that close every log
    r"processed \d+ insns|verification time|stack depth|insns? processed|subprog \d+ \("
    # source lines, and the states that the verifier walks through
    r"|;|from \d+ to \d+|(\d+: )?(frame\d+: )?(R\d+\S*=|fp-\d+\S*=)"
    r"|(cur|old) state:|(\d+: )?safe$|propagating "
    # which registers are in use where, and how far back an exact value was traced (level 2)
    r"|Live regs before insn|\d+: [.\d]{10} \("
    r"|last_idx \d+|mark_precise:|regs=|parent "
    # which function is verified
    r"|func#\d+ @|Func#\d+ |Validating |caller:|callee:"
    r"|returning from callee|to caller at \d+"
)

# What kernels since 7.3 add to the old line: a title, sections such as this one, each a heading
# and indented text, and the place.
_REPORT = Pattern(r"(?m)^Verification failed: (.*)$")
_REASON = Pattern(r"(?m)^Reason:\n((?: .*\n)+)")
_AT = Pattern(r"(?m)^At:\n\s*insn (\d+)")

# What explains a refusal is at the end of the log, which may have a million lines before it.
_TAIL = 1 << 16

_UNKNOWN_HELPER = Pattern(r"(?:unknown|invalid) func \S*?#(\d+)")


class Refusal:
    """Why a program was refused: the `reason`, the slot and text of the instruction that it is
    about, and the `source` of that instruction, each None or empty where it is not known."""

    __slots__ = ("instruction", "reason", "slot", "source")

    def __init__(
        self, reason: str, slot: int | None = None, instruction: str = "", source: str = ""
    ) -> None:
        self.reason = reason
        self.slot = slot
        self.instruction = instruction
        self.source = source

    def __str__(self) -> str:
        if self.slot is None:
            return self.reason
        place = f"instruction {self.slot}{self.instruction and ': '}{self.instruction}"
        return f"{self.reason} ({place}{self.source and ', '}{self.source})"


def refusal(log: str, source: Callable[[int], str] | None = None) -> Refusal:
    """What a log says in the end. `source` is asked for the source line of a slot."""
    log = _tail(log)
    report = _REPORT.search(log)
    texts: dict[int, str] = {}
    slot: int | None = None
    reasons: list[str] = []
    for line in map(str.strip, log[: report.start() if report else None].splitlines()):
        walked = _INSTRUCTION.match(line)
        if walked:
            # What was written before an instruction is not why the verifier stopped.
            slot, reasons = int(walked[1]), []
            texts[slot] = walked[2].split(";")[0].strip()
        elif line and not _ASIDE.match(line):
            reasons.append(line)
    # Some refusals take two lines, of which the second alone does not say what was done.
    reason = "; ".join(reasons)
    named = _NAMED.search(reason)
    if report:
        reason = _explained(reason or report[1], log[report.end() :])
        named = _AT.search(log, report.end()) or named
    if not reason:
        return Refusal("the verifier gave no reason")
    slot = int(named[1]) if named else slot
    if slot is None:
        return Refusal(reason)
    return Refusal(reason, slot, texts.get(slot, ""), source(slot) if source else "")


def _explained(reason: str, report: str) -> str:
    """The old line, which tools know, and the sentence that a report has in addition."""
    sentence = _REASON.search(report)
    return f"{reason}: {' '.join(sentence[1].split()).rstrip('.')}" if sentence else reason


def missing_helper(log: str) -> Helper | None:
    """The helper that the verifier does not know or allow, where that is the reason."""
    match = _UNKNOWN_HELPER.search(_tail(log))
    if match is None:
        return None
    from ebpf.asm.helpers import Helper

    return next((helper for helper in Helper if helper == int(match[1])), None)


def _tail(log: str) -> str:
    """The whole lines at the end of the log."""
    return log if len(log) <= _TAIL else log[-_TAIL:].partition("\n")[2]
