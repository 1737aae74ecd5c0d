"""Run the benchmarks: python -m benchmarks [--json FILE] [NAME ...]."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from pathlib import Path

from benchmarks.table import Table

NAMES = ("maps", "ring", "ring_load", "perf", "loader", "compile", "net", "control")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="receives the figures, too")
    options = parser.parse_args()
    unknown = set(options.names) - set(NAMES)
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    if os.geteuid() != 0:
        print("the benchmarks load programs and fill maps: run them as root", file=sys.stderr)
        return 1
    figures: dict[str, list[dict[str, object]]] = {}
    for name in options.names or NAMES:
        tables: list[Table] = importlib.import_module(f"benchmarks.{name}").run()
        print("\n".join(map(str, tables)), flush=True)
        figures[name] = [table.as_dict() for table in tables]
        if options.json is not None:
            # After each: one that this machine cannot run does not take the others' with it.
            options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
