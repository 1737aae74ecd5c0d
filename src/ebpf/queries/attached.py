"""What the answers of `ebpf.query` are made of."""

from __future__ import annotations

from ebpf.info import Info
from ebpf.types import AttachFlags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class AttachedProgram(Info):
    """One program of a hook."""

    id: int  #: of the program
    link_id: int  #: 0 where it has no link, or the kernel does not tell (XDP, netfilter)
    flags: AttachFlags  #: with which it was attached, where the hook keeps them
    link_flags: AttachFlags  #: with which its link was made, where the hook keeps them
    details: dict[str, Any]  #: "mode" of XDP; "name", "protocol", "priority", ... of a filter;
    #: "family", "hook" and "priority" of netfilter

    def __init__(
        self,
        id: int,
        *,
        link_id: int = 0,
        flags: AttachFlags = AttachFlags(0),  # noqa: B008
        link_flags: AttachFlags = AttachFlags(0),  # noqa: B008
        **details: Any,
    ) -> None:
        super().__init__(
            id=id, link_id=link_id, flags=flags, link_flags=link_flags, details=details
        )


class AttachedHook(Info):
    """A hook and its programs, in the order in which they run."""

    programs: list[AttachedProgram]
    flags: AttachFlags  #: of the hook: whether a cgroup allows others
    revision: int  #: counts changes, from 1; 0 where the hook or the kernel has none

    def __init__(
        self,
        programs: list[AttachedProgram],
        *,
        flags: AttachFlags = AttachFlags(0),  # noqa: B008
        revision: int = 0,
    ) -> None:
        super().__init__(programs=programs, flags=flags, revision=revision)

    @property
    def program_ids(self) -> list[int]:
        """The ids of the programs."""
        return [program.id for program in self.programs]
