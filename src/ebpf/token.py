"""Tokens: bpf() in a user namespace, as far as a privileged process delegates it (Linux 6.9).

delegate    mounts a BPF file system that says what is delegated, by the one who may
Token       what a process in the namespace makes of it
"""

from __future__ import annotations

import errno
import os

from ebpf._sys import Descriptor, bpf, facts, lib, tokens
from ebpf._sys.arguments import check_number, check_text
from ebpf._sys.call import fail
from ebpf.errors import BpfError, BpfPermissionError, NotSupportedError, from_errno
from ebpf.info import Info
from ebpf.pin import BPFFS
from ebpf.types import AttachType, Command, MapType, ProgramType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Literal, TypeAlias, TypeVar

    from typing_extensions import Self

    from ebpf.pin import StrPath

    T = TypeVar("T", bound=int)
    Some: TypeAlias = Iterable[T] | Literal["any"]

# The release of tokens.
_SINCE = (6, 9)

# Where libbpf looks for the path of the BPF file system; empty is for no token.
_VARIABLE = "LIBBPF_BPF_TOKEN_PATH"

_REFUSALS = {
    errno.EINVAL: "it is not the root of a BPF file system",
    errno.ENOENT: "it delegates nothing; who is privileged mounts one that does: ebpf.delegate()",
    errno.EPERM: "it belongs to another user namespace, or this process lacks CAP_BPF in its own",
    errno.EOPNOTSUPP: "this process is in the first user namespace, which needs no token",
}

# Of Token.find: no such directory, no BPF file system, nothing delegated here, or no tokens at all.
_NONE_TO_FIND = (*_REFUSALS, errno.ENOTDIR, errno.EACCES, errno.E2BIG)


class TokenInfo(Info):
    """What a token allows; where that is any, all that this library knows."""

    commands: frozenset[Command]
    map_types: frozenset[MapType]
    program_types: frozenset[ProgramType]
    attach_types: frozenset[AttachType]


