"""Programs of a cgroup, which is named by its directory or by a descriptor of it."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager

from ebpf._sys import Descriptor, bpf, facts
from ebpf._sys.arguments import check_objects
from ebpf.errors import BpfError, BpfPermissionError, NotSupportedError, from_errno
from ebpf.links.base import Link
from ebpf.links.cgroup_attachment import LOCK, CgroupAttachment
from ebpf.links.cgroup_hooks import CGROUP_HOOKS
from ebpf.links.create import check_type, create_link, explain
from ebpf.links.lock import alone
from ebpf.links.order import order_fields
from ebpf.queries.hooks import query_hook
from ebpf.types import AttachFlags, AttachType, ProgramType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Literal, TypeAlias

    from ebpf.links.base import HasFileno

    Cgroup: TypeAlias = str | os.PathLike[str] | HasFileno
    Mode: TypeAlias = Literal["single", "override", "multi"]

# The flags of PROG_ATTACH for who else may attach.
_MODES = {
    "single": AttachFlags(0),
    "override": AttachFlags.ALLOW_OVERRIDE,
    "multi": AttachFlags.ALLOW_MULTI,
}

# Anchors and revisions of cgroup programs.
_ORDER_SINCE = (6, 17)

# PROG_ATTACH takes PREORDER before links do.
_PREORDER_SINCE = (6, 15)

# What the kernel means when it refuses to attach (cgroup_bpf_attach).
_REFUSALS = {
    errno.EINVAL: "it was loaded for another hook (attach_type), is attached there in the same"
    " mode already, or is to go next to a link without being one, or the other way round",
    errno.E2BIG: "as many programs as the kernel takes (64) are attached there already",
    errno.ESTALE: "the hook was changed since: its revision is not expected_revision",
    errno.ENOENT: "what it is to go before or after, or replace, is not attached there, or the"
    " cgroup was removed",
    errno.ENODEV: "the cgroup was removed",
}


class OpenCgroup(Descriptor):
    """A descriptor of a cgroup's directory, and the name that the caller gave."""

    def __init__(self, fd: int, name: str) -> None:
        super().__init__(fd)
        self.name = name


@contextmanager
def open_cgroup(cgroup: Cgroup) -> Iterator[OpenCgroup]:
    """The directory, for as long as it takes to attach to it.

    Raises:
        BpfFileNotFoundError, BpfPermissionError, BpfError: it cannot be opened.
    """
    with _opened(cgroup) as opened:
        yield opened


def _opened(cgroup: Cgroup) -> OpenCgroup:
    if not isinstance(cgroup, (str, os.PathLike)):
        check_objects(cgroup=cgroup)
        return OpenCgroup(os.dup(cgroup.fileno()), repr(cgroup))
    name = os.fspath(cgroup)
    try:
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise from_errno(error.errno or 0, f"open the cgroup {name}") from None
    return OpenCgroup(fd, name)


