"""``python -m ebpf doctor``: what this machine and this process can do with BPF."""

from __future__ import annotations

import argparse
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ebpf.cli.findings import Finding

_DESCRIPTION = """\
Checks what BPF programs need: the kernel, this process's capabilities, the file systems, and
a real bpf() call. Nothing is changed: what a check says to run, you run.
"""

_EPILOG = """\
exit status:
  0  all that is essential is ok: the kernel, the capabilities, the bpf() call
  1  something essential is not ok, or cannot be found out
  2  the command line is wrong

--json prints one object:
  version   of this library
  ok        true where the exit status is 0
  checks    an object with one member for each check, by its name:
    state      "ok", "not ok" or "unknown" (the fact cannot be read)
    essential  whether the exit status depends on it
    value      the fact, of a type that depends on the check; null where it is unknown
    detail     the same for people
    remedy     what to do about it, or null
    command    the command that does it, or null
"""

_WIDTH = 80
# Where the text of a check begins.
_INDENT = 30
_COLOURS = {"ok": "32", "not ok": "31", "unknown": "33"}


def add_to(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "doctor",
        help="check what this machine and this process can do with BPF",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check and print; 0 where all that is essential is ok, else 1."""
    from ebpf.cli.facts import gather
    from ebpf.cli.findings import healthy, judge

    findings = judge(gather())
    if arguments.json:
        import json

        print(json.dumps(as_json(findings), indent=2))
    else:
        colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        print(as_text(findings, colour))
    return 0 if healthy(findings) else 1


def as_json(findings: list[Finding]) -> dict[str, Any]:
    """The object that ``--json`` prints; see the command's help for its members."""
    import ebpf
    from ebpf.cli.findings import healthy

    checks = {
        finding.name: {
            "state": finding.state,
            "essential": finding.essential,
            "value": finding.value,
            "detail": finding.detail,
            "remedy": finding.remedy,
            "command": finding.command,
        }
        for finding in findings
    }
    return {"version": ebpf.__version__, "ok": healthy(findings), "checks": checks}


def as_text(findings: list[Finding], colour: bool = False) -> str:
    """One paragraph for each check, and a last line that sums up. Commands are never wrapped."""
    lines = []
    for finding in findings:
        lines += _paragraph(finding, colour)
    return "\n".join([*lines, "", _summary(findings)])


def _paragraph(finding: Finding, colour: bool) -> list[str]:
    import textwrap

    state = f"{finding.state:<8}"
    if colour:
        state = f"\x1b[{_COLOURS[finding.state]}m{state}\x1b[0m"
    width = _WIDTH - _INDENT
    blank = " " * _INDENT
    first, *rest = textwrap.wrap(finding.detail, width, break_on_hyphens=False)
    lines = [f"{state} {finding.title:<{_INDENT - 10}} {first}", *(blank + line for line in rest)]
    if finding.remedy:
        lines += [blank + line for line in textwrap.wrap(f"-> {finding.remedy}", width)]
    if finding.command:
        lines.append(f"           $ {finding.command}")
    return lines


def _summary(findings: list[Finding]) -> str:
    from ebpf.cli.findings import healthy

    bad = [finding for finding in findings if finding.state != "ok"]
    if not healthy(findings):
        names = ", ".join(finding.title for finding in bad if finding.essential)
        return f"BPF cannot be used here: {names}."
    if any(finding.state == "not ok" for finding in bad):
        return "BPF can be used here, without what is not ok above."
    return "BPF can be used here."
