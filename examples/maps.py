#!/usr/bin/env python3
"""maps: what the common kinds of BPF maps do, step by step.

    sudo python maps.py

Nothing is attached: a program in the kernel would use the same maps by the same rules, and the one
of the last step is run by hand. Each step prints the Python that is executed and what came of it.
"""

from __future__ import annotations

import argparse
import struct
from dataclasses import dataclass

import ebpf
from ebpf import MapType, UpdateFlags
from ebpf.asm import R0, R1, R6, Label, if_, ldxw, mov, return_, snippets, stxw, when
from ebpf.codec import u32, u64


@dataclass
class Traffic:
    """A value with fields: laid out in memory as the C struct with the same fields."""

    packets: u32
    bytes: u64  # after 4 bytes of padding, as in C


def title(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}")


def show_hash() -> None:
    title("A hash is a dict")
    # Keys are u32 ("I"), values are Traffic. max_entries is a limit, not a size to begin with.
    with ebpf.Map.create(
        MapType.HASH, key="I", value=Traffic, max_entries=3, name="traffic"
    ) as traffic:
        traffic[80] = Traffic(packets=10, bytes=6400)
        traffic[443] = Traffic(packets=25, bytes=31000)
        print("traffic[443] ->", traffic[443])
        print("80 in traffic ->", 80 in traffic)
        print("traffic.lookup(22) ->", traffic.lookup(22))
        try:
            traffic[22]
        except KeyError as error:
            print("traffic[22] -> KeyError:", error)

        traffic[22] = Traffic(1, 60)
        for port, value in sorted(traffic.items()):
            print(f"  port {port}: {value.packets} packets, {value.bytes} bytes")
        try:
            traffic[53] = Traffic(1, 70)
        except ebpf.BpfError as error:
            print("a fourth key ->", error)

        del traffic[22]
        print("traffic.pop(80) ->", traffic.pop(80))
        print("len(traffic) ->", len(traffic))
        # bpftool prints the same, without Python: bpftool map dump name traffic
        traffic.dump()


def show_update_flags() -> None:
    title("Flags say whether a key may, must or must not exist")
    with ebpf.Map.create(MapType.HASH, key="I", value="Q", max_entries=8, name="flags") as map:
        map.put(1, 100, flags=UpdateFlags.NOEXIST)
        print("put(1, 100, NOEXIST) -> created", map[1])
        try:
            map.put(1, 200, flags=UpdateFlags.NOEXIST)
        except FileExistsError:
            print("put(1, 200, NOEXIST) -> FileExistsError, the value is still", map[1])
        map.put(1, 300, flags=UpdateFlags.EXIST)
        print("put(1, 300, EXIST) -> replaced", map[1])
        try:
            map.put(2, 400, flags=UpdateFlags.EXIST)
        except FileNotFoundError:
            print("put(2, 400, EXIST) -> FileNotFoundError, the keys are still", list(map))


def show_array() -> None:
    title("An array has all of its slots from the beginning")
    with ebpf.Map.create(MapType.ARRAY, value="q", max_entries=4, name="slots") as slots:
        print("list(slots) ->", list(slots))
        slots[2] = -7  # "q" is signed
        print("after slots[2] = -7 ->", list(slots))
        try:
            slots[4] = 1
        except IndexError as error:
            print("slots[4] = 1 -> IndexError:", error)
        slots.clear()
        print("after slots.clear() ->", list(slots))


def show_queue_and_stack() -> None:
    title("A queue and a stack have no keys")
    for kind in (MapType.QUEUE, MapType.STACK):
        with ebpf.Map.create(kind, value="I", max_entries=4, name=kind.name.lower()) as map:
            for number in (1, 2, 3):
                map.push(number)
            print(f"{kind.name} after push 1, 2, 3: pop ->", map.pop(), map.pop(), map.pop())
            print(f"{kind.name} when empty: pop ->", map.pop())


def show_per_cpu() -> None:
    title("A per-CPU map has a value for each CPU")
    # Programs on different CPUs then count without disturbing each other; the reader adds up.
    with ebpf.Map.create(
        MapType.PERCPU_ARRAY, value="Q", max_entries=1, name="per_cpu"
    ) as counters:
        cpus = len(counters[0])
        counters[0] = list(range(1, cpus + 1))
        print("possible CPUs ->", cpus)
        print("sum(counters[0]) ->", sum(counters[0]))


def lengths(ring: ebpf.Map[object, object]) -> list[object]:
    """A program that writes the length of a packet into the ring, unless it is a short one."""
    length = 0  # where struct __sk_buff has it
    return [
        mov(R6, R1),
        # Room in the ring itself. Whatever way the program takes, it has to be given back.
        snippets.ring_reserve(ring, 4, "full"),
        ldxw(R1, R6 + length),
        stxw(R0 + 0, R1),
        if_(when(R1, "<", 100), snippets.ring_discard(R0), snippets.ring_submit(R0)),
        Label("full"),
        return_(0),
    ]


def show_ring_buffer() -> None:
    title("A ring buffer takes records from programs to Python, in their order")
    with (
        ebpf.Map.create(MapType.RINGBUF, max_entries=1 << 16, name="lengths") as ring,
        ebpf.Program.load(ebpf.ProgramType.SCHED_CLS, lengths(ring), name="lengths") as program,
        ebpf.RingBuffer(ring) as reader,
    ):
        for size in (60, 500, 99, 100):
            program.test_run(bytes(size))
        records = [struct.unpack("=I", record)[0] for record in reader.read_batch()]
        print("after packets of 60, 500, 99 and 100 bytes ->", records)


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    try:
        show_hash()
        show_update_flags()
        show_array()
        show_queue_and_stack()
        show_per_cpu()
        show_ring_buffer()
    except ebpf.BpfPermissionError as error:
        raise SystemExit(f"maps: {error}") from None


if __name__ == "__main__":
    main()
