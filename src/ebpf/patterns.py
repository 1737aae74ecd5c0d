"""Regular expressions that cost nothing before they are used: importing `re` takes 1.5 ms."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Callable


class Pattern:
    """``re.compile(text)``, compiled at the first use; flags are written inline, ``(?m)``."""

    __slots__ = ("_compiled", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._compiled: re.Pattern[str] | None = None

    def _get(self) -> re.Pattern[str]:
        if self._compiled is None:
            import re

            self._compiled = re.compile(self.text)
        return self._compiled

    @property
    def match(self) -> Callable[..., re.Match[str] | None]:
        return self._get().match

    @property
    def fullmatch(self) -> Callable[..., re.Match[str] | None]:
        return self._get().fullmatch

    @property
    def search(self) -> Callable[..., re.Match[str] | None]:
        return self._get().search

    @property
    def findall(self) -> Callable[[str], list[str]]:
        return self._get().findall

    @property
    def sub(self) -> Callable[[str, str], str]:
        return self._get().sub
