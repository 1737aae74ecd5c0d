"""What a compiler has to say, from the lines that clang writes."""

from __future__ import annotations

import re

from ebpf.errors import CompileError
from ebpf.plain import NamedTuple

_LINE = re.compile(
    r"^(?:(?P<file>[^\n:]+):(?P<line>\d+):(?:(?P<column>\d+):)? )?(?:[\w./+-]+: )?"
    r"(?P<severity>fatal error|error|warning|note|remark): (?P<message>.*)$",
    re.MULTILINE,
)
_ERRORS = ("fatal error", "error")


class CompileWarning(UserWarning):
    """A warning of the compiler about C that it compiled."""


class Diagnostic(NamedTuple):
    """One remark: ``severity`` is ``"error"``, ``"fatal error"``, ``"warning"`` or ``"note"``.

    Lines and columns count from 1. A remark about no place in a file (a command line option) has
    the file ``""``, line 0 and column 0.
    """

    file: str
    line: int
    column: int
    severity: str
    message: str

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        return f"{place}: {self.severity}: {self.message}".removeprefix(": ")


def parse(output: str) -> tuple[Diagnostic, ...]:
    """The remarks in a compiler's `output`, in its order."""
    return tuple(
        Diagnostic(
            match["file"] or "",
            int(match["line"] or 0),
            int(match["column"] or 0),
            match["severity"],
            match["message"],
        )
        for match in _LINE.finditer(output)
    )


def failure(source: str, command: list[str], status: int, output: str) -> CompileError:
    """The error for a compiler that ended with `status`, said `output` and made nothing."""
    diagnostics = parse(output)
    first = next((one for one in diagnostics if one.severity in _ERRORS), None)
    if first is None:
        ended = f"ended with signal {-status}" if status < 0 else f"ended with status {status}"
        text = f"{source}: {' '.join(command)} {ended if status else 'made no object file'}"
        return CompileError(
            f"{text}\n{output.rstrip()}".rstrip(), diagnostics=diagnostics, output=output
        )
    return CompileError(
        f"{source} does not compile\n{output.rstrip()}",
        file=first.file,
        line=first.line,
        column=first.column,
        message=first.message,
        diagnostics=diagnostics,
        output=output,
    )
