"""Run the benchmarks: python -m benchmarks [--json] [NAME ...]."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys

from benchmarks.table import Table

NAMES = ("maps", "ring", "ring_load", "perf", "loader", "compile", "net", "control")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    options = parser.parse_args()
    unknown = set(options.names) - set(NAMES)
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    if os.geteuid() != 0:
        print("the benchmarks load programs and fill maps: run them as root", file=sys.stderr)
        return 1
    tables: dict[str, list[Table]] = {}
    for name in options.names or NAMES:
        tables[name] = importlib.import_module(f"benchmarks.{name}").run()
        if not options.json:
            print("\n".join(map(str, tables[name])), flush=True)
    if options.json:
        rows = {name: [table.as_dict() for table in made] for name, made in tables.items()}
        print(json.dumps(rows, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
