"""A network with a router: packets of `near` that `far` sends on."""

from __future__ import annotations

import socket
from pathlib import Path

from ebpf import Interface
from tests.kernel.net.network import Network

BEYOND = "10.99.0.2"


class Forwarding(Network):
    """What `near` sends to BEYOND goes to `far`, whose route sends it to `near`, which drops it.

    The route there has a metric: another one comes before it.
    """

    def __init__(self) -> None:
        super().__init__()
        try:
            self._route()
        except BaseException:
            self.close()
            raise

    def _route(self) -> None:
        forward = Path("/proc/sys/net/ipv4/ip_forward")
        # A new namespace may have what the machine has.
        self.near.inside(lambda: forward.write_text("0"))
        self.far.inside(lambda: forward.write_text("1"))
        # For a redirect to `near` the kernel looks for a way of its own to BEYOND, after which it
        # discards what comes in by a route with an LWT_IN program (docs/networking.md).
        self.far.inside(self._no_redirects)
        self.near.run("route", "add", BEYOND, "via", self.far_address)
        self.far.run("route", "add", BEYOND, "via", self.near_address, "metric", "100")

    @staticmethod
    def _no_redirects() -> None:
        for name in ("all", "far0"):
            Path(f"/proc/sys/net/ipv4/conf/{name}/send_redirects").write_text("0")

    @property
    def interface(self) -> Interface:
        """Where packets come to be sent on, and leave."""
        return Interface("far0", netns=self.far)

    def send_on(self, text: bytes = b"hello") -> None:
        """One datagram to BEYOND that `far` has sent on."""

        def sent_on(frame: bytes) -> bool:
            return frame[30:34] == socket.inet_aton(BEYOND)

        with self.watching() as watching, self.sender() as sender:
            sender.sendto(text, (BEYOND, 7777))
            assert self.first_back(watching, sent_on).endswith(text)
