"""The attach_ methods of a program, and the links that it owns."""

from __future__ import annotations

from ebpf import links
from ebpf._sys import Descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    from ebpf.links import Link
    from ebpf.spec import ProgramSpec

    L = TypeVar("L", bound=Link)


class Attaching(Descriptor):
    """A loaded program, as far as it can be attached."""

    spec: ProgramSpec | None

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        self._links: set[Link] = set()

    def attach(self) -> Link:
        """Attach the program as its section in the object file says; see `ebpf.links.section`.

        Raises:
            EbpfError: the section names no target, or nothing that can be attached by name.
        """
        if self.spec is None:
            raise TypeError(f"attach: {self!r} is not from an object file; call an attach_ method")
        return self._own(links.attach_by_section(self, self.spec.attach, self.spec.target))

    def attach_tracepoint(self, category: str, name: str, *, cookie: int = 0) -> Link:
        """Run the program at a tracepoint; see `ebpf.links.attach_tracepoint`."""
        return self._own(links.attach_tracepoint(self, category, name, cookie=cookie))

    def attach_raw_tracepoint(self, name: str, *, cookie: int = 0) -> Link:
        """Run the program at a raw tracepoint; see `ebpf.links.attach_raw_tracepoint`."""
        return self._own(links.attach_raw_tracepoint(self, name, cookie=cookie))

    def attach_kprobe(
        self, symbol: str | None = None, *, offset: int = 0, address: int = 0, cookie: int = 0
    ) -> Link:
        """Run the program when a kernel function is entered; see `ebpf.links.attach_kprobe`."""
        return self._own(
            links.attach_kprobe(self, symbol, offset=offset, address=address, cookie=cookie)
        )

    def attach_kretprobe(
        self, symbol: str | None = None, *, address: int = 0, cookie: int = 0
    ) -> Link:
        """Run the program when a kernel function returns; see `ebpf.links.attach_kretprobe`."""
        return self._own(links.attach_kretprobe(self, symbol, address=address, cookie=cookie))

    def _own(self, link: L) -> L:
        # One at a time, so that threads which attach at once do not lose each other's link.
        for other in tuple(self._links):
            if other.closed:
                self._links.discard(other)
        self._links.add(link)
        return link

    def close(self) -> None:
        """Close the program's links, which detaches those that are not pinned, and the program."""
        owned, self._links = self._links, set()
        for link in owned:
            link.close()
        super().close()

    def __del__(self) -> None:
        # Whoever still holds a link keeps it: only `close` detaches.
        self._links = set()
        super().__del__()
