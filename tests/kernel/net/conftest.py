"""The network of the tests of network hooks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernel.net.network import Network


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as made:
        yield made