def attach_cgroup(
    program: HasFileno,
    cgroup: Cgroup,
    attach_type: AttachType | None = None,
    *,
    mode: Mode | None = None,
    replace: HasFileno | None = None,
    before: HasFileno | None = None,
    after: HasFileno | None = None,
    first: bool = False,
    preorder: bool = False,
    expected_revision: int = 0,
) -> Link:
    """Run a program for what the processes of a cgroup and of those below it do.

    By a link (5.7), which lets other programs in beside it. With a `mode` it is attached without
    one (BPF_PROG_ATTACH), and who else may attach is what the mode says. That attachment ends when
    it is closed, when the process ends by itself, and when the cgroup is removed; what a process
    leaves that SIGKILL or SIGTERM ended, `ebpf.links.cleanup` detaches.

    Args:
        cgroup: a directory of the cgroup v2 file system, or an object with its descriptor.
        attach_type: the hook, such as CGROUP_INET_EGRESS; by default what `program` was loaded
            for, or the only one that programs of its type have.
        mode: "single", no program may be attached in cgroups below; "override", one may, and runs
            there instead; "multi", all run, first those of the lowest cgroup.
        replace: the program to put this one in the place of, with mode "multi" (5.6).
        before, after: what to run next to, of the same hook and cgroup (6.17): a link, or with
            mode "multi" a program that was attached in this mode.
        first: run before what is attached there now (6.17).
        preorder: run before the programs of cgroups below, not after (links 6.17, modes 6.15).
        expected_revision: attach only where the hook was not changed since this revision of
            `ebpf.query` (6.17).

    Raises:
        BpfFileNotFoundError: no such directory; or what to go next to is not attached there.
        BpfPermissionError: the hook is taken by a program that lets no other in, which the message
            names; or the rights are missing.
        BpfError: EBADF, the directory is no cgroup v2; ESTALE, the revision is another; EINVAL,
            the program is of another type or for another hook, or attached there already, or a
            link is to go next to a program; E2BIG, there are 64 programs.
        NotSupportedError: a kernel without the hook, or without what is asked for.
    """
    order = order_fields(before, after, first, expected_revision)
    needs = _ORDER_SINCE if any(order.values()) else None
    if preorder:
        order["flags"] |= int(AttachFlags.PREORDER)
        needs = needs or (_ORDER_SINCE if mode is None else _PREORDER_SINCE)
    with open_cgroup(cgroup) as opened:
        hook = _hook(program, opened.name, attach_type)
        target = f"{hook.name} of {opened.name}"
        check_type(program, target, CGROUP_HOOKS[hook])
        needs = max(needs or (0, 0), hook.since or (0, 0))
        if expected_revision:
            _check_revisions(opened, hook, target)
        if mode is not None:
            fields = _mode_fields(mode, replace, order)
            try:
                return _attach_unlinked(program, opened, hook, target, fields, needs)
            except BpfError as error:
                _explain_unlinked(error, program, opened, hook, mode)
                raise
        if replace is not None:
            raise TypeError(
                'replace: of mode "multi"; the program of a link is replaced by update()'
            )
        try:
            fd = create_link(
                program,
                target,
                "cgroup",
                refusals=_REFUSALS | {errno.EBADF: _not_a_cgroup(opened)},
                needs=needs,
                target_fd=opened.fileno(),
                attach_type=hook,
                **order,
            )
        except BpfPermissionError:
            _check_holders(program, opened, hook, target)
            raise
        return Link(fd, target)


def _hook(program: HasFileno, cgroup: str, given: AttachType | None) -> AttachType:
    """The hook that was given, or that the program was loaded for, or that is its type's only."""
    check_objects(program=program)
    hook = given if given is not None else getattr(program, "attach_type", None)
    if hook is None:
        fd = program.fileno()
        type = ProgramType(bpf.prog_type(fd, action=f"attach to the cgroup {cgroup}"))
        there = [hook for hook, of in CGROUP_HOOKS.items() if of == type]
        if len(there) > 1:
            names = ", ".join(hook.name for hook in there)
            raise ValueError(f"attach_type: {type.name} programs have several hooks: {names}")
        if not there:
            raise BpfError(
                errno.EINVAL,
                f"attach {program!r} to the cgroup {cgroup}: {type.name} programs are not attached"
                " to cgroups by attach_cgroup",
            )
        hook = there[0]
    if hook not in CGROUP_HOOKS:
        remedy = "; attach_lsm_cgroup attaches it" if hook == AttachType.LSM_CGROUP else ""
        raise ValueError(f"attach_type: {AttachType(hook).name} is no hook of a cgroup{remedy}")
    return AttachType(hook)


def _check_revisions(opened: OpenCgroup, hook: AttachType, target: str) -> None:
    """Refuse a revision where there are none: older kernels do not look at the field."""
    try:
        found = query_hook(opened.fileno(), hook, f"query {target}")
    except BpfError as error:
        if error.errno == errno.EBADF:
            what = f"attach to {target}: {_not_a_cgroup(opened)}"
            raise BpfError(errno.EBADF, what) from None
        raise
    if not found.revision:
        raise NotSupportedError(f"attach to {target}: expected_revision", _ORDER_SINCE)


def _not_a_cgroup(opened: OpenCgroup) -> str:
    return f"{opened.name} is no cgroup v2 directory"


