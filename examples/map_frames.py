#!/usr/bin/env python3
"""map_frames: how often each process calls the kernel, as numpy, pandas and Arrow see the map.

    sudo python map_frames.py                          until Ctrl-C
    sudo python map_frames.py --seconds 5 --with arrow

A program counts the system calls of each process in a hash. At the end one call, to_numpy(),
copies all keys into one buffer and all counts into another: numpy arrays, the columns of a pandas
DataFrame and Arrow arrays are different looks at these two.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import ebpf
from ebpf.asm import (
    R0,
    R1,
    R2,
    R3,
    R4,
    R10,
    Label,
    add,
    atomic_add,
    call,
    exit_,
    jne,
    ld_map_fd,
    mov,
    rsh,
    stdw,
    stxw,
)
from parts.counting import counter, wait

MOST = 10


def program(counts: ebpf.HashMap[int, int]) -> list[object]:
    """counts[id of the current process] += 1"""
    key, zero = R10 - 4, R10 - 16
    return [
        call("get_current_pid_tgid"),
        rsh(R0, 32),
        stxw(key, R0),
        # A key that is not there yet gets 0; else this fails, and the key is there.
        stdw(zero, 0),
        mov(R2, R10),
        add(R2, key.offset),
        mov(R3, R10),
        add(R3, zero.offset),
        mov(R4, int(ebpf.UpdateFlags.NOEXIST)),
        ld_map_fd(R1, counts),
        call("map_update_elem"),
        mov(R2, R10),
        add(R2, key.offset),
        ld_map_fd(R1, counts),
        call("map_lookup_elem"),
        jne(R0, 0, "found"),
        mov(R0, 0),
        exit_(),
        Label("found"),
        mov(R1, 1),
        atomic_add(R0, R1),
        mov(R0, 0),
        exit_(),
    ]


def with_numpy(pids: Any, calls: Any) -> None:
    print(f"numpy: {len(pids)} processes, {calls.sum()} calls")
    for row in calls.argsort()[::-1][:MOST]:
        print(f"{pids[row]:>8} {calls[row]:>10}")


def with_pandas(pids: Any, calls: Any) -> None:
    import pandas

    frame = pandas.DataFrame({"pid": pids, "calls": calls}, copy=False)
    print(f"pandas: {len(frame)} processes, {frame['calls'].sum()} calls")
    print(frame.nlargest(MOST, "calls").to_string(index=False))


def with_arrow(pids: Any, calls: Any) -> None:
    import pyarrow
    import pyarrow.compute

    # An Arrow array is a type, a length and buffers: no nulls, and the memory as it is.
    columns = [
        pyarrow.Array.from_buffers(kind, len(column), [None, pyarrow.py_buffer(column)])
        for kind, column in ((pyarrow.uint32(), pids), (pyarrow.uint64(), calls))
    ]
    table = pyarrow.table(columns, names=["pid", "calls"])
    total = pyarrow.compute.sum(table["calls"]).as_py()
    print(f"Arrow: {table.num_rows} processes, {total} calls")
    for row in table.sort_by([("calls", "descending")]).slice(0, MOST).to_pylist():
        print(f"{row['pid']:>8} {row['calls']:>10}")


# What shows the map: the module that it needs, and the function.
WAYS = {
    "numpy": ("numpy", with_numpy),
    "pandas": ("pandas", with_pandas),
    "arrow": ("pyarrow", with_arrow),
}


def main() -> None:
    parser = counter(__doc__)
    parser.add_argument("--with", dest="way", choices=WAYS, help="(all that are installed)")
    options = parser.parse_args()
    installed = [way for way, (module, _) in WAYS.items() if importlib.util.find_spec(module)]
    chosen = [options.way] if options.way else installed
    missing = [WAYS[way][0] for way in chosen if way not in installed]
    if missing or not chosen:
        raise SystemExit(f"map_frames: pip install what it needs: {' '.join(missing) or 'numpy'}")
    try:
        with ebpf.HashMap.create(key="I", value="Q", max_entries=65536, name="calls") as counts:
            with ebpf.Program.load(
                ebpf.ProgramType.RAW_TRACEPOINT, program(counts), license="GPL", name="count"
            ) as counting:
                counting.attach_raw_tracepoint("sys_enter")
                wait("map_frames", options.seconds)
            pids, calls = counts.to_numpy()
    except ebpf.BpfError as error:
        raise SystemExit(f"map_frames: {error}") from None
    for way in chosen:
        WAYS[way][1](pids, calls)


if __name__ == "__main__":
    main()
