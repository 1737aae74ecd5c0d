"""A process in a user namespace of its own, root there and nobody elsewhere."""

from __future__ import annotations

import ctypes
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

_CLONE_NEWUSER, _CLONE_NEWNS = 0x10000000, 0x00020000
_libc = ctypes.CDLL(None, use_errno=True)


def in_user_namespace(
    function: Callable[[], T],
    prepare: Callable[[int], None] = lambda process: None,
    *,
    mounts: bool = True,
) -> T:
    """What `function` returns or raises in a child with a user namespace of its own.

    And with a mount namespace, if `mounts`. `prepare` is called before, here, with the child's
    process id.
    """
    ready, begin, result = os.pipe(), os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        flags = _CLONE_NEWUSER | (_CLONE_NEWNS if mounts else 0)
        _run(function, flags, ready[1], begin, result[1])
    os.close(result[1])
    try:
        os.read(ready[0], 1)
        for kind in ("uid_map", "gid_map"):
            Path(f"/proc/{child}/{kind}").write_text("0 0 1")
        prepare(child)
        os.write(begin[1], b"!")
        with open(result[0], "rb", closefd=False) as answer:
            worked, outcome = pickle.loads(answer.read())
    finally:
        # A child that waits in vain ends.
        for fd in (*ready, *begin, result[0]):
            os.close(fd)
        os.waitpid(child, 0)
    if not worked:
        raise outcome
    value: T = outcome
    return value


def _run(
    function: Callable[[], Any], flags: int, ready: int, begin: tuple[int, int], result: int
) -> None:
    try:
        os.close(begin[1])
        if _libc.unshare(flags) != 0:
            raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWUSER)")
        os.write(ready, b"!")
        if not os.read(begin[0], 1):
            return
        try:
            answer = (True, function())
        except BaseException as error:  # noqa: BLE001 raised by the parent
            answer = (False, error)
        os.write(result, pickle.dumps(answer))
    finally:
        os._exit(0)
