"""Memory that a map shares with this process, shown with a file in memory in the map's place."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

import pytest

from ebpf._sys.memory import MapMemory
from ebpf.errors import BpfFileExistsError, ClosedError

SIZE = 2 * os.sysconf("SC_PAGESIZE")
ADDRESS = 1 << 44


@pytest.fixture
def file() -> Iterator[int]:
    fd = os.memfd_create("memory")
    os.truncate(fd, SIZE)
    yield fd
    os.close(fd)


def test_the_memory_is_that_of_the_descriptor(file: int) -> None:
    """A private copy would never reach the kernel's programs."""
    memory = MapMemory(file, SIZE, 0, "map")
    memory.write(SIZE - 3, b"end")
    assert os.pread(file, 3, SIZE - 3) == b"end"
    os.pwrite(file, b"start", 0)
    assert memory.read(0, 5) == b"start"
    memory.close()
    memory.close()
    with pytest.raises(ClosedError):
        memory.read(0, 1)


@pytest.mark.parametrize(("offset", "size"), [(-1, 1), (SIZE, 1), (SIZE - 1, 2), (0, SIZE + 1)])
def test_nothing_outside_is_touched(file: int, offset: int, size: int) -> None:
    """What is behind the memory belongs to somebody else."""
    memory = MapMemory(file, SIZE, 0, "map")
    with pytest.raises(ValueError, match=rf"bytes {offset}\.\..* outside of {SIZE}"):
        memory.read(offset, size)
    with pytest.raises(ValueError, match="outside"):
        memory.write(offset, bytes(size))
    memory.close()


def test_an_address_is_taken_once(file: int) -> None:
    """Memory that replaces what is mapped already would change it under its owner."""
    first = MapMemory(file, SIZE, ADDRESS, "map")
    with pytest.raises(BpfFileExistsError, match="map the second") as caught:
        MapMemory(file, SIZE, ADDRESS, "map the second")
    assert caught.value.errno == errno.EEXIST
    first.close()
    MapMemory(file, SIZE, ADDRESS, "map the third").close()
