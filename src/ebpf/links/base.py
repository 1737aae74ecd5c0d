"""Links: attachments that can be described, pinned and opened again."""

from __future__ import annotations

import errno
import os

from ebpf import pin
from ebpf._sys import Descriptor, bpf, lib
from ebpf._sys.arguments import check_number, check_objects
from ebpf._sys.call import fail
from ebpf._sys.link_info import link_info
from ebpf.errors import BpfError, BpfFileNotFoundError, NotSupportedError
from ebpf.info import LinkInfo
from ebpf.types import AttachFlags, AttachType, CgroupIterOrder, LinkType, PerfEventType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Protocol

    from typing_extensions import Self

    class HasFileno(Protocol):
        def fileno(self) -> int: ...


# The words of /proc for what a descriptor is, where they are not ours.
_KINDS = {"prog": "program"}

# Members of a link's info that have names of their own.
_ENUMS = {
    "attach_type": AttachType,
    "order": CgroupIterOrder,
    "perf_event_type": PerfEventType,
}


class Link(Descriptor):
    """An attached program. Closing it detaches, unless it is pinned.

    The kernel detaches when the last descriptor is closed, so an attachment ends with the
    process however that ends, by an exception or by SIGKILL. A forked child has descriptors too:
    what was attached before the fork stays until both have closed it, or have ended. See "Forked
    children" in docs/attachments.md.
    """

    def __init__(self, fd: int, target: str = "") -> None:
        super().__init__(fd)
        #: What the program is attached to: "tracepoint sched:sched_process_exec".
        self.target = target

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Open the link pinned at `path` (BPF_OBJ_GET).

        Raises:
            BpfFileNotFoundError: nothing is pinned there.
            BpfError: the path is on no bpffs, or another kind of object is pinned there.
        """
        return cls._adopt(pin.open_pinned(path, "link"), f"link pinned at {os.fspath(path)}")

    @classmethod
    def from_id(cls, id: int) -> Self:
        """Open the link with the kernel's id `id` (BPF_LINK_GET_FD_BY_ID).

        Raises:
            BpfFileNotFoundError: no link has this id.
        """
        check_number("id", id, 32)
        fd = bpf.link_get_fd_by_id(id, action=f"open the link with id {id}")
        return cls._adopt(fd, f"link with id {id}")

    @classmethod
    def all(cls) -> Iterator[Self]:
        """Every link that the kernel has now, by ascending id; one that ends meanwhile is left out.

        Each is opened when its turn comes and is the caller's to close.

        Raises:
            BpfPermissionError: it takes CAP_SYS_ADMIN.
        """
        id = 0
        while (found := bpf.link_get_next_id(id)) is not None:
            id = found
            try:
                link = cls.from_id(id)
            except BpfFileNotFoundError:
                continue
            yield link

    @classmethod
    def from_fd(cls, fd: int) -> Self:
        """A link for a duplicate of the descriptor `fd`, which stays the caller's."""
        copy = int(lib.ebpf_dup(fd))
        if copy < 0:
            fail(-copy, f"duplicate descriptor {fd}")
        return cls._adopt(copy, f"descriptor {fd}")

    @classmethod
    def _adopt(cls, fd: int, what: str) -> Self:
        """A link that owns `fd`; `fd` is closed when that fails."""
        try:
            kind = pin.kind_of(fd)
            if kind != "link":
                kind = _KINDS.get(kind, kind)
                raise BpfError(errno.EINVAL, f"open {what}: it is a {kind}, not a link")
            info = link_info(fd)
            found: Self = _class_of(info, cls)(fd, _target(info))
            return found
        except BaseException:
            os.close(fd)
            raise

    def info(self) -> LinkInfo:
        """What the kernel reports of the link (BPF_OBJ_GET_INFO_BY_FD, 5.8).

        `details` has the members of the link's kind by their uapi names: names and paths as str,
        arrays as lists. What the running kernel does not report is 0 or empty; of perf events
        (kprobes, tracepoints) that is everything before 6.6.
        """
        raw = link_info(self.fileno())
        return LinkInfo(
            type=LinkType(raw.pop("type")),
            id=raw.pop("id"),
            prog_id=raw.pop("prog_id"),
            details={
                name: _readable(name, value)
                for name, value in raw.items()
                if not name.startswith("pad_")
            },
        )

    def update(self, program: HasFileno, *, expected: HasFileno | None = None) -> None:
        """Put `program` in the place of the attached one, atomically (BPF_LINK_UPDATE).

        Args:
            expected: only where this is the attached program.

        Raises:
            BpfError: EINVAL where links of this kind can't be updated (tracing kinds, perf
                events), or the new program is of another type; EPERM where another program than
                `expected` is attached; ENOLINK where what it was attached to is gone.
        """
        check_objects(program=program, expected=expected)
        if isinstance(expected, Link):
            raise TypeError(f"expected: {expected!r} is a link; give the program that it attached")
        fields = {"link_fd": self.fileno(), "new_prog_fd": program.fileno()}
        if expected is not None:
            fields |= {"old_prog_fd": expected.fileno(), "flags": int(AttachFlags.REPLACE)}
        try:
            bpf.link_update(action=f"update {self!r}", **fields)
        except BpfError as error:
            if error.errno != errno.ENOLINK:
                raise
            gone = f"update {self!r}: what it was attached to is gone"
            raise BpfError(errno.ENOLINK, gone) from None

    def detach(self) -> None:
        """End the attachment for every holder, pinned or not (BPF_LINK_DETACH, 5.9).

        Raises:
            BpfError: EOPNOTSUPP where links of this kind only detach by closing.
        """
        bpf.link_detach(self.fileno(), action=f"detach {self!r}")

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Pin the link at `path` on a bpffs: the program stays attached after this process.

        Raises:
            BpfFileExistsError: `path` exists.
            BpfFileNotFoundError: the directory does not exist.
            BpfError: the directory is on no bpffs; the message has the mount command.
            NotSupportedError: the attachment is not a link on this kernel.
        """
        pin.pin(self.fileno(), path, repr(self))

    def _anchor(self) -> tuple[int, bool]:
        """The descriptor that stands for its place among others, and whether that is a link's."""
        return self.fileno(), True

    @staticmethod
    def unpin(path: str | os.PathLike[str]) -> None:
        """Remove the name `path` from the bpffs; see `ebpf.unpin`."""
        pin.unpin(path)

    def __repr__(self) -> str:
        state = "closed" if self._fd < 0 else f"fd={self._fd}"
        return f"<ebpf.{type(self).__name__}{' to ' if self.target else ''}{self.target} {state}>"


