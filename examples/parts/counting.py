"""What programs have in common that let the kernel count for a while and then print."""

from __future__ import annotations

import argparse
import signal
import sys
import time


def counter(description: str | None) -> argparse.ArgumentParser:
    """A parser with their common option."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, help="how long to count (until Ctrl-C)")
    return parser


def wait(name: str, seconds: float | None) -> None:
    """Until Ctrl-C or SIGTERM, at most `seconds`. `name` is the program's, for its message."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        print(f"{name}: counting; Ctrl-C ends it", file=sys.stderr, flush=True)
        if seconds is None:
            signal.pause()
        else:
            time.sleep(seconds)
    except KeyboardInterrupt:
        print(file=sys.stderr)
