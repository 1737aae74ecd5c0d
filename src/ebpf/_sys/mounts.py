"""The mounted file systems."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def kind_of(device: int) -> str | None:
    """The type of the file system with the number `device` (``st_dev``): ``bpf``, ``tracefs``; None
    where this process sees none."""
    number = f"{os.major(device)}:{os.minor(device)}".encode()
    # Bytes: of what a mount point's name may have, the kernel leaves the carriage return as it is.
    with open("/proc/self/mountinfo", "rb") as mounts:
        for line in mounts:
            # proc(5): the third field is the device; behind " - " comes the type.
            if line.split(b" ", 3)[2] == number:
                return line.partition(b" - ")[2].split(b" ", 1)[0].decode()
    return None


def mounted() -> Iterator[tuple[str, str, list[str]]]:
    """(mount point, type, options) of every one, in the order in which they were mounted."""
    import re

    with open("/proc/self/mounts", "rb") as mounts:
        for line in mounts:
            _, point, kind, options, *_ = line.split(b" ")
            # Blanks and the like are in octal.
            point = re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), point)
            yield os.fsdecode(point), kind.decode(), options.decode().split(",")
