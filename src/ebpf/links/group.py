"""Several links that were made by one call and end together."""

from __future__ import annotations

from ebpf._sys.closing import close_all
from ebpf.errors import ClosedError
from ebpf.links.base import Link

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import NoReturn, TypeVar

    from typing_extensions import Self

    from ebpf.info import LinkInfo
    from ebpf.links.base import HasFileno

    T = TypeVar("T")


class LinkGroup(Link):
    """One attachment that the kernel keeps as several: an event on each CPU, a probe at each place.

    `links` are the single ones, for what a group has not: info, pins.
    """

    def __init__(self, links: Sequence[Link], target: str) -> None:
        super().__init__(-1, target)
        self.links = tuple(links)

    @classmethod
    def make(cls, places: Iterable[T], attach: Callable[[T], Link], target: str) -> LinkGroup:
        """Attach at each of `places`; when one fails, those before are detached again."""
        made: list[Link] = []
        try:
            for place in places:
                made.append(attach(place))
        except BaseException:
            close_all(made)
            raise
        return cls(made, target)

    @property
    def closed(self) -> bool:
        """True once every link of it is closed."""
        return all(link.closed for link in self.links)

    def fileno(self) -> int:
        """Not to be had: each link has its own."""
        raise self._several("descriptor")

    def info(self) -> LinkInfo:
        """Not to be had: each link has its own."""
        raise self._several("info")

    def pin(self, path: object) -> NoReturn:
        """Not to be had: each link is pinned on its own."""
        raise self._several("pin")

    def update(self, program: HasFileno, *, expected: HasFileno | None = None) -> None:
        """Put `program` in the place of the attached one, link by link."""
        for link in self.links:
            link.update(program, expected=expected)

    def detach(self) -> None:
        """End the attachment of each link."""
        for link in self.links:
            link.detach()

    def close(self) -> None:
        """Close every link of it. Closing twice does nothing."""
        close_all(self.links)

    def __enter__(self) -> Self:
        if self.closed:
            raise ClosedError(f"{self!r} is closed")
        return self

    def _several(self, what: str) -> TypeError:
        return TypeError(f"{self!r} has no {what} of its own; each of its `links` has one")

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{len(self.links)} links"
        return f"<ebpf.LinkGroup to {self.target} {state}>"
