"""tracefs: where it is mounted, and the tracepoints that it lists."""

from __future__ import annotations

import errno
import os

from ebpf._sys import facts, mounts
from ebpf._sys.arguments import check_text
from ebpf.errors import BpfFileNotFoundError, BpfPermissionError, FormatError, from_errno
from ebpf.info import Info
from ebpf.patterns import Pattern

# The mount point of its own, and the one inside debugfs that came first.
MOUNT_POINTS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
MOUNT_COMMAND = "mount -t tracefs tracefs /sys/kernel/tracing"

# Since 5.16 only owner and group may read the files in it, whatever the mode of the directory.
SHARE_COMMAND = "mount -o remount,gid=GROUP,mode=750"

# fs/tracefs and trace_init_dentry ask the lockdown (LOCKDOWN_TRACEFS, 5.4) before they make files.
WHY_EMPTY = (
    "the kernel makes none where it is locked down (confidentiality) when it starts; boot with"
    " lockdown=integrity or lockdown=none, and where Secure Boot turns it on, turn that off"
)


def find() -> str:
    """The directory where tracefs is mounted.

    Raises:
        BpfFileNotFoundError: it is mounted at neither place; the message has the command.
        BpfPermissionError: it may be, but this process cannot look into it, or the kernel leaves it
            empty.
    """
    hidden = error = None
    for directory in MOUNT_POINTS:
        try:
            if "events" in os.listdir(directory):
                return directory
        except PermissionError as refused:
            if hidden is None:
                hidden, error = directory, refused
        except FileNotFoundError:
            continue
    empty = empty_mount()
    if empty is not None:
        raise BpfPermissionError(errno.EPERM, f"find tracefs: {empty} has no files: {WHY_EMPTY}")
    if hidden is not None and error is not None:
        own = MOUNT_POINTS[0]
        # Inside debugfs, the way to it is closed as well.
        command = f"{SHARE_COMMAND} {own}"
        if hidden != own:
            command = f"{MOUNT_COMMAND} && {command}"
        raise _unreadable("find tracefs", hidden, command, error)
    raise BpfFileNotFoundError(
        2, f"find tracefs: it is not mounted at {' or '.join(MOUNT_POINTS)}; {MOUNT_COMMAND}"
    )


def empty_mount() -> str | None:
    """Where tracefs is mounted and has no files in it; None where that is nowhere."""
    if not os.path.exists("/proc/self/mountinfo"):
        return None
    for directory in MOUNT_POINTS:
        try:
            device = os.stat(directory).st_dev
            if mounts.kind_of(device) == "tracefs" and not os.listdir(directory):
                return directory
        except (FileNotFoundError, PermissionError):
            # As for `find`, which looks before.
            continue
    return None


def tracepoint_id(category: str, name: str) -> int:
    """The number of the tracepoint `category`:`name`, for perf_event_open().

    Raises:
        BpfFileNotFoundError: there is no such tracepoint; the message has the nearest names.
        BpfPermissionError: this process may not read the number; the message has the command.
    """
    return int(_read(category, name, "id"))


class TracepointField(Info):
    """A field of the record that a tracepoint's program gets as its context."""

    name: str
    declaration: str  #: as the kernel writes it: "unsigned long args[6]", "__data_loc char[] name"
    offset: int  #: bytes from the start of the record
    size: int  #: in bytes
    signed: bool

    @property
    def is_array(self) -> bool:
        """Whether it holds several values, or leads to a string elsewhere in the record."""
        return "[" in self.declaration


_FIELD = Pattern(r"\tfield:([^;]*);\toffset:(\d+);\tsize:(\d+);\tsigned:([01]);")
# The last word: "int ret", "const char * name", "char comm[16]", "void (*func)(void)".
_NAME = Pattern(r"(\w+)(?:\[[^]]*\])*$|\(\*\s*(\w+)\)")


def tracepoint_fields(category: str, name: str) -> dict[str, TracepointField]:
    """The fields of a tracepoint's record by name, in order, from its ``format`` file.

    Those that begin with ``common_`` are in every record; programs cannot read them.

    Raises:
        FormatError: the file has a line that declares no field.
        BpfFileNotFoundError, BpfPermissionError: as tracepoint_id.
    """
    fields = {}
    for line in _read(category, name, "format").splitlines():
        if line.startswith("\tfield:"):
            field = _parse_field(f"{category}:{name}", line)
            fields[field.name] = field
    return fields