def _check_holders(
    program: HasFileno, opened: OpenCgroup, hook: AttachType, target: str, mode: str = "multi"
) -> None:
    """Raise where programs are attached that let this one not in, in the cgroup or above it.

    The kernel answers EPERM, as it does where rights are missing.
    """
    try:
        path = os.readlink(f"/proc/self/fd/{opened.fileno()}")
    except OSError:
        # Without /proc it cannot be told.
        return
    here = True
    while os.path.exists(os.path.join(path, "cgroup.procs")):
        try:
            with open_cgroup(path) as cgroup:
                found = query_hook(cgroup.fileno(), hook, f"query {path}")
        except BpfPermissionError:
            # Rights are missing: the first refusal says so.
            return
        if found.programs and _excludes(found.flags, _MODES[mode], here):
            names = ", ".join(map(str, found.program_ids))
            raise BpfPermissionError(
                errno.EPERM,
                f"attach {program!r} to {target}: the hook is taken by the program with id {names},"
                f" attached to {path} in the mode {_mode_name(found.flags)!r}",
            )
        path, here = os.path.dirname(path), False


def _excludes(there: AttachFlags, wanted: AttachFlags, here: bool) -> bool:
    """Whether programs attached with the flags `there` keep out one that wants `wanted`."""
    if here:
        return bool((there ^ wanted) & (AttachFlags.ALLOW_OVERRIDE | AttachFlags.ALLOW_MULTI))
    return not there & (AttachFlags.ALLOW_OVERRIDE | AttachFlags.ALLOW_MULTI)


def _mode_name(flags: AttachFlags) -> str:
    both = AttachFlags.ALLOW_OVERRIDE | AttachFlags.ALLOW_MULTI
    return next(name for name, mode in _MODES.items() if mode == flags & both)


def _mode_fields(mode: Mode, replace: HasFileno | None, order: dict[str, Any]) -> dict[str, Any]:
    """The fields of PROG_ATTACH that say who else may attach, and which place it is to have."""
    if mode not in _MODES:
        raise ValueError(f"mode: {mode!r} is not {', '.join(map(repr, _MODES))} or None")
    if mode != "multi" and (replace is not None or any(order.values())):
        raise TypeError(f'mode: {mode!r} has one program; an order, or replace, is of "multi"')
    check_objects(replace=replace)
    fields = {**order, "attach_flags": int(_MODES[mode]) | order["flags"]}
    del fields["flags"]
    if replace is not None:
        fields["attach_flags"] |= int(AttachFlags.REPLACE)
        fields["replace_bpf_fd"] = _replaced(replace)
    return fields


def _replaced(replace: HasFileno) -> int:
    """The program that is to be replaced, by itself or by what attached it in this mode."""
    fd, is_link = replace._anchor() if isinstance(replace, Link) else (replace.fileno(), False)
    if is_link:
        raise TypeError(f"replace: {replace!r} is a link, whose program update() replaces")
    return fd


def _attach_unlinked(
    program: HasFileno,
    opened: OpenCgroup,
    hook: AttachType,
    target: str,
    fields: dict[str, Any],
    needs: tuple[int, int],
) -> CgroupAttachment:
    # What can fail comes before the attachment, which nobody would end.
    with alone(LOCK):
        attachment = CgroupAttachment(opened.fileno(), program, hook, target)
        try:
            bpf.prog_attach(
                f"attach to {target}",
                needs,
                target_fd=opened.fileno(),
                attach_bpf_fd=program.fileno(),
                attach_type=hook,
                **fields,
            )
        except BpfError:
            attachment._forget()
            raise
        except BaseException:
            # Ctrl-C: the kernel may have attached it.
            attachment._end()
            raise
    return attachment


def _explain_unlinked(
    error: BpfError, program: HasFileno, opened: OpenCgroup, hook: AttachType, mode: Mode
) -> None:
    """Raise what the refusal means, where that is known."""
    target = f"{hook.name} of {opened.name}"
    if isinstance(error, BpfPermissionError):
        _check_holders(program, opened, hook, target, mode)
    held = facts.effective_capabilities()
    if error.errno == errno.EINVAL and held is not None and "CAP_NET_ADMIN" not in held:
        # The kernel says EINVAL of packet programs whose owner lacks the right to attach them.
        text = f"attach to {target}: {facts.explain_permission('CAP_NET_ADMIN')}"
        raise BpfPermissionError(errno.EPERM, text) from None
    explain(error, program, target, _REFUSALS | {errno.EBADF: _not_a_cgroup(opened)})
