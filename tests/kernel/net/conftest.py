"""What the tests of network hooks attach to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.net.network import Namespace, Network
from tests.kernel.net.support import made_cgroup


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as made:
        yield made


@pytest.fixture
def space() -> Iterator[Namespace]:
    made = Namespace()
    yield made
    made.close()


@pytest.fixture
def group() -> Iterator[Path]:
    with made_cgroup() as made:
        yield made