def _parse_field(tracepoint: str, line: str) -> TracepointField:
    field = _FIELD.match(line)
    name = _NAME.search(field[1]) if field else None
    if field is None or name is None:
        raise FormatError(
            f"the format of the tracepoint {tracepoint}: {line.strip()!r} is no field"
        )
    return TracepointField(
        name=name[1] or name[2],
        declaration=field[1],
        offset=int(field[2]),
        size=int(field[3]),
        signed=field[4] == "1",
    )


def _read(category: str, name: str, file_name: str) -> str:
    """The contents of one of the files that describe a tracepoint."""
    directory = find()
    events = os.path.join(directory, "events")
    for part, what in ((category, "category"), (name, "name")):
        check_text(what, part)
        if not part or "/" in part or part.startswith("."):
            raise ValueError(f"{what}: {part!r} is no tracepoint {what}")
    path = os.path.join(events, category, name, file_name)
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except FileNotFoundError:
        raise BpfFileNotFoundError(2, _no_tracepoint(events, category, name)) from None
    except PermissionError as error:
        command = f"{SHARE_COMMAND} {directory}"
        action = f"find the tracepoint {category}:{name}"
        raise _unreadable(action, path, command, error) from None


def _unreadable(action: str, path: str, command: str, error: PermissionError) -> BpfPermissionError:
    # Where modes do not bind this process, or are not what refused it, others would not help.
    if error.errno == errno.EPERM or facts.reads_every_file():
        return BpfPermissionError(
            error.errno or errno.EACCES, f"{action}: read {path}: {facts.explain_permission()}"
        )
    return BpfPermissionError(
        errno.EACCES,
        f"{action}: this process may not read {path}; run it as root, or let a group read it:"
        f" {command}",
    )


def open_to_read(path: str, action: str, flags: int = 0) -> int:
    """A descriptor of a file of tracefs that is read as it fills.

    Raises:
        BpfPermissionError: this process may not read it; the message has the command.
        BpfError: what the kernel refused; EBUSY, somebody else has it open.
    """
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
    except PermissionError as error:
        raise _unreadable(action, path, f"{SHARE_COMMAND} {find()}", error) from None
    except OSError as error:
        what = f"{action}: {path}"
        if error.errno == errno.EBUSY:
            what += " is open elsewhere, and takes one reader at a time"
        raise from_errno(error.errno or 0, what) from None


def lines(path: str) -> list[str]:
    """The lines of a file of tracefs.

    Raises:
        BpfFileNotFoundError: the kernel was built without what the file belongs to.
        BpfPermissionError: this process may not read it; the message has the command.
    """
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().splitlines()
    except FileNotFoundError:
        raise BpfFileNotFoundError(
            errno.ENOENT, f"read {path}: this kernel does not have it (CONFIG_DYNAMIC_FTRACE)"
        ) from None
    except PermissionError as error:
        command = f"{SHARE_COMMAND} {find()}"
        action = "list the functions that can be traced"
        raise _unreadable(action, path, command, error) from None


def readable(directory: str) -> bool | None:
    """Whether this process may read the number of a tracepoint; None where there is none."""
    events = os.path.join(directory, "events")
    try:
        for category in _subdirectories(events):
            for name in _subdirectories(os.path.join(events, category)):
                path = os.path.join(events, category, name, "id")
                if os.path.exists(path):
                    with open(path, encoding="ascii"):
                        return True
    except PermissionError:
        return False
    return None


def _no_tracepoint(events: str, category: str, name: str) -> str:
    import difflib

    categories = _subdirectories(events)
    message = f"no tracepoint {category}:{name}"
    # The right name in a wrong category is the nearest of all.
    near = [
        f"{other}:{name}"
        for other in categories
        if os.path.isdir(os.path.join(events, other, name))
    ]
    if category in categories:
        names = _subdirectories(os.path.join(events, category))
        near += [f"{category}:{other}" for other in difflib.get_close_matches(name, names, n=5)]
    else:
        message += f": no category {category}"
        near = near or difflib.get_close_matches(category, categories, n=5)
    return f"{message}; nearest: {', '.join(near)}" if near else message


def _subdirectories(path: str) -> list[str]:
    if not os.path.isdir(path):
        return []
    with os.scandir(path) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir())


def tracepoint_names() -> list[str]:
    """The names of all tracepoints, without their categories, as raw tracepoints go by."""
    events = os.path.join(find(), "events")
    return sorted(
        {
            name
            for category in _subdirectories(events)
            # Each system call has two events, but all of them are raw tracepoints sys_enter and
            # sys_exit.
            if category != "syscalls"
            for name in _subdirectories(os.path.join(events, category))
        }
    )
