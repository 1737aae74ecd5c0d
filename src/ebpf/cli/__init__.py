"""The command line: ``python -m ebpf COMMAND``.

A command is a module of this package with two functions: ``add_to(subparsers)`` declares it,
``run(arguments)`` does it and returns the exit status. Only the declarations are imported to
read the command line; what a command needs, it imports when it runs.
"""

from __future__ import annotations

import argparse
import os
import sys

import ebpf
from ebpf.cli import build, doctor, gen, objects

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

COMMANDS = (doctor, objects, gen, build)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv`, by default this process's own; the exit status.

    0: done; 1: the command's own "no"; 2: a command line that is none (by SystemExit).
    """
    arguments = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace], int] = arguments.run
    try:
        status = run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (head, a pager) has seen enough. What is still buffered goes nowhere, or
        # the interpreter would complain of the pipe again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ebpf", description="The eBPF library for Python."
    )
    parser.add_argument("--version", action="version", version=f"ebpf {ebpf.__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_to(subparsers)
    return parser
