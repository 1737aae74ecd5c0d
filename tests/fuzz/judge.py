"""The verdict about one input: ``python -m tests.fuzz.judge TARGET FILE`` prints it."""

from __future__ import annotations

import os
import re
import sys
import traceback
from pathlib import Path

from tests.fuzz.limits import SECONDS, TooSlow, address_space, memory_for, processor_time
from tests.fuzz.targets import TARGETS, NoPlace

_PACKAGE = f"{os.sep}ebpf{os.sep}"


def judge(target: str, data: bytes, seconds: float = SECONDS) -> str | None:
    """What is wrong with how the library takes `data`, in the same words for the same bug.

    None where nothing is.
    """
    try:
        with processor_time(seconds), address_space(memory_for(len(data))):
            TARGETS[target](data)
    except (Exception, TooSlow) as error:  # noqa: BLE001  whatever it is, it is the finding
        return _label(error)
    return None


def _label(error: BaseException) -> str:
    """The kind of the exception, and the function of the library that it came from.

    What ran out of time or room did so anywhere: there it is the function that was asked.
    """
    frames = [
        f"{frame.filename.rpartition(_PACKAGE)[2]}:{frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
        if _PACKAGE in frame.filename
    ]
    anywhere = isinstance(error, (TooSlow, MemoryError, RecursionError))
    if isinstance(error, NoPlace):
        return f"NoPlace: {re.sub(r'[0-9]+', 'N', str(error))[:80]}"
    place = (frames[:1] if anywhere else frames[-1:]) or ["the target itself"]
    return f"{type(error).__name__} in {place[0]}"


def main() -> int:
    target, path = sys.argv[1:]
    verdict = judge(target, Path(path).read_bytes())
    print(verdict or "nothing is wrong")
    return 1 if verdict else 0


if __name__ == "__main__":
    sys.exit(main())
