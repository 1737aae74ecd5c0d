"""What the kernel tells of interfaces and takes for them over rtnetlink (``<linux/rtnetlink.h>``).

Every function takes the socket of the namespace that it is about.
"""

from __future__ import annotations

import errno
import struct
import sys

from ebpf.errors import BpfError
from ebpf.net.netlink import Netlink, attributes, number, parse
from ebpf.plain import NamedTuple
from ebpf.types import XdpMode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ebpf.net.netlink import Attributes

# Messages.
_GETLINK, _SETLINK = 18, 19
_DELQDISC, _GETQDISC = 37, 38
_GETTCLASS = 42
_DELTFILTER, _GETTFILTER = 45, 46

# struct ifinfomsg: family, padding, type, index, flags, change.
_LINK = struct.Struct("=BxHiII")
# struct tcmsg: family, padding, interface, handle, parent, info.
_TC = struct.Struct("=BxxxiIII")
_U32 = struct.Struct("=I")
_I32 = struct.Struct("=i")

# Attributes of an interface, and those in IFLA_XDP.
_IFLA_XDP = 43
_XDP_FD, _XDP_ATTACHED, _XDP_FLAGS, _XDP_PROG_ID, _XDP_EXPECTED_FD = 1, 2, 3, 4, 8
_XDP_PROG_IDS = {5: XdpMode.DRIVER, 6: XdpMode.GENERIC, 7: XdpMode.OFFLOAD}

# Attributes of a qdisc or filter, and those in the options of a BPF filter.
_TCA_KIND, _TCA_OPTIONS, _TCA_CHAIN = 1, 2, 11
_BPF_NAME, _BPF_FLAGS, _BPF_ID = 7, 8, 11
_BPF_DIRECT_ACTION = 1

# Parents of filters on the clsact qdisc; that of the clsact or ingress qdisc, and its own number.
CLSACT = {"ingress": 0xFFFFFFF2, "egress": 0xFFFFFFF3}
_INGRESS_PARENT = 0xFFFFFFF1
_INGRESS_HANDLE = 0xFFFF0000
# The parent of the qdisc by which an interface sends.
_ROOT = 0xFFFFFFFF


class XdpAttached(NamedTuple):
    """A program that is attached to an interface as XDP."""

    mode: XdpMode
    program_id: int


def xdp_attached(netlink: Netlink, index: int, name: str) -> list[XdpAttached]:
    """What is attached to the interface `index`: one program, or one for each mode."""
    body = _LINK.pack(0, 0, index, 0, 0)
    answer = netlink.request(_GETLINK, body, f"ask what XDP {name} has")
    xdp = parse(parse(answer[_LINK.size :]).get(_IFLA_XDP, b""))
    mode = XdpMode(number(xdp.get(_XDP_ATTACHED)))
    if mode == XdpMode.MULTI:
        return [
            XdpAttached(mode, number(xdp[key])) for key, mode in _XDP_PROG_IDS.items() if key in xdp
        ]
    return [] if mode == XdpMode.NONE else [XdpAttached(mode, number(xdp.get(_XDP_PROG_ID)))]


def set_xdp(
    netlink: Netlink, index: int, fd: int, flags: int, action: str, expected: int | None = None
) -> None:
    """Attach the program `fd` as XDP, -1 for none, where `expected` is attached (5.7)."""
    xdp: Attributes = {_XDP_FD: _I32.pack(fd), _XDP_FLAGS: _U32.pack(flags)}
    if expected is not None:
        xdp[_XDP_EXPECTED_FD] = _I32.pack(expected)
    body = _LINK.pack(0, 0, index, 0, 0) + attributes({_IFLA_XDP: xdp})
    netlink.request(_SETLINK, body, action)


class BpfFilter(NamedTuple):
    """A BPF filter of an interface.

    `parent` is "ingress" or "egress" of the `qdisc` clsact or ingress; of another one the number
    by which tc knows it or its class, "1:" or "1:10".
    """

    qdisc: str
    parent: str
    program_id: int
    name: str
    protocol: int
    priority: int
    handle: int
    chain: int
    direct_action: bool


def bpf_filters(netlink: Netlink, index: int, name: str) -> list[BpfFilter]:
    """The BPF filters on the clsact or ingress qdisc of the interface `index`, in their order."""
    kind = ingress_qdisc(netlink, index, name)
    if kind == "clsact":
        return [
            row
            for at, parent in CLSACT.items()
            for row in _filters(netlink, index, name, kind, at, parent)
        ]
    return _filters(netlink, index, name, kind, "ingress", _INGRESS_HANDLE) if kind else []


