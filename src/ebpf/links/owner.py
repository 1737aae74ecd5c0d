"""Who made what the kernel keeps without an owner: a mark of the process, and whether it is gone.

Process ids mean something in one pid namespace only, and containers that share a network have one
each. So the mark names the namespace too, and a process of another one is never taken for gone,
but by the initial namespace, which sees whether anybody is left there.
"""

from __future__ import annotations

import os

from ebpf._sys import facts
from ebpf.plain import NamedTuple

#: A mark, in a name that has more in it: "p4711_123456_4026531836_8796082920640".
MARK = r"p\d+_\d+_\d+_\d+"

# The number of the initial pid namespace (PROC_PID_INIT_INO of <linux/proc_ns.h>).
_INITIAL = 0xEFFFFFFC


class _Process(NamedTuple):
    """What /proc tells of a process."""

    state: str
    threads: int
    #: Clock ticks since boot.
    started: int
    #: Where its stack begins, which is another place after each execve(); 0 if not to be seen.
    stack: int

    @property
    def zombie(self) -> bool:
        """Whether it only waits to be reaped; a first thread that ended waits for the others."""
        return self.state in "ZX" and self.threads <= 1


def _process(name: int | str) -> _Process | None:
    """The process; None where /proc does not show it, or is not there."""
    try:
        with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return _Process(fields[0], int(fields[17]), int(fields[19]), int(fields[25]))


def _namespace(name: int | str = "self", kind: str = "pid") -> int:
    """The number of a process's namespace; 0 where /proc does not tell."""
    try:
        return os.stat(f"/proc/{name}/ns/{kind}").st_ino
    except OSError:
        return 0


def mark() -> str:
    """This process, and no other one with its number."""
    own = _process("self") or _Process("", 0, 0, 0)
    return f"p{os.getpid()}_{own.started}_{_namespace()}_{own.stack}"


def is_gone(mark: str) -> bool:
    """Whether the process with this mark has ended, for certain."""
    pid, started, namespace, stack = map(int, mark.removeprefix("p").split("_"))
    here = _namespace()
    if not here or not namespace:
        return False
    if namespace != here:
        return here == _INITIAL and not _inhabited(namespace)
    if pid == os.getpid():
        own = _process("self")
        # execve() keeps the number and the start.
        return own is not None and (own.started, own.stack) != (started, stack)
    return _ended(pid, started)


def _ended(pid: int, started: int) -> bool:
    """Whether the process of this namespace has ended, or only waits to be reaped."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        # It is another user's.
        pass
    except OverflowError:
        return False
    # /proc may hide the processes of others (hidepid), or be the one of another namespace.
    found = _process(pid) if os.readlink("/proc/self") == str(os.getpid()) else None
    if found is None:
        return False
    if found.zombie:
        return True
    # One in another time namespace has started at another time by the clock there, which is in its
    # mark: no telling whether it is the one that was.
    return found.started != started and _namespace(pid, "time") in (_namespace(kind="time"), 0)


def _inhabited(namespace: int) -> bool:
    """Whether a process is in the pid namespace, as the initial one sees it."""
    for name in os.listdir("/proc"):
        # 0: one that has ended, or may not be looked at.
        if name.isdigit() and _namespace(name) in (namespace, 0) and _is_inside(name):
            found = _process(name)
            if found is not None and not found.zombie:
                return True
    return False


def _is_inside(name: str) -> bool:
    """Whether a process is in a namespace below this one: it has a number in each (NSpid)."""
    try:
        return len(facts.process_status(name).get("NSpid", "").split()) > 1
    except OSError:
        return False
