"""The answers that probes gave."""

from __future__ import annotations

import functools

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    F = TypeVar("F", bound=Callable[..., Any])

_caches: list[Any] = []


def cached(probe: F) -> F:
    """Keep what `probe` returns, for each argument; what it raises is not kept."""
    wrapped: Any = functools.cache(probe)
    _caches.append(wrapped)
    kept: F = wrapped
    return kept


def clear_cache() -> None:
    """Forget all answers: after the process got or lost capabilities, or a module was loaded."""
    for wrapped in _caches:
        wrapped.cache_clear()
