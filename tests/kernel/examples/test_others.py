"""The smaller examples: what they print must be what the test made happen."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.kernel.examples.support import (
    TIMEOUT,
    command,
    run,
    running,
    without,
)


def test_maps_prints_what_the_kernel_keeps() -> None:
    """The example would say something else than what happened."""
    lines = run("maps").splitlines()
    for line in (
        "traffic[443] -> Traffic(packets=25, bytes=31000)",
        "traffic.lookup(22) -> None",
        "  port 22: 1 packets, 60 bytes",
        "put(1, 200, NOEXIST) -> FileExistsError, the value is still 100",
        "put(2, 400, EXIST) -> FileNotFoundError, the keys are still [1]",
        "after slots[2] = -7 -> [0, 0, -7, 0]",
        "after slots.clear() -> [0, 0, 0, 0]",
        "QUEUE after push 1, 2, 3: pop -> 1 2 3",
        "STACK after push 1, 2, 3: pop -> 3 2 1",
        "STACK when empty: pop -> None",
        "after packets of 60, 500, 99 and 100 bytes -> [500, 100]",
    ):
        assert line in lines
    assert any(line.startswith("a fourth key -> ") and "full" in line for line in lines)
    cpus = int(next(line for line in lines if line.startswith("possible CPUs")).split()[-1])
    assert f"sum(counters[0]) -> {cpus * (cpus + 1) // 2}" in lines


def test_a_reader_of_tasks_that_has_seen_enough_is_no_error() -> None:
    """`| head` would end in a traceback."""
    with subprocess.Popen(
        command("tasks"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        # Closed before anything is written, so that the example cannot be done already.
        process.stdout.close()
        said = process.stderr.read()
    assert said == ""
    assert process.returncode == -signal.SIGPIPE


def test_pygc_names_a_script_in_an_interpreters_place(tmp_path: Path) -> None:
    """A shim of pyenv is told as a bad ELF header, of a file that nobody named."""
    script = tmp_path / "python3"
    script.write_text("#!/usr/bin/env bash\nexec true\n")
    script.chmod(0o755)
    done = subprocess.run(
        command("pygc", "--python", str(script)), capture_output=True, text=True, timeout=TIMEOUT
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"pygc: {script} is no interpreter")
    assert "--python" in done.stderr


def test_pinned_shares_a_map_between_processes(bpffs: Path) -> None:
    """The second process would have another map, or the name would stay."""
    lines = run("pinned", "--directory", str(bpffs)).splitlines()
    by_process: dict[str, list[str]] = {}
    for line in lines:
        process, _, text = line.partition(": ")
        by_process.setdefault(process, []).append(text)
    first, second = by_process.values()
    pinned = next(text for text in first if text.startswith("pinned map"))
    assert pinned.replace("pinned", "opened", 1) in second
    assert "read question = 54" in second
    assert "read answer = 42" in first
    assert list(bpffs.iterdir()) == []


def test_pinned_says_how_to_mount_bpffs() -> None:
    """A newcomer would not learn why it cannot pin."""
    done = subprocess.run(
        without("/sys/fs/bpf", command("pinned")), capture_output=True, text=True, timeout=TIMEOUT
    )
    assert done.returncode == 1
    assert "mount -t bpf bpf /sys/fs/bpf" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.needs_config("CONFIG_KPROBES")
def test_kprobe_count_counts_calls_of_each_program(tmp_path: Path) -> None:
    """Calls would be missing, or another program's, or a name be what the terminal obeys."""
    files = [tmp_path / str(number) for number in range(5)]
    for file in files:
        file.touch()
    comm = Path("/proc/thread-self/comm")
    name = comm.read_text().rstrip("\n")
    with running("kprobe_count", "vfs_unlink", ready="counting") as tool:
        comm.write_text("unlinks\x1b-five")
        for file in files:
            file.unlink()
        comm.write_text(name)
    counts = dict(line.rsplit(maxsplit=1) for line in tool.text.splitlines()[1:])
    # A file system on top of another one calls the function a second time.
    assert int(counts[r"unlinks\x1b-five"]) in (5, 10)


@pytest.mark.needs_config("CONFIG_KPROBES")
def test_kprobe_count_knows_similar_functions() -> None:
    """A misspelled function would be an error without help."""
    assert "vfs_unlink" in run("kprobe_count", "vfs_unlnk", status=1)


def test_kprobe_count_says_that_the_kernel_has_no_kprobes() -> None:
    """On such a kernel a newcomer would not know what is wrong."""
    hide = 'mount -t tmpfs none /sys/bus/event_source/devices; exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", hide, "sh", *command("kprobe_count")],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 1
    assert "this kernel has no kprobes (CONFIG_KPROBES" in done.stderr
    assert "Traceback" not in done.stderr


def test_tracepoint_histogram_counts_values(tmp_path: Path) -> None:
    """A value would be counted as negative, zero, or in a neighbour's slot."""
    with running("tracepoint_histogram", ready="counting") as tool:
        read_end, write_end = os.pipe2(os.O_NONBLOCK)
        zeros, null = os.open("/dev/zero", os.O_RDONLY), os.open("/dev/null", os.O_RDONLY)
        for _ in range(20):
            with pytest.raises(BlockingIOError):
                os.read(read_end, 1)
            os.read(null, 1)
            os.read(zeros, 524287)
            os.read(zeros, 524288)
        for descriptor in (read_end, write_end, zeros, null):
            os.close(descriptor)
    title, *lines = tool.text.splitlines()
    assert title.startswith("syscalls:sys_exit_read ret: ")
    histogram = {}
    for line in lines:
        label, count, _ = (*line.split("|"), "")[:3]
        histogram[label.strip()] = int(count)
    for label in ("negative", "0", "262144 .. 524287", "524288 .. 1048575"):
        assert histogram[label] >= 20, tool.text
    assert sum(histogram.values()) == int(title.split()[-2])


def test_tracepoint_histogram_lists_fields() -> None:
    """Fields would be missing, or of a wrong size or sign."""
    lines = run("tracepoint_histogram", "sched:sched_switch", "--fields").splitlines()
    assert "next_pid (4 bytes, signed)" in lines
    assert not any(line.startswith(("common_", "next_comm")) for line in lines)


def test_tracepoint_histogram_knows_similar_tracepoints() -> None:
    """A misspelled tracepoint would be an error without help."""
    assert "sched:sched_switch" in run("tracepoint_histogram", "sched:sched_swich", status=1)


def test_map_frames_counts_each_process() -> None:
    """The calls of a process would be another's, or the arrays not belong together."""
    pytest.importorskip("numpy")
    with running("map_frames", "--with", "numpy", ready="counting") as output:
        for _ in range(20000):
            os.getppid()
    head, *rows = output.text.splitlines()
    assert head.startswith("numpy: ")
    counts = {int(pid): int(calls) for pid, calls in map(str.split, rows)}
    assert counts[os.getpid()] >= 20000
    assert list(counts.values()) == sorted(counts.values(), reverse=True)