class Token(Descriptor):
    """Lets a process in a user namespace create maps, load programs and types (6.9).

    ``Map.create``, ``Program.load`` and ``CollectionSpec.load`` take it as `token`. The process
    needs CAP_BPF in its namespace, and CAP_PERFMON or CAP_NET_ADMIN for what takes them elsewhere.
    A context manager; warns (ResourceWarning) when it is collected while open.
    """

    @classmethod
    def create(cls, path: StrPath = BPFFS) -> Self:
        """A token of the BPF file system that is mounted at `path` (BPF_TOKEN_CREATE).

        Raises:
            BpfFileNotFoundError: there is no such directory, or it delegates nothing.
            BpfPermissionError: the file system is of another user namespace than this process.
            BpfError: EINVAL, `path` is not where a BPF file system is mounted; EOPNOTSUPP, the
                process is in the first user namespace, which needs no token.
            NotSupportedError: a kernel before 6.9.
        """
        text = os.fspath(path)
        check_text("path", text)
        action = f"create a token of {text}"
        try:
            directory = os.open(text, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise from_errno(error.errno or 0, action) from None
        try:
            return cls(bpf.token_create(directory, action=action))
        except BpfError as error:
            code = error.errno or 0
            if code not in _REFUSALS or getattr(error, "minimum_version", None):
                raise
            raise _error(code, f"{action}: {_REFUSALS[code]}") from None
        finally:
            os.close(directory)

    @classmethod
    def find(cls) -> Self | None:
        """The token that objects are loaded with where none is given; None where there is none.

        Of the BPF file system that the environment variable LIBBPF_BPF_TOKEN_PATH names (none
        where it is empty), as with libbpf; without it, in a user namespace, of the one at
        /sys/fs/bpf if that delegates something.

        Raises:
            As `create`, where the variable names the path.
        """
        path = os.environ.get(_VARIABLE)
        if path is not None:
            return cls.create(path) if path else None
        if facts.in_initial_user_namespace() is not False:
            return None
        try:
            return cls.create()
        except BpfError as error:
            # Nobody asked for one; but what has nothing to do with tokens is told.
            if error.errno not in _NONE_TO_FIND:
                raise
            return None

    def info(self) -> TokenInfo:
        """What the token allows, from /proc.

        Raises:
            BpfFileNotFoundError: /proc is not mounted.
        """
        masks = tokens.allowed(self.fileno())
        return TokenInfo(
            commands=_members(Command, masks["cmds"]),
            map_types=_members(MapType, masks["maps"]),
            program_types=_members(ProgramType, masks["progs"]),
            attach_types=_members(AttachType, masks["attachs"]),
        )

    def active(self) -> tokens.Active:
        """A context manager: what this thread makes in it is made by the token, probes included.

        ``with token.active(): ebpf.features.map_type(...)``. An asyncio task has its own.
        """
        return tokens.Active(self.fileno())


def used(token: Token | None) -> tokens.Active:
    """A context in which `token` is used; None for what is used already."""
    if token is not None and not isinstance(token, Token):
        raise TypeError(f"token: {token!r} is not an ebpf.Token")
    return tokens.Active(None if token is None else token.fileno())


class ForObject:
    """A context to load an object in: `token` is used, or the active one, or what is found."""

    def __init__(self, token: Token | None) -> None:
        self._found = Token.find() if token is None and not tokens.is_active() else None
        self._active = used(token or self._found)

    def __enter__(self) -> None:
        self._active.__enter__()

    def __exit__(self, *exception: object) -> None:
        self._active.__exit__(*exception)
        if self._found is not None:
            self._found.close()


def _members(enum: type[T], mask: int | None) -> frozenset[T]:
    known: Any = enum
    if mask is None:
        return frozenset(known)
    return frozenset(known(bit) for bit in range(mask.bit_length()) if mask >> bit & 1)


def _error(code: int, message: str) -> BpfError:
    # from_errno and fail have other words for these.
    if code == errno.EPERM:
        return BpfPermissionError(code, f"{message}; {facts.explain_permission()}")
    return BpfError(code, message) if code == errno.EOPNOTSUPP else from_errno(code, message)


def delegate(
    process: int,
    path: StrPath = BPFFS,
    *,
    commands: Some[Command] = (),
    map_types: Some[MapType] = (),
    program_types: Some[ProgramType] = (),
    attach_types: Some[AttachType] = (),
) -> None:
    """Mount a BPF file system that delegates bpf() to the user namespace of a process (6.9).

    It is mounted at `path` as `process` sees it, belongs to its user, and lasts as long as its
    mount namespace or until it is unmounted. In the namespace `Token.create` makes tokens of it.

    Args:
        process: the id of a process that is in a user namespace below this one's, with a mount
            namespace of its own: what ``unshare --user --mount`` or a container runtime starts.
        path: an absolute path; the directory has to be there.
        commands, map_types, program_types, attach_types: what is allowed, or "any". To create maps
            takes MAP_CREATE, programs PROG_LOAD, types BTF_LOAD. A program takes its type and its
            attach type; that of programs for no hook in particular is CGROUP_INET_INGRESS (0).

    Raises:
        ValueError: a path that is relative, nothing to delegate, or a process that is in this
            process's own user namespace.
        BpfFileNotFoundError: there is no such process, or no such directory for it.
        BpfPermissionError: this process is not privileged (CAP_SYS_ADMIN in the first user
            namespace), or the process's mount namespace belongs to another user namespace.
        NotSupportedError: a kernel before 6.9.
    """
    options = {
        "delegate_cmds": _mask("commands", Command, commands),
        "delegate_maps": _mask("map_types", MapType, map_types),
        "delegate_progs": _mask("program_types", ProgramType, program_types),
        "delegate_attachs": _mask("attach_types", AttachType, attach_types),
    }
    if not any(options.values()):
        raise ValueError(
            "delegate: nothing is delegated; give commands, map_types, program_types, attach_types"
        )
    check_number("process", process, 31)
    text = os.fspath(path)
    check_text("path", text)
    if not os.path.isabs(text):
        raise ValueError(f"path: {text!r} is relative; give it as process {process} has it")
    from ebpf import features

    if not features.tokens():
        # Kernels with BPF file systems ignore the options that they do not know.
        raise NotSupportedError("delegate: not in this kernel", _SINCE, errno.EINVAL)
    with _Namespaces(process, text) as namespaces:
        namespaces.mount(options)


def _mask(name: str, enum: type[T], given: Some[T]) -> str:
    """The value of a delegate option; "" for nothing."""
    if given == "any":
        return "any"
    mask = 0
    for member in given:
        if not isinstance(member, enum):
            raise TypeError(f"{name}: {member!r} is not an ebpf.types.{enum.__name__}")
        mask |= 1 << member
    return hex(mask) if mask else ""


class _Namespaces:
    """The namespaces of a process, and the directory `path` as the process has it."""

    def __init__(self, process: int, path: str) -> None:
        self._action = f"delegate to process {process} at {path}"
        self._process, self._path = process, path
        self._fds: list[int] = []

    def __enter__(self) -> Self:
        try:
            self._open()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _open(self) -> None:
        facts.need_proc(self._action)
        # By the directory of /proc: the number may be another process's at the next look.
        proc = self._opened(f"/proc/{self._process}", os.O_DIRECTORY)
        self._user = self._opened("ns/user", 0, proc)
        if os.path.samestat(os.fstat(self._user), os.stat("/proc/self/ns/user")):
            raise ValueError(
                f"process: {self._process} is in this process's user namespace, where no token is"
                " needed; a token is for a namespace below it (unshare --user)"
            )
        self._mount = self._opened("ns/mnt", 0, proc)
        self._directory = self._opened(f"root/{self._path.lstrip('/')}", os.O_DIRECTORY, proc)
        owner = os.stat("status", dir_fd=proc)
        self._owner = {"uid": str(owner.st_uid), "gid": str(owner.st_gid)}

    def _opened(self, path: str, flags: int, below: int | None = None) -> int:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags, dir_fd=below)
        except OSError as error:
            what = "no such process" if path.startswith("/proc/") else f"open its {path}"
            raise from_errno(error.errno or 0, f"{self._action}: {what}") from None
        self._fds.append(fd)
        return fd

    def mount(self, options: dict[str, str]) -> None:
        fs = int(lib.ebpf_bpffs_open(self._user, self._mount))
        if fs == -errno.EPERM:
            fail(
                errno.EPERM,
                f"{self._action}: open a BPF file system in its user namespace, which its mount"
                " namespace has to belong to (unshare --user --mount)",
            )
        self._checked(fs, "open a BPF file system in its user namespace")
        self._fds.append(fs)
        for key, value in options.items():
            if value:
                self._set(fs, key, value)
        for key, value in self._owner.items():
            self._set(fs, key, value)
        self._checked(int(lib.ebpf_bpffs_create(fs)), "make it", "CAP_SYS_ADMIN")
        result = int(lib.ebpf_bpffs_mount(self._user, self._mount, fs, self._directory))
        self._checked(result, "mount it")

    def _set(self, fs: int, key: str, value: str) -> None:
        result = int(lib.ebpf_bpffs_set(fs, key.encode(), value.encode()))
        self._checked(result, f"set {key}={value}")

    def _checked(self, result: int, what: str, takes: str | None = None) -> None:
        if result < 0:
            fail(-result, f"{self._action}: {what}", takes)

    def __exit__(self, *exception: object) -> None:
        while self._fds:
            os.close(self._fds.pop())
