"""Network interfaces, the namespaces that they are in, and what goes over them.

interface   Interface: by name or by index
namespace   doing something in another network namespace
netlink     the kernel's messages; rtnetlink: about XDP and filters; nfnetlink: about netfilter
xsk         XskSocket: frames to and from Python (AF_XDP)
"""

from __future__ import annotations

from ebpf.net.interface import Interface

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ebpf.net.xsk import XskSocket, XskStatistics

__all__ = ["Interface", "XskSocket", "XskStatistics"]


def __getattr__(name: str) -> object:
    if name not in ("XskSocket", "XskStatistics"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ebpf.net import xsk

    return getattr(xsk, name)