def other_filters(netlink: Netlink, index: int, name: str) -> list[BpfFilter]:
    """The BPF filters on all other qdiscs of the interface `index`, and on their classes."""
    asked = _TC.pack(0, index, 0, 0, 0)
    rows = netlink.dump(_GETQDISC, asked, f"list the qdiscs of {name}")
    rows += netlink.dump(_GETTCLASS, asked, f"list the classes of {name}")
    found = []
    for row in rows:
        _, at, handle, parent, _ = _TC.unpack_from(row)
        # One that has no number can be asked only where it is the root, which 0 stands for.
        if at == index and parent != _INGRESS_PARENT and (handle or parent == _ROOT):
            found += _filters(netlink, index, name, _kind(row), _shown(handle), handle)
    return found


def ingress_qdisc(netlink: Netlink, index: int, name: str) -> str:
    """The kind of the one qdisc that an interface may have at ingress; "" for none."""
    rows = netlink.dump(_GETQDISC, _TC.pack(0, index, 0, 0, 0), f"list the qdiscs of {name}")
    for row in rows:
        _, at, _, parent, _ = _TC.unpack_from(row)
        if at == index and parent == _INGRESS_PARENT:
            return _kind(row)
    return ""


def _kind(row: bytes) -> str:
    """The kind of a qdisc, or of the qdisc of a class."""
    return parse(row[_TC.size :])[_TCA_KIND].rstrip(b"\0").decode("ascii", "replace")


def _shown(handle: int) -> str:
    """The number of a qdisc or class as tc writes it."""
    minor = handle & 0xFFFF
    return f"{handle >> 16:x}:{minor:x}" if minor else f"{handle >> 16:x}:"


def _filters(
    netlink: Netlink, index: int, name: str, qdisc: str, at: str, parent: int
) -> list[BpfFilter]:
    body = _TC.pack(0, index, 0, parent, 0)
    try:
        rows = netlink.dump(_GETTFILTER, body, f"list the filters at {at} of {name}")
    except BpfError as error:
        # The qdisc went since it was listed.
        if error.errno not in (errno.EINVAL, errno.ENOENT):
            raise
        return []
    return [found for row in rows if (found := _bpf_filter(row, qdisc, at)) is not None]


def _bpf_filter(row: bytes, qdisc: str, at: str) -> BpfFilter | None:
    _, _, handle, _, info = _TC.unpack_from(row)
    given = parse(row[_TC.size :])
    options = parse(given.get(_TCA_OPTIONS, b""))
    # A row without a program is one of another kind, or stands for a whole priority.
    if given.get(_TCA_KIND, b"").rstrip(b"\0") != b"bpf" or _BPF_ID not in options:
        return None
    return BpfFilter(
        qdisc=qdisc,
        parent=at,
        program_id=number(options[_BPF_ID]),
        name=options.get(_BPF_NAME, b"").rstrip(b"\0").decode("utf-8", "replace"),
        # The protocol is in network order.
        protocol=_network_order(info & 0xFFFF),
        priority=info >> 16,
        handle=handle,
        chain=number(given.get(_TCA_CHAIN)),
        direct_action=bool(number(options.get(_BPF_FLAGS)) & _BPF_DIRECT_ACTION),
    )


def remove_filter(netlink: Netlink, index: int, row: BpfFilter, action: str) -> None:
    """Remove a filter of a clsact qdisc; one that is gone is no error."""
    info = row.priority << 16 | _network_order(row.protocol)
    body = _TC.pack(0, index, row.handle, CLSACT[row.parent], info)
    body += attributes({_TCA_KIND: b"bpf\0", _TCA_CHAIN: _U32.pack(row.chain)})
    try:
        netlink.request(_DELTFILTER, body, action)
    except BpfError as error:
        # The filter, its qdisc or the interface.
        if error.errno not in (errno.ENOENT, errno.EINVAL, errno.ENODEV):
            raise


def remove_clsact(netlink: Netlink, index: int, name: str) -> bool:
    """Remove the clsact qdisc of an interface, if it has one and that has no filters at all."""
    if ingress_qdisc(netlink, index, name) != "clsact":
        return False
    action = f"list the filters of {name}"
    body = _TC.pack(0, index, _INGRESS_HANDLE, _INGRESS_PARENT, 0)
    body += attributes({_TCA_KIND: b"clsact\0"})
    try:
        for parent in CLSACT.values():
            if netlink.dump(_GETTFILTER, _TC.pack(0, index, 0, parent, 0), action):
                return False
        netlink.request(_DELQDISC, body, f"remove the clsact qdisc of {name}")
    except BpfError as error:
        # Somebody is adding a filter, or has removed the qdisc or the interface.
        if error.errno not in (errno.EBUSY, errno.EINVAL, errno.ENOENT, errno.ENODEV):
            raise
        return False
    return True


def _network_order(protocol: int) -> int:
    return int.from_bytes(protocol.to_bytes(2, "big"), sys.byteorder)
