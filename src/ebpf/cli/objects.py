"""``python -m ebpf object``: what is in an object file that clang compiled."""

from __future__ import annotations

import argparse
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ebpf.spec import CollectionSpec

_DESCRIPTION = """\
Shows what is in an object file that clang compiled for BPF: its programs, maps, variables,
externs and CO-RE relocations. The file is only read: this needs no root, and no kernel that
could load it.
"""

_EPILOG = """\
Instructions are counted as the kernel counts them, in units of 8 bytes: a 64-bit constant has
two. "28 + 22" are those of the program itself, and of the functions that it calls.

exit status:
  0  the file is shown
  1  the file cannot be read, or is no BPF object; one line on stderr says why
  2  the command line is wrong

--json prints one object; sizes and offsets are in bytes, names of types those of C:
  name, license, byte_order
  kernel_version    LINUX_VERSION_CODE, or null
  btf_types         number of types, or null for an object without BTF
  programs          by name: section, type, attach_type, attach, target, flags, autoload,
                    instructions, calls (the functions that it reaches)
  functions         by name, those that are no programs: section, linkage, weak, instructions
  maps              by name: type, key_size, value_size, max_entries, flags, map_extra, numa_node,
                    pinning, key_type, value_type, inner, slots, section, data, frozen,
                    autocreate, struct_ops; iproute2 and extra of legacy definitions
  variables         by name: section, offset, size, type, value, linkage, weak, constant; the value
                    is null where its type is unknown, and beyond 4096 bytes
  externs           by name: kind, type, weak
  core_relocations  by kind, how many of them there are
  relocations       with --relocations only; of each: function, instruction, kind, type, field,
                    source, and the problem where the object's own types lack the field
"""


def add_to(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("object", help="look into an object file")
    actions = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    show = actions.add_parser(
        "show",
        help="show what is in an object file, without root",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    show.add_argument("file", metavar="FILE", help="such as tracer.bpf.o")
    show.add_argument("--json", action="store_true", help="print one JSON object")
    show.add_argument(
        "--relocations", action="store_true", help="list every CO-RE relocation, not only how many"
    )
    show.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Read and print; 0, or 1 where the file cannot be shown."""
    from ebpf.cli.object_facts import printable
    from ebpf.errors import FormatError
    from ebpf.spec import CollectionSpec

    try:
        shown = _show(CollectionSpec.from_file(arguments.file), arguments)
    except OSError as error:
        problem = error.strerror or str(error)
    except FormatError as error:
        problem = str(error).removeprefix(f"{arguments.file}: ")
    else:
        # What the terminal's encoding lacks is escaped, not an error.
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        print(shown)
        return 0
    print(printable(f"{arguments.file}: {problem}"), file=sys.stderr)
    return 1


def _show(spec: CollectionSpec, arguments: argparse.Namespace) -> str:
    if arguments.json:
        import json

        from ebpf.cli.object_json import as_json

        return json.dumps(as_json(spec, arguments.relocations), indent=2)
    from ebpf.cli.object_text import as_text

    return as_text(spec, arguments.relocations)
