"""``python -m ebpf build``: the BPF programs of a package."""

from __future__ import annotations

import argparse
import sys
import warnings

_DESCRIPTION = """\
Compiles BPF programs in C: NAME.bpf.c becomes NAME_bpf.py beside it, a typed Python module that
has the object in it (as of "gen"), or with --object NAME.bpf.o. Directories are searched for
*.bpf.c. What is up to date in the cache is not compiled again.
"""

_EPILOG = """\
To compile when a wheel is built, in pyproject.toml:

  [build-system]
  requires = ["setuptools>=77", "ebpf[compile]"]
  build-backend = "setuptools.build_meta"

  [tool.setuptools.cmdclass]
  build_py = "ebpf.build.hook.BuildPy"

exit status:
  0  all is compiled; stdout has the files
  1  a source does not compile, or a file cannot be read or written; stderr says why
  2  the command line is wrong
"""


def add_to(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "build",
        help="compile BPF programs in C for a package",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("path", nargs="+", metavar="PATH", help="a source, or a directory")
    add(
        "-o",
        "--output",
        metavar="DIRECTORY",
        help="write there, in the tree of PATH, not beside the sources",
    )
    add("--object", action="store_true", help="make NAME.bpf.o, not a module")
    for option, name, metavar, meaning in (
        ("--type", "type", "NAME", "as of gen: a struct that gets a class"),
        ("-I", "include", "DIRECTORY", "look for headers there"),
        ("-D", "define", "NAME[=VALUE]", "define a macro"),
    ):
        add(option, dest=name, action="append", default=[], metavar=metavar, help=meaning)
    add("--cpu", default="v3", help="the instruction set, v1 to v4 (v3)")
    add("--compiler", metavar="NAME", help='the name or path of a clang, or "zig"')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compile; 0, or 1 where a source does not compile."""
    from ebpf.cli.object_facts import printable
    from ebpf.errors import EbpfError

    problem = ""
    with warnings.catch_warnings(record=True) as remarks:
        warnings.simplefilter("always")
        try:
            _build(arguments)
        except (EbpfError, OSError, ValueError) as error:
            problem = str(error)
    for text in (*(str(remark.message) for remark in remarks), problem):
        for line in text.splitlines():
            print(printable(line.replace("\t", "    ")), file=sys.stderr)
    return 1 if problem else 0


def _build(arguments: argparse.Namespace) -> None:
    from ebpf.build import build_module, build_object
    from ebpf.build.sources import check_targets, module_path, object_path, placed_sources

    options = {
        "include_dirs": arguments.include,
        "defines": dict(map(_macro, arguments.define)),
        "cpu": arguments.cpu,
        "compiler": arguments.compiler,
    }
    sources = [
        placed for path in arguments.path for placed in placed_sources(path, arguments.output)
    ]
    target = object_path if arguments.object else module_path
    check_targets((source, target(source, folder)) for source, folder in sources)
    for source, folder in dict.fromkeys(sources):
        if arguments.object:
            made = build_object(source, folder, **options)
        else:
            made = build_module(source, folder, types=arguments.type, **options)
        print(made)


def _macro(text: str) -> tuple[str, str | None]:
    """``NAME=`` is empty, ``NAME`` is 1, as compilers have it."""
    name, sign, value = text.partition("=")
    return name, value if sign else None
