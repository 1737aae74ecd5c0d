"""Programs of a SOCKMAP or SOCKHASH, which judge the data of the sockets in it."""

from __future__ import annotations

import errno
import os

from ebpf._sys import Descriptor, bpf
from ebpf._sys.arguments import check_objects
from ebpf._sys.descriptor import duplicate
from ebpf.errors import BpfError, NotSupportedError
from ebpf.links.base import Link
from ebpf.links.create import check_type, create_link, explain
from ebpf.types import AttachType, LinkType, MapType, ProgramType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ebpf.info import LinkInfo
    from ebpf.links.base import HasFileno

_TYPES = {
    AttachType.SK_SKB_STREAM_PARSER: ProgramType.SK_SKB,
    AttachType.SK_SKB_STREAM_VERDICT: ProgramType.SK_SKB,
    AttachType.SK_SKB_VERDICT: ProgramType.SK_SKB,
    AttachType.SK_MSG_VERDICT: ProgramType.SK_MSG,
}

# What the kernel means when it refuses to attach (sock_map_prog_update).
_REFUSALS = {
    errno.EBUSY: "the hook is taken: the map has a program there; or one of the hooks"
    " SK_SKB_STREAM_VERDICT and SK_SKB_VERDICT, which exclude each other",
    errno.EINVAL: "the program was loaded for another hook (attach_type)",
    errno.EOPNOTSUPP: "the kernel was built without what parses streams (CONFIG_BPF_STREAM_PARSER)",
}


def attach_sockmap(
    program: HasFileno, map: HasFileno, attach_type: AttachType | None = None
) -> Link:
    """Have a SK_SKB or SK_MSG program judge the data of the sockets in a map.

    SK_MSG_VERDICT programs see what a socket of the map sends, SK_SKB_STREAM_VERDICT ones what it
    receives, cut in messages by a SK_SKB_STREAM_PARSER program where there is one; SK_SKB_VERDICT
    (5.13) is for sockets that are no streams, too. A socket gets the programs that the map has when
    it is put in.

    By a link, which can be updated and pinned (6.10). On older kernels the program is attached to
    the map until it is closed, or until the map is gone.

    Args:
        map: a SOCKMAP or SOCKHASH.
        attach_type: the hook; by default what `program` was loaded for, or SK_MSG_VERDICT.

    Raises:
        ValueError: `attach_type` is needed, or no hook of these maps.
        BpfError: EBUSY, the hook is taken; EINVAL, `map` is another map, or the program of another
            type or for another hook.
        NotSupportedError: a kernel without the hook.
    """
    check_objects(program=program, map=map)
    hook = _hook(program, attach_type)
    target = f"{hook.name} of {map!r}"
    check_type(program, target, _TYPES[hook])
    _check_map(program, map, target)
    try:
        fd = create_link(
            program,
            target,
            refusals=_REFUSALS,
            needs=max(LinkType.SOCKMAP.since or (0, 0), hook.since or (0, 0)),
            target_fd=map.fileno(),
            attach_type=hook,
        )
    except NotSupportedError as error:
        if error.minimum_version != LinkType.SOCKMAP.since:
            raise
        return _attach_unlinked(program, map, hook, target)
    return Link(fd, target)


def _hook(program: HasFileno, given: AttachType | None) -> AttachType:
    hook = given if given is not None else getattr(program, "attach_type", None)
    if hook is None:
        type = ProgramType(bpf.prog_type(program.fileno(), action="attach to a map of sockets"))
        if type == ProgramType.SK_SKB:
            names = ", ".join(hook.name for hook, of in _TYPES.items() if of == type)
            raise ValueError(f"attach_type: SK_SKB programs have several hooks: {names}")
        hook = AttachType.SK_MSG_VERDICT
    if hook not in _TYPES:
        raise ValueError(f"attach_type: {AttachType(hook).name} is no hook of a map of sockets")
    return AttachType(hook)


def _check_map(program: HasFileno, map: HasFileno, target: str) -> None:
    type = MapType(bpf.obj_get_info_by_fd(map.fileno(), "map")["type"])
    if type not in (MapType.SOCKMAP, MapType.SOCKHASH):
        raise BpfError(
            errno.EINVAL,
            f"attach {program!r} to {target}: the map is a {type.name}; it takes a SOCKMAP or"
            " SOCKHASH",
        )


def _attach_unlinked(
    program: HasFileno, map: HasFileno, hook: AttachType, target: str
) -> SockmapAttachment:
    fd = duplicate(map.fileno())
    try:
        attachment = SockmapAttachment(fd, duplicate(program.fileno()), hook, target)
    except BaseException:
        os.close(fd)
        raise
    try:
        bpf.prog_attach(
            f"attach to {target}",
            hook.since,
            target_fd=map.fileno(),
            attach_bpf_fd=program.fileno(),
            attach_type=hook,
        )
    except BpfError as error:
        attachment._forget()
        explain(error, program, target, _REFUSALS)
        raise
    except BaseException:
        # Ctrl-C: the kernel may have attached it.
        attachment.close()
        raise
    return attachment


class SockmapAttachment(Link):
    """A program that was attached to a map without a link: what kernels before 6.10 have.

    The kernel lets another program take its place.
    """

    def __init__(self, fd: int, program_fd: int, attach_type: AttachType, target: str) -> None:
        super().__init__(fd, target)
        self._program = Descriptor(program_fd)
        self.attach_type = attach_type
        self._pid = os.getpid()

    def info(self) -> LinkInfo:
        """Not to be had: the kernel keeps no link."""
        raise self._not_a_link("describe")

    def update(self, program: HasFileno, *, expected: HasFileno | None = None) -> None:
        """Not to be had: attach the other program, which takes the place of this."""
        raise self._not_a_link("update")

    def detach(self) -> None:
        """Detach by closing."""
        self.close()

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Not to be had: the kernel keeps no link."""
        raise self._not_a_link("pin")

    def close(self) -> None:
        """Detach, if the program is still the one that is attached. Closing twice does nothing."""
        if self._fd < 0:
            return
        try:
            # What a parent attached is not a forked child's to detach.
            if self._pid == os.getpid():
                self._detach()
        finally:
            self._forget()

    def _detach(self) -> None:
        try:
            bpf.prog_detach(
                f"detach from {self.target}",
                target_fd=self._fd,
                attach_bpf_fd=self._program.fileno(),
                attach_type=self.attach_type,
            )
        except BpfError as error:
            # Another program has taken its place.
            if error.errno != errno.ENOENT:
                raise

    def _forget(self) -> None:
        super().close()
        self._program.close()

    def _not_a_link(self, action: str) -> NotSupportedError:
        return NotSupportedError(f"{action} {self!r}: BPF links for maps of sockets", (6, 10))
