"""What netfilter has at its hooks (5.14, uapi ``<linux/netfilter/nfnetlink_hook.h>``)."""

from __future__ import annotations

import errno
import struct

from ebpf.errors import BpfError, NotSupportedError
from ebpf.net.netlink import Netlink, attributes, parse
from ebpf.plain import NamedTuple
from ebpf.types import NetfilterHook

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal, TypeAlias

    from ebpf.net.namespace import Namespace

    Family: TypeAlias = Literal["ipv4", "ipv6"]

# NFPROTO_*, which are AF_INET and AF_INET6.
FAMILIES: dict[Family, int] = {"ipv4": 2, "ipv6": 10}

_NETLINK_NETFILTER = 12
# NFNL_SUBSYS_HOOK in the upper byte, NFNL_MSG_HOOK_GET in the lower.
_HOOK_GET = 12 << 8
# NFNLA_HOOK_*, NFNLA_HOOK_INFO_*, and what is in the description of a BPF program (6.4).
_HOOKNUM, _PRIORITY, _CHAIN_INFO = 1, 2, 6
_INFO_DESC, _INFO_TYPE = 1, 2
_TYPE_BPF, _BPF_ID = 2, 1

# struct nfgenmsg: family, version, resource. Numbers of attributes are in network byte order.
_GENERAL = struct.Struct("=BBH")
_NUMBER, _SIGNED = struct.Struct(">I"), struct.Struct(">i")


class BpfFunction(NamedTuple):
    """A program at a hook of netfilter."""

    program_id: int
    family: Family
    hook: NetfilterHook
    priority: int


def bpf_functions(netns: Namespace, action: str) -> list[BpfFunction] | None:
    """The programs at the hooks of `netns`, of each hook in the order in which they run.

    None where the kernel does not tell them: before 5.14, or without
    CONFIG_NETFILTER_NETLINK_HOOK.

    Raises:
        BpfPermissionError: the namespace cannot be entered, or asking takes CAP_NET_ADMIN there.
    """
    try:
        with Netlink(netns, _NETLINK_NETFILTER) as netlink:
            return [
                function
                for family in FAMILIES
                for hook in NetfilterHook
                for function in _at(netlink, family, hook, action)
            ]
    except NotSupportedError:
        return None
    except BpfError as error:
        # What is asked for a part of netfilter that is not there.
        if error.errno != errno.EINVAL:
            raise
        return None


def _at(netlink: Netlink, family: Family, hook: NetfilterHook, action: str) -> list[BpfFunction]:
    body = _GENERAL.pack(FAMILIES[family], 0, 0) + attributes({_HOOKNUM: _NUMBER.pack(hook)})
    found = []
    for row in netlink.dump(_HOOK_GET, body, action):
        told = parse(row[_GENERAL.size :])
        chain = parse(told.get(_CHAIN_INFO, b""))
        if _unsigned(chain.get(_INFO_TYPE)) != _TYPE_BPF:
            continue
        program_id = _unsigned(parse(chain.get(_INFO_DESC, b"")).get(_BPF_ID))
        (priority,) = _SIGNED.unpack(told[_PRIORITY])
        found.append(BpfFunction(program_id, family, hook, priority))
    return found


def _unsigned(data: bytes | None) -> int:
    return int(_NUMBER.unpack(data)[0]) if data else 0
