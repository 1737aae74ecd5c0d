"""Programs that change what input devices report; the device is one that the test makes (uhid)."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import ebpf
from ebpf import CollectionSpec
from tests.kernel.collection.hid import Device
from tests.objects import compiled

pytestmark = pytest.mark.needs_config("CONFIG_HID_BPF", "CONFIG_UHID")


@contextmanager
def device() -> Iterator[Device]:
    made = Device()
    try:
        yield made
    finally:
        made.close()


def test_reports_are_changed() -> None:
    """The program is not called, for another device, or goes on after it was closed."""
    spec = CollectionSpec.from_file(compiled("struct_ops_hid"))
    with device() as made:
        assert made.report(b"\x01\x02") == b"\x01\x02"
        spec.maps["inverted"].write(0, struct.pack("i", made.id))
        with spec.load() as objects:
            objects.attach_struct_ops("inverted")
            assert made.report(b"\x01\x02") == b"\x01\xfd"
        assert made.report(b"\x01\x02") == b"\x01\x02"


def test_a_device_that_is_not_there() -> None:
    """The kernel's EINVAL is all that is said."""
    spec = CollectionSpec.from_file(compiled("struct_ops_hid"))
    spec.maps["inverted"].write(0, struct.pack("i", 0x7FFF))
    with (
        spec.load() as objects,
        pytest.raises(ebpf.BpfError, match=r"inverted: .*device") as caught,
    ):
        objects.attach_struct_ops("inverted")
    assert caught.value.errno == errno.EINVAL
