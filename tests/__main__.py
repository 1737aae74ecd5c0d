"""make test: the tests without a kernel and, as root, the kernel tests, whatever the first say."""

from __future__ import annotations

import os
import subprocess
import sys


def main() -> int:
    parts = ["tests/unit", "tests/fuzz"]
    if os.geteuid() == 0:
        parts.append("tests/kernel")
    failed = []
    for part in parts:
        print(f"+ pytest {part}", flush=True)
        if subprocess.run([sys.executable, "-m", "pytest", part]).returncode:
            failed.append(part)
    if os.geteuid() != 0:
        print("LEFT OUT: the kernel tests, which need root (sudo make test)")
    if failed:
        print(f"FAILED: {' and '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
