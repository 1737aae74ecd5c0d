"""What a process does when it ends by itself, in each of its forms."""

from __future__ import annotations

import atexit
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# In which process each function was registered last.
_registered: dict[Callable[[], object], int] = {}


def at_exit(function: Callable[[], object]) -> None:
    """Have `function` called when this process ends by itself; more often asked for, once.

    A child that was forked is a process of its own, which has to ask, too. Those that
    multiprocessing makes end without `atexit` (before 3.13), and have a list of their own.
    """
    if _registered.get(function) == os.getpid():
        return
    _registered[function] = os.getpid()
    atexit.unregister(function)
    atexit.register(function)
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(None, function, exitpriority=0)
