#!/usr/bin/env python3
"""biolatency: how long disks take for reads and writes.

    sudo python biolatency.py                until Ctrl-C
    sudo python biolatency.py --seconds 10

Measured is the time from when a request is handed to the device's driver until it is done.
"""

from __future__ import annotations

from typing import Any

import ebpf
from ebpf.asm import R1, R2, R6, ldxdw, ldxw, lsh, xor
from ebpf.tracefs import tracepoint_fields
from parts import latency
from parts.counting import counter, wait


def request(name: str) -> list[Any]:
    """Leaves in R6 what tells a request from others: its device and first sector."""
    fields = tracepoint_fields("block", name)
    return [
        ldxw(R2, R1 + fields["dev"].offset),
        lsh(R2, 40),
        ldxdw(R6, R1 + fields["sector"].offset),
        xor(R6, R2),
    ]


def measure(seconds: float | None) -> None:
    """Attach to the block layer's tracepoints, wait, print."""
    kind = ebpf.ProgramType.TRACEPOINT
    issue, complete = "block_rq_issue", "block_rq_complete"
    with latency.maps() as (starts, histogram):
        issued = [request(issue), latency.start(starts), latency.RETURN]
        completed = [request(complete), latency.end(starts, histogram), latency.RETURN]
        with (
            latency.load(kind, issued, "issued") as at_issue,
            latency.load(kind, completed, "completed") as at_complete,
        ):
            at_complete.attach_tracepoint("block", complete)
            at_issue.attach_tracepoint("block", issue)
            wait("biolatency", seconds)
        latency.report("requests to disks", histogram)


def main() -> None:
    options = counter(__doc__).parse_args()
    try:
        measure(options.seconds)
    except ebpf.EbpfError as error:
        # No permission, or no tracefs: then the message has the command that mounts it.
        raise SystemExit(f"biolatency: {error}") from None


if __name__ == "__main__":
    main()
