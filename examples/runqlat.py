#!/usr/bin/env python3
"""runqlat: how long threads that could run wait for a processor.

    sudo python runqlat.py                until Ctrl-C
    sudo python runqlat.py --seconds 10

A thread starts to wait when it is woken up, or when another one takes the processor from it. Long
waits mean that there are more threads than processors for them.
"""

from __future__ import annotations

from typing import Any

import ebpf
from ebpf.asm import R1, R6, R8, Label, and_, jeq, jne, ldxdw, ldxw, mov
from ebpf.tracefs import tracepoint_fields
from parts import latency
from parts.counting import counter, wait

# The bits of prev_state for threads that do not want to run (TASK_REPORT_MAX - 1). The one above
# them is of those that were preempted, which do.
NOT_RUNNING = 0xFF


def offset(name: str, field: str) -> int:
    """Where a field is in the record of a tracepoint of the scheduler."""
    return tracepoint_fields("sched", name)[field].offset


def woken(starts: latency.Starts, name: str) -> list[Any]:
    return [ldxw(R6, R1 + offset(name, "pid")), latency.start(starts), latency.RETURN]


def switched(starts: latency.Starts, histogram: latency.Histogram) -> list[Any]:
    """The next thread has waited; the one before it begins to, unless it went to sleep."""
    return [
        mov(R8, R1),
        ldxdw(R1, R8 + offset("sched_switch", "prev_state")),
        and_(R1, NOT_RUNNING),
        jne(R1, 0, "sleeps"),
        ldxw(R6, R8 + offset("sched_switch", "prev_pid")),
        # Process 0 runs when nobody wants to.
        jeq(R6, 0, "sleeps"),
        latency.start(starts),
        Label("sleeps"),
        ldxw(R6, R8 + offset("sched_switch", "next_pid")),
        latency.end(starts, histogram),
        latency.RETURN,
    ]


def measure(seconds: float | None) -> None:
    """Attach to the scheduler's tracepoints, wait, print."""
    kind = ebpf.ProgramType.TRACEPOINT
    with latency.maps() as (starts, histogram):
        with (
            latency.load(kind, woken(starts, "sched_wakeup"), "woken") as at_wakeup,
            latency.load(kind, woken(starts, "sched_wakeup_new"), "woken_new") as at_new,
            latency.load(kind, switched(starts, histogram), "switched") as at_switch,
        ):
            at_switch.attach_tracepoint("sched", "sched_switch")
            at_wakeup.attach_tracepoint("sched", "sched_wakeup")
            at_new.attach_tracepoint("sched", "sched_wakeup_new")
            wait("runqlat", seconds)
        latency.report("waits for a processor", histogram)


def main() -> None:
    options = counter(__doc__).parse_args()
    try:
        measure(options.seconds)
    except ebpf.EbpfError as error:
        # No permission, or no tracefs: then the message has the command that mounts it.
        raise SystemExit(f"runqlat: {error}") from None


if __name__ == "__main__":
    main()
