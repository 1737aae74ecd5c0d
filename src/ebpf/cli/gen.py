"""``python -m ebpf gen``: Python modules and headers, made from types."""

from __future__ import annotations

import argparse
import os
import sys

_DESCRIPTION = """\
Writes a Python module for an object file that clang compiled for BPF: the object is in it, and
its maps, programs, variables and structs are classes, so that a type checker knows them. The
object is only read: this needs no root.

"vmlinux-h" in place of FILE writes vmlinux.h, the running kernel's types and kfuncs in C.
"""

_EPILOG = """\
The module needs this library, and neither the object file nor a compiler:

  import tracer                                   # python -m ebpf gen tracer.bpf.o -o tracer.py
  spec = tracer.spec()
  tracer.Variables(spec).lowest = 2
  with tracer.Objects.load(spec) as objects:
      objects.attach()
      print(objects.maps.counts[1])

exit status:
  0  written
  1  the file cannot be read or written, or is no BPF object with BTF; stderr says why
  2  the command line is wrong
"""

VMLINUX = "vmlinux-h"


def add_to(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "gen",
        help="write a typed Python module for an object file, or vmlinux.h",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", help=f"such as tracer.bpf.o; or {VMLINUX}")
    parser.add_argument("-o", "--output", metavar="PATH", help="write there, not to stdout")
    parser.add_argument(
        "--type",
        action="append",
        default=[],
        metavar="NAME",
        help="a struct that gets a class though no map or variable has it; may be repeated",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write; 0, or 1 where that cannot be done."""
    from ebpf.cli.object_facts import printable
    from ebpf.errors import EbpfError

    try:
        text = _text(arguments)
        if arguments.output is None:
            sys.stdout.write(text)
        else:
            with open(arguments.output, "w", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        place = os.fsdecode(error.filename) if error.filename else arguments.file
        problem = f"{place}: {error.strerror or error}"
    except EbpfError as error:
        problem = f"{arguments.file}: {str(error).removeprefix(f'{arguments.file}: ')}"
    else:
        return 0
    print(printable(problem), file=sys.stderr)
    return 1


def _text(arguments: argparse.Namespace) -> str:
    if arguments.file == VMLINUX:
        from ebpf.compile.vmlinux import vmlinux_text

        return vmlinux_text()
    from ebpf.codegen import generate

    with open(arguments.file, "rb") as file:
        data = file.read()
    file_name = os.path.basename(arguments.file)
    return generate(data, name=file_name.partition(".")[0], file=file_name, types=arguments.type)
