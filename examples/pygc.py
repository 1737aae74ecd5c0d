#!/usr/bin/env python3
"""pygc: how long Python programs stop to collect garbage.

    sudo python pygc.py                              every python3 on this machine, until Ctrl-C
    sudo python pygc.py --pid 4711 --seconds 60
    sudo python pygc.py --python /opt/app/bin/python

An interpreter that was built with DTrace probes (Debian's and Fedora's are) says by its USDT probes
gc__start and gc__done when it collects. Nothing has to be changed or started again in the traced
program; while nobody watches, a probe is an instruction that does nothing.
"""

from __future__ import annotations

import os
import shutil

import ebpf
from parts import latency
from parts.counting import counter, wait


def measure(python: str, pid: int | None, seconds: float | None) -> None:
    """Attach to both probes, wait, print."""
    kind = ebpf.ProgramType.KPROBE
    with latency.maps() as (starts, histogram):
        start = [latency.THREAD, latency.start(starts), latency.RETURN]
        done = [latency.THREAD, latency.end(starts, histogram), latency.RETURN]
        with (
            latency.load(kind, start, "gc_start") as at_start,
            latency.load(kind, done, "gc_done") as at_done,
        ):
            at_done.attach_usdt(python, "python", "gc__done", pid=pid)
            at_start.attach_usdt(python, "python", "gc__start", pid=pid)
            wait("pygc", seconds)
        latency.report("garbage collections", histogram)


def main() -> None:
    parser = counter(__doc__)
    parser.add_argument("--python", default="python3", help="the interpreter, or its libpython")
    parser.add_argument("--pid", type=int, help="one process only")
    options = parser.parse_args()
    try:
        measure(os.path.expanduser(options.python), options.pid, options.seconds)
    except ebpf.ElfError as error:
        found = shutil.which(os.path.expanduser(options.python)) or options.python
        raise SystemExit(
            f"pygc: {found} is no interpreter but perhaps a script that starts one ({error}); name"
            " what it starts: --python \"$(python3 -c 'import sys; print(sys.executable)')\""
        ) from None
    except ebpf.EbpfError as error:
        # No such file or process, no permission, or an interpreter without probes.
        raise SystemExit(f"pygc: {error}") from None


if __name__ == "__main__":
    main()
