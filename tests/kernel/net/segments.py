"""A network with segment routing: packets that go by a segment of `far` and come back."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path

from ebpf import Interface
from tests.kernel.net.network import Namespace, Network

SEGMENT = "fd99::1/128"
FINAL = "fd88::2"


class Segments(Network):
    """What `near` sends to FINAL goes to SEGMENT at `far`, and is sent from there to `near`."""

    near_v6, far_v6 = "fd77::1", "fd77::2"

    def __init__(self) -> None:
        super().__init__()
        try:
            self._route()
        except BaseException:
            self.close()
            raise

    def _route(self) -> None:
        self._enable(self.near, "near0", self.near_v6, self.far_v6, self.far_hardware)
        self._enable(self.far, "far0", self.far_v6, self.near_v6, self.near_hardware)
        forwarding = Path("/proc/sys/net/ipv6/conf/all/forwarding")
        self.far.inside(lambda: forwarding.write_text("1"))
        self.far.run("route", "add", f"{FINAL}/128", "via", self.near_v6)
        self.near.run("route", "add", SEGMENT, "via", self.far_v6)
        by_segment = ("encap", "seg6", "mode", "inline", "segs", SEGMENT.partition("/")[0])
        out = ("via", self.far_v6, "dev", "near0")
        self.near.run("route", "add", f"{FINAL}/128", *by_segment, *out)

    @staticmethod
    def _enable(here: Namespace, name: str, own: str, other: str, hardware: str) -> None:
        disable = Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6")
        here.inside(lambda: disable.write_text("0"))
        here.run("address", "add", f"{own}/64", "dev", name, "nodad")
        here.run("neigh", "replace", other, "lladdr", hardware, "dev", name)

    @property
    def interface(self) -> Interface:
        """Of the segment."""
        return Interface("far0", netns=self.far)

    def send_by_segment(self, text: bytes) -> None:
        with self.near.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
            sender.sendto(text, (FINAL, 7777))

    @staticmethod
    def from_segment(frame: bytes) -> bool:
        """Whether this is a datagram to FINAL as the segment sends it."""
        final = ipaddress.ip_address(FINAL).packed
        return frame[20] == socket.IPPROTO_ROUTING and frame[38:54] == final
