#!/usr/bin/env python3
"""tracepoint_histogram: how the values of a tracepoint's field are distributed.

    sudo python tracepoint_histogram.py                                 sizes that read() returns
    sudo python tracepoint_histogram.py block:block_rq_issue bytes --seconds 10
    sudo python tracepoint_histogram.py sched:sched_switch --fields     what can be chosen

Each line counts the values from a power of two up to the next one.
"""

from __future__ import annotations

import argparse

import ebpf
from ebpf import asm, tracefs
from ebpf.asm import R0, R1, R6, R10, exit_, mov, snippets
from ebpf.tracefs import TracepointField
from parts.counting import counter, wait


def numbers(category: str, name: str) -> dict[str, TracepointField]:
    """The fields of a tracepoint that are a number."""
    return {
        field.name: field
        for field in tracefs.tracepoint_fields(category, name).values()
        # The first bytes of every record say which tracepoint it is; programs cannot read them.
        if not field.name.startswith("common_")
        and not field.is_array
        and field.size in (1, 2, 4, 8)
    }


def program(field: TracepointField, histogram: ebpf.ArrayMap[int]) -> list[object]:
    """histogram[slot of the field's value] += 1"""
    record = asm.tracepoint({field.name: field})
    return [
        record.load(R6, R1, field.name),
        snippets.histogram(histogram, R6, buffer=R10 - 4, signed=field.signed),
        mov(R0, 0),
        exit_(),
    ]


def label(slot: int) -> str:
    """The values that a slot counts."""
    limits = snippets.histogram_range(slot)
    if limits is None:
        return "negative"
    low, high = limits
    return str(low) if low == high else f"{low} .. {high}"


def report(title: str, counts: list[int]) -> None:
    """Print the slots from the first to the last that counted something."""
    used = [slot for slot, count in enumerate(counts) if count]
    print(f"{title}: {sum(counts)} events")
    if not used:
        return
    largest, width = max(counts), 40
    labels = max(len(label(slot)) for slot in used)
    for slot in range(used[0], used[-1] + 1):
        bar = "#" * round(counts[slot] * width / largest)
        print(f"{label(slot):>{labels}} | {counts[slot]:>10} | {bar}".rstrip())


def count(category: str, name: str, field: TracepointField, seconds: float | None) -> list[int]:
    """Attach, wait, and return the histogram."""
    with ebpf.ArrayMap.create(
        ebpf.MapType.ARRAY, value="Q", max_entries=snippets.HISTOGRAM_SLOTS, name="histogram"
    ) as histogram:
        code = program(field, histogram)
        with ebpf.Program.load(
            ebpf.ProgramType.TRACEPOINT, code, license="GPL", name="histogram"
        ) as counting:
            counting.attach_tracepoint(category, name)
            wait("tracepoint_histogram", seconds)
        return list(histogram)


def parse_arguments() -> argparse.Namespace:
    parser = counter(__doc__)
    parser.add_argument("tracepoint", nargs="?", default="syscalls:sys_exit_read")
    parser.add_argument("field", nargs="?", help="a number in the tracepoint's record (ret)")
    parser.add_argument("--fields", action="store_true", help="list the fields, then end")
    options = parser.parse_args()
    if options.tracepoint.count(":") != 1:
        parser.error(f"a tracepoint is CATEGORY:NAME, not {options.tracepoint!r}")
    return options


def main() -> None:
    options = parse_arguments()
    category, name = options.tracepoint.split(":")
    try:
        fields = numbers(category, name)
        if options.fields:
            for field in fields.values():
                print(
                    f"{field.name} ({field.size} bytes, {'signed' if field.signed else 'unsigned'})"
                )
            return
        wanted = options.field or "ret"
        if wanted not in fields:
            raise SystemExit(
                f"tracepoint_histogram: {options.tracepoint} has no number called {wanted!r};"
                f" its numbers: {', '.join(fields) or 'none'}"
            )
        counts = count(category, name, fields[wanted], options.seconds)
        report(f"{options.tracepoint} {wanted}", counts)
    except ebpf.BpfError as error:
        # No such tracepoint, no permission, or no tracefs: then the message has the command.
        raise SystemExit(f"tracepoint_histogram: {error}") from None


if __name__ == "__main__":
    main()
