"""An input device that a test makes (uhid)."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

from tests.kernel.samples import wait_until

# Two bytes, which mean nothing to anybody.
DESCRIPTOR = bytes.fromhex("0600ff0901a1010902150026ff00750895028102c0")
BUS_USB, VENDOR, PRODUCT = 3, 0xEBBF, 0x0001
CREATE2, INPUT2 = 11, 12


class Device:
    """An input device, and what reads its reports."""

    def __init__(self) -> None:
        for module in ("uhid", "hid-generic"):
            subprocess.run(["modprobe", module], check=False)
        self.fd = os.open("/dev/uhid", os.O_RDWR | os.O_CLOEXEC)
        head = struct.pack("=I128s64s64s", CREATE2, b"ebpf test", b"", b"")
        numbers = struct.pack("=HHIIII", len(DESCRIPTOR), BUS_USB, VENDOR, PRODUCT, 0, 0)
        os.write(self.fd, head + numbers + DESCRIPTOR)
        wait_until(lambda: bool(self._nodes()), "the device is there")
        (node,) = self._nodes()
        # BUS:VENDOR:PRODUCT.ID
        self.id = int(node.parents[1].suffix[1:], 16)
        self.reports = os.open(f"/dev/{node.name}", os.O_RDONLY | os.O_CLOEXEC)

    def _nodes(self) -> list[Path]:
        devices = Path("/sys/bus/hid/devices")
        name = f"{BUS_USB:04X}:{VENDOR:04X}:{PRODUCT:04X}"
        found = devices.glob(f"{name}.*/hidraw/hidraw*")
        return [node for node in found if Path("/dev", node.name).exists()]

    def report(self, data: bytes) -> bytes:
        """What arrives when the device says `data`."""
        os.write(self.fd, struct.pack("=IH", INPUT2, len(data)) + data)
        return os.read(self.reports, 64)

    def close(self) -> None:
        os.close(self.reports)
        os.close(self.fd)
