#!/usr/bin/env python3
"""funclatency: how long calls of a function in a program or library take, in all processes.

    sudo python funclatency.py libc.so.6 getaddrinfo            until Ctrl-C
    sudo python funclatency.py bash readline --seconds 10
    sudo python funclatency.py /usr/lib/libssl.so.3 SSL_read --pid 4711

A library is found as the dynamic loader finds it, a program in PATH. The kernel measures and
counts; this only reads the histogram when it is done. Calls that run already when it starts, and
those that have not returned when it ends, are left out.
"""

from __future__ import annotations

import ebpf
from parts import latency
from parts.counting import counter, wait


def measure(path: str, function: str, pid: int | None, seconds: float | None) -> None:
    """Attach to the function's entry and return, wait, print."""
    kind = ebpf.ProgramType.KPROBE
    with latency.maps() as (starts, histogram):
        entry = [latency.THREAD, latency.start(starts), latency.RETURN]
        back = [latency.THREAD, latency.end(starts, histogram), latency.RETURN]
        with (
            latency.load(kind, entry, "entry") as at_entry,
            latency.load(kind, back, "return") as at_return,
        ):
            at_return.attach_uretprobe(path, function, pid=pid)
            at_entry.attach_uprobe(path, function, pid=pid)
            wait("funclatency", seconds)
        latency.report(function, histogram)


def main() -> None:
    parser = counter(__doc__)
    parser.add_argument("path", help="the program or library")
    parser.add_argument("function", help="its name, with @VERSION where there are several")
    parser.add_argument("--pid", type=int, help="one process only")
    options = parser.parse_args()
    try:
        measure(options.path, options.function, options.pid, options.seconds)
    except ebpf.EbpfError as error:
        # No such file, function (with the nearest names) or process, or no permission.
        raise SystemExit(f"funclatency: {error}") from None


if __name__ == "__main__":
    main()
