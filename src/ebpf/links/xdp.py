"""XDP: programs that see a frame before the network stack does."""

from __future__ import annotations

import errno

from ebpf._sys import bpf
from ebpf.errors import BpfError, NotSupportedError, from_errno
from ebpf.links.create import check_type
from ebpf.links.device import InterfaceLink, create_interface_link
from ebpf.net import Interface
from ebpf.types import AttachType, ProgramType, XdpMode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ebpf.links.base import HasFileno, Link
    from ebpf.net.interface import AnyInterface

# XDP_FLAGS_* of <linux/if_link.h> that say where the program runs.
MODE_FLAGS = {XdpMode.GENERIC: 1 << 1, XdpMode.DRIVER: 1 << 2, XdpMode.OFFLOAD: 1 << 3}

# What the kernel means when it refuses (dev_xdp_attach of net/core/dev.c).
REFUSALS = {
    errno.EBUSY: "a program is attached there already; `ebpf.query` tells which",
    errno.EEXIST: "a program is attached there already in another mode, or to an interface of"
    " which this one is a part",
    errno.ERANGE: "the interface's MTU is too large for the driver; lower it, or load the program"
    " with ProgramFlags.XDP_HAS_FRAGS",
}


_OF_MAPS = (AttachType.XDP_DEVMAP, AttachType.XDP_CPUMAP)

# What drivers say that have XDP, but not with this program, or as the interface is set up.
_DRIVER_REFUSALS = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSPC, errno.ENOMEM)


def attach_xdp(program: HasFileno, interface: AnyInterface, *, mode: XdpMode | None = None) -> Link:
    """Run an XDP program for each frame that an interface receives.

    It returns an `XdpAction`: the frame is dropped, passed on, sent back, or redirected. Programs
    with the attach type XDP_DEVMAP or XDP_CPUMAP are attached by being in the value of a map.

    Args:
        interface: a name or index where the calling thread is, or an `Interface`.
        mode: DRIVER, GENERIC or OFFLOAD; by default in the driver where that has XDP at all, even
            if it refuses this program, and generic elsewhere.

    Raises:
        BpfFileNotFoundError: ENODEV, there is no such interface.
        BpfError: EBUSY, a program is attached there already; EINVAL, the program is of another
            type, or was loaded for a map or another device; ERANGE, frames may be longer than the
            driver takes for a program without XDP_HAS_FRAGS; EINVAL, ENOSPC, ENOMEM, the driver
            takes none as the interface is set up (queues, MTU, offloads).
        BpfFileExistsError: a program is attached in another mode.
        NotSupportedError: the driver has no XDP in this mode.
    """
    found = Interface.of(interface)
    flags = mode_flags(mode)
    target = target_of(found, mode)
    check_type(program, target, ProgramType.XDP)
    try:
        fd = create_interface_link(
            program,
            found,
            target,
            refusals=REFUSALS,
            needs=(5, 9),
            attach_type=AttachType.XDP,
            flags=flags,
        )
    except NotSupportedError as error:
        if error.minimum_version is None and mode is None:
            _explain_driver(error, program, found, mode)
        raise no_such_mode(error, found, mode) from None
    except BpfError as error:
        _explain_driver(error, program, found, mode)
        raise
    return InterfaceLink(fd, target)


def _explain_driver(
    error: BpfError, program: HasFileno, interface: Interface, mode: XdpMode | None
) -> None:
    """Raise what a refusal means that is the program's fault, or may be the driver's."""
    code = error.errno or 0
    if code not in _DRIVER_REFUSALS:
        return
    action = f"attach {program!r} to {target_of(interface, mode)}"
    if code == errno.EINVAL:
        device = bpf.prog_info(program.fileno())["ifindex"]
        if getattr(program, "attach_type", None) in _OF_MAPS:
            action += ": it was loaded for a map (XDP_DEVMAP, XDP_CPUMAP)"
            raise BpfError(code, action) from None
        if device != (interface.index if mode == XdpMode.OFFLOAD else 0):
            raise BpfError(code, f"{action}: it was loaded for another device, or none") from None
    raise from_errno(
        code,
        f"{action}: the driver of {interface.name} refused it, as the interface is set up (queues,"
        " MTU, offloads): `attach_xdp_netlink` fails with its own words; mode=XdpMode.GENERIC works"
        " with every driver",
    ) from None


def mode_flags(mode: XdpMode | None) -> int:
    """The flag for `mode`; 0 for the kernel's choice."""
    if mode is None:
        return 0
    if mode not in MODE_FLAGS:
        raise ValueError(f"mode: {mode!r} is not XdpMode.DRIVER, GENERIC or OFFLOAD")
    return MODE_FLAGS[XdpMode(mode)]


def target_of(interface: Interface, mode: XdpMode | None) -> str:
    """ "xdp of eth0, generic"."""
    return f"xdp of {interface}" + ("" if mode is None else f", {XdpMode(mode).name.lower()}")


def no_such_mode(
    error: NotSupportedError, interface: Interface, mode: XdpMode | None
) -> NotSupportedError:
    """The error for what a driver cannot do, where it is not the kernel that is too old."""
    if error.minimum_version is not None or mode not in (XdpMode.DRIVER, XdpMode.OFFLOAD):
        return error
    return NotSupportedError(
        f"attach to {target_of(interface, mode)}: the driver of {interface.name} has no XDP in"
        f" this mode; mode=XdpMode.GENERIC works with every driver",
        errno=error.errno or errno.EOPNOTSUPP,
    )
