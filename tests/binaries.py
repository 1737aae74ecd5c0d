"""Compiles the programs and libraries in tests/c that the tests watch, once per content.

They are kept in the tests' cache, outside the checkout, so that a guest, where compiling takes
long, finds what the host has compiled before: `python -m tests.binaries`.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

from tests.vm.host import cache_dir

SOURCES = Path(__file__).parent / "c"


def built(name: str) -> Path:
    """The binary of tests/c/NAME.c, whose first line has the compiler's flags."""
    source = SOURCES / f"{name}.c"
    text = source.read_text(encoding="utf-8")
    match = re.match(r"/\* flags: (.*)", text)
    assert match is not None, f"{source}: no flags in the first line"
    others = sorted({*SOURCES.glob("*.map"), *SOURCES.glob("*.h")})
    scripts = "".join(path.read_text(encoding="utf-8") for path in others)
    key = hashlib.sha256((platform.machine() + text + scripts).encode()).hexdigest()[:20]
    made = cache_dir() / "binaries" / f"{name}-{key}"
    if not made.exists():
        made.parent.mkdir(parents=True, exist_ok=True)
        partial = made.with_suffix(f".{os.getpid()}")
        command = ["cc", "-g0", "-o", str(partial), *match[1].split(), source.name]
        subprocess.run(command, check=True, cwd=SOURCES)
        partial.rename(made)
    return made


def main() -> int:
    for source in sorted(SOURCES.glob("*.c")):
        print(built(source.stem))
    return 0


if __name__ == "__main__":
    sys.exit(main())
