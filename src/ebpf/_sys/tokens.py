"""Which token commands are made with, and what a token lacks.

The token is that of the calling context, not an argument of each function: probes, jump tables and
types that are loaded on the way to a program need it as the program does.
"""

from __future__ import annotations

from contextvars import ContextVar

from ebpf._sys import facts
from ebpf.types import AttachType, Command, MapType, ProgramType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Fields = dict[str, Any]

# BPF_F_TOKEN_FD, the same in the flags of all commands.
_TOKEN_FD = 1 << 16

_active: ContextVar[int] = ContextVar("ebpf token", default=0)


class Active:
    """While it is entered, what this thread (or asyncio task) makes is made by the token `fd`.

    None is for the one that is active already, or none.
    """

    def __init__(self, fd: int | None) -> None:
        self._fd = fd

    def __enter__(self) -> None:
        self._before = _active.set(_active.get() if self._fd is None else self._fd)

    def __exit__(self, *exception: object) -> None:
        _active.reset(self._before)


def is_active() -> bool:
    """Whether there is a token that is used."""
    return bool(_active.get())


def by_token(kind: str, fields: Fields, flags: str = "") -> Fields:
    """The fields of MAP_CREATE ("map"), PROG_LOAD ("prog") or BTF_LOAD ("btf"), with the token.

    `flags` is the name of the flags, where it is not of the kind.
    """
    fd = _active.get()
    if not fd:
        return fields
    flags = flags or f"{kind}_flags"
    return {**fields, flags: fields.get(flags, 0) | _TOKEN_FD, f"{kind}_token_fd": fd}


def allowed(fd: int) -> dict[str, int | None]:
    """What the token `fd` allows: for each of cmds, maps, progs and attachs the bits, None for any.

    From fdinfo, which every kernel with tokens has; BPF_OBJ_GET_INFO_BY_FD has it since 6.17.
    """
    given = facts.fdinfo(fd)
    masks = {name: given[f"allowed_{name}"] for name in ("cmds", "maps", "progs", "attachs")}
    return {name: None if mask == "any" else int(mask, 16) for name, mask in masks.items()}


def lacking(command: Command, data: Any) -> str:
    """What the token in the attribute `data` lacks for the command; "" without one."""
    kind = _KINDS.get(command)
    fd = getattr(data, f"{kind}_token_fd") if kind else 0
    if not fd:
        return ""
    wanted: list[tuple[str, str, Any]] = [("cmds", "the command", command)]
    if command == Command.MAP_CREATE:
        wanted.append(("maps", "the map type", MapType(data.map_type)))
    elif command == Command.PROG_LOAD:
        wanted.append(("progs", "the program type", ProgramType(data.prog_type)))
        # Kernels ask for it of programs for no hook in particular, too, whose type is 0.
        hook = AttachType(data.expected_attach_type)
        wanted.append(("attachs", f"the attach type ({int(hook)})", hook))
    try:
        masks = allowed(fd)
    except OSError:
        return ""  # there is no /proc to tell
    lacks = [f"{what} {value.name}" for name, what, value in wanted if not _has(masks[name], value)]
    return f"the token does not allow {' or '.join(lacks)}" if lacks else ""


_KINDS = {
    Command.MAP_CREATE: "map",
    Command.PROG_LOAD: "prog",
    Command.BTF_LOAD: "btf",
    Command.BTF_GET_FD_BY_ID: "fd_by_id",
}


def _has(mask: int | None, value: int) -> bool:
    return mask is None or bool(mask >> value & 1)