def _class_of(info: dict[str, Any], cls: Any) -> Any:
    """What can do more than a Link, where just that is asked for."""
    if cls is not Link:
        return cls
    if info["type"] == LinkType.ITER:
        from ebpf.links.iterator import IteratorLink

        return IteratorLink
    if info["type"] in (LinkType.XDP, LinkType.TCX, LinkType.NETKIT):
        from ebpf.links.device import InterfaceLink

        return InterfaceLink
    return cls


def _target(info: dict[str, Any]) -> str:
    """What a link is attached to, as far as the kernel tells: "raw tracepoint sched_switch"."""
    kind = PerfEventType(info.get("perf_event_type") or 0)
    word = kind.name if kind else LinkType(info["type"]).name
    named = (info.get(name) for name in ("tp_name", "func_name", "target_name", "file_name"))
    name = next(filter(None, named), b"")
    return f"{word.lower().replace('_', ' ')} {os.fsdecode(name)}".strip()


def _readable(name: str, value: Any) -> Any:
    if isinstance(value, bytes):
        return os.fsdecode(value)
    return _ENUMS[name](value) if name in _ENUMS else value


class PerfEventAttachment(Link):
    """A program on a perf event without a link: what kernels before 5.15 have (ioctl).

    It ends with its descriptor like a link, but the kernel has no object to describe or pin.
    """

    def info(self) -> LinkInfo:
        """Not to be had: the kernel keeps no link."""
        raise self._not_a_link("describe")

    def update(self, program: HasFileno, *, expected: HasFileno | None = None) -> None:
        """Not to be had: the kernel keeps no link."""
        raise self._not_a_link("update")

    def detach(self) -> None:
        """Detach by closing: nobody else can hold this attachment."""
        self.close()

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Not to be had: the kernel keeps no link."""
        raise self._not_a_link("pin")

    def _not_a_link(self, action: str) -> NotSupportedError:
        return NotSupportedError(f"{action} {self!r}: BPF links for perf events", (5, 15))
