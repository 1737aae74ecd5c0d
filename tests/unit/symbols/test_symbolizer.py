"""What a Symbolizer does not take for stacks."""

from __future__ import annotations

import os
from typing import Any

import pytest

pytest.importorskip("ebpf._ffi", reason="the extension is not built", exc_type=ImportError)

from ebpf import Symbolizer


@pytest.mark.parametrize(
    ("addresses", "told"),
    [
        (None, "None is no iterable"),
        (5, "5 is no iterable"),
        (["x"], "'x' is not an int"),
        ([0, 1.5], "1.5 is not an int"),
    ],
)
def test_what_are_no_addresses(addresses: Any, told: str) -> None:
    """The error is that of an operator inside, and names no argument."""
    symbolizer = Symbolizer()
    for use in (
        lambda: symbolizer.kernel(addresses),
        lambda: symbolizer.process(os.getpid(), addresses),
        lambda: symbolizer.stacks([(None, addresses)]),
    ):
        with pytest.raises(TypeError, match=f"^addresses: {told}"):
            use()


def test_what_is_no_process() -> None:
    """A process that can't be is taken for one that is gone, whose frames are bare."""
    with pytest.raises(ValueError, match=r"^pid: -1 "):
        Symbolizer().process(-1, [1])
    with pytest.raises(TypeError, match=r"^pid: '1' "):
        Symbolizer().stacks([("1", [1])])  # type: ignore[list-item]
