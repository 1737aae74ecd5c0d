"""The driver of libbpf_load.c, which loads an object with libbpf.

    python -m tests.kernel.conformance.libbpf

builds it into the tests' cache, where a guest finds it, and prints its path.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path

from tests.libbpf import built
from tests.vm.host import HarnessError

SOURCE = Path(__file__).parent / "libbpf_load.c"


@functools.cache
def driver() -> Path:
    """The program, from the cache or built into it. Raises HarnessError."""
    return built(SOURCE)


if __name__ == "__main__":
    try:
        print(driver())
    except HarnessError as error:
        sys.exit(str(error))
