"""CO-RE against the running kernel, by what the relocated programs find in it."""

from __future__ import annotations

import os
import threading

from ebpf.btf import Kind
from ebpf.kernel_btf import kernel_btf
from ebpf.spec import CollectionSpec
from tests.objects import compiled


def test_relocated_programs_read_the_right_fields() -> None:
    """Offsets of the declaration that the program was compiled with would read other fields."""
    with CollectionSpec.from_file(compiled("core_load")).load() as objects:
        for program in objects.programs.values():
            program.test_run(ctx=bytes(16))
        results = tuple(objects.variables["results"].value)
    kernel = kernel_btf()
    task, packet = kernel.find_struct("task_struct"), kernel.find_struct("sk_buff")
    with open("/proc/self/comm", "rb") as file:
        assert results[2] & 0xFF == file.read()[3]
    assert results[:2] == (threading.get_native_id(), os.getppid())
    assert results[3] == 120 + os.nice(0)
    # A program without the member skips what it does with it.
    assert results[4] == 0
    assert results[5] == task.offsetof("tasks.prev")
    assert results[6:8] == (16, 1)
    assert results[12:15] == (1, 0, packet.size)
    assert results[15:18] == (1, 0, 1)
    assert results[20] == kernel.find("task_struct", Kind.STRUCT).id


def test_a_bitfield_is_where_the_kernel_has_it() -> None:
    """Shifts that are wrong give another field's bits."""
    with CollectionSpec.from_file(compiled("core_load")).load() as objects:
        objects.programs["numbers"].test_run(ctx=bytes(16))
        left, right, start, size = objects.variables["results"].value[8:12]
    packet = kernel_btf().layout(kernel_btf().find("sk_buff", Kind.STRUCT).id)
    field = packet.field("pkt_type")
    assert right == 64 - 3
    # The bytes that are read, as a little-endian number of 64 bits, shifted up to the field.
    assert start * 8 + (64 - left) == field.bit_offset + 3
    assert size in (1, 2, 4, 8)
