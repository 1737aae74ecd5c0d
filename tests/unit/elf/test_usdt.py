"""USDT probes in a file, compared with readelf's reading of it."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from typing import Any

import pytest

from ebpf.elf.image import ElfImage, ImageSection, Note
from ebpf.elf.usdt import usdt_probes
from ebpf.errors import ElfError
from tests.binaries import built

READELF = re.compile(
    r"Provider: (\S+)\s+Name: (\S+)\s+Location: (\w+), Base: \w+, Semaphore: (\w+)"
    r"\s+Arguments: (.*)"
)


def test_probes_are_those_that_readelf_lists() -> None:
    """A probe is missing, or at another address."""
    path = built("usdt")
    listed = READELF.findall(subprocess.check_output(["readelf", "-n", str(path)], text=True))
    assert len(listed) >= 4
    with ElfImage.open(path) as image:
        found = usdt_probes(image)
        assert [(p.provider, p.name, p.address, p.arguments) for p in found] == [
            (provider, name, int(location, 16), arguments.rstrip())
            for provider, name, location, _, arguments in listed
        ]
        for probe, (_, _, location, semaphore, _) in zip(found, listed, strict=True):
            assert image.file_offset(int(location, 16)) == probe.offset
            wanted = int(semaphore, 16)
            assert probe.semaphore == (image.file_offset(wanted) if wanted else 0)


def test_a_file_without_probes() -> None:
    """It is no error of the file."""
    with ElfImage.open(shutil.which("true") or "true") as image:
        assert usdt_probes(image) == []


class Moved:
    """A file that a prelinker moved by 0x1000 after its notes were written."""

    bits = 64
    byte_order = "little"

    def __init__(self, data: bytes) -> None:
        self._data = data

    def section(self, name: str) -> Any:
        address = 0x3000 if name == ".stapsdt.base" else 0
        return ImageSection(1, name, 7, 0, address, 0, 0, 0, 0, 4, 0)

    def notes(self, section: object) -> list[Note]:
        return [Note("stapsdt", 3, self._data), Note("GNU", 3, b"")]

    def file_offset(self, address: int) -> int:
        return address - 0x1000


def test_addresses_follow_the_base() -> None:
    """The probe of a prelinked file would be somewhere else in it."""
    note = struct.pack("<QQQ", 0x1234, 0x2000, 0x5678) + b"provider\0name\0-4@%edi\0"
    image: Any = Moved(note)
    (probe,) = usdt_probes(image)
    assert probe == ("provider", "name", 0x1234, 0x5678, 0x2234, "-4@%edi")


@pytest.mark.parametrize("data", [b"", bytes(24), bytes(24) + b"provider\0name\0"])
def test_a_note_that_is_cut(data: bytes) -> None:
    """IndexError would say nothing of the file."""
    image: Any = Moved(data)
    with pytest.raises(ElfError, match="is no probe"):
        usdt_probes(image)
