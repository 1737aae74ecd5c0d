"""numpy's view of codecs: dtype_of(codec), array_of(codec, buffer). Imports numpy: only on use."""

from __future__ import annotations

from typing import Any


def dtype_of(codec: Any) -> Any:
    raise NotImplementedError


def array_of(codec: Any, buffer: memoryview) -> Any:
    raise NotImplementedError
