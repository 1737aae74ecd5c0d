"""python -m tests.vm [--kernel NAME]... [options] -- COMMAND ARGS...

Runs COMMAND as root on a Debian kernel in a virtual machine, in the root of this checkout. The
guest sees the host's file system: the same interpreter and virtual environment are there. What
it writes to it is lost; files to keep go to $EBPF_VM_OUTPUT (with --output). $EBPF_VM holds the
kernel's name in the guest, $EBPF_KERNEL_CONFIG the file with its options.

exit status:
  0..255  the command's own, with one kernel (the closing line on standard error says which)
  1       with several kernels: one of them failed; the closing table says which and how
  124     the command did not end in time (a hung guest included)
  125     the harness failed: a program or package is missing, no archive is known, ...
  126     the guest died: a panic, or it never came up (that is tried twice)
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import IO

from . import arm64, guest, kernels
from .guest import EXIT_HARNESS, Job, Outcome, Root
from .host import HarnessError, check_path, require, say
from .kernels import KERNELS, Kernel

ARCH_KERNELS = {"amd64": tuple(KERNELS), "arm64": (arm64.KERNEL,)}


def parse_arguments(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The options, and the command after ``--``."""
    options, command = list(argv), []
    if "--" in options:
        cut = options.index("--")
        options, command = options[:cut], options[cut + 1 :]
    summary, _, epilog = (__doc__ or "").partition("exit status:")
    parser = argparse.ArgumentParser(
        prog="python -m tests.vm",
        usage=summary.splitlines()[0],
        description=summary.split("\n", 1)[1],
        epilog=f"exit status:{epilog}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--arch", choices=sorted(ARCH_KERNELS), default="amd64")
    add("--kernel", action="append", metavar="NAME", help=f"{', '.join(KERNELS)} or all")
    add("--prepare", action="store_true", help="only download kernels into the cache")
    add("--refresh", action="store_true", help="look for newer kernels than the cached ones")
    add("--timeout", type=float, default=Job.timeout, metavar="S", help="of the command, seconds")
    add("--output", type=Path, metavar="DIR", help="receives $EBPF_VM_OUTPUT and serial.log")
    add("--env", action="append", default=[], metavar="NAME[=VALUE]", help="pass on to the guest")
    add("--jobs", type=int, default=2, metavar="N", help="guests side by side (2)")
    add("--cpus", type=int, default=Job.cpus, metavar="N", help="of each guest (2)")
    add("--memory", default=Job.memory, metavar="SIZE", help="of each guest (2G)")
    add("--verbose", action="store_true", help="print the serial log while the guest runs")
    arguments = parser.parse_args(options)
    try:
        arguments.kernel = chosen_kernels(arguments.arch, arguments.kernel, arguments.prepare)
        arguments.env = dict(environment_entry(entry, os.environ) for entry in arguments.env)
    except ValueError as error:
        parser.error(str(error))
    if arguments.prepare == bool(command):
        parser.error("give either --prepare or a command after --")
    if arguments.jobs < 1 or arguments.cpus < 1 or arguments.timeout <= 0:
        parser.error("--jobs, --cpus and --timeout are greater than zero")
    return arguments, command


def chosen_kernels(arch: str, names: Sequence[str] | None, prepare: bool) -> list[str]:
    """The kernels that ``--kernel`` asks for, once each, in the order of the release."""
    available = ARCH_KERNELS[arch]
    if not names and (prepare or len(available) == 1):
        return list(available)
    if not names:
        raise ValueError(f"--kernel is missing: {', '.join(available)} or all")
    if unknown := sorted(set(names) - {*available, "all"}):
        raise ValueError(
            f"--kernel: no {arch} kernel is called {', '.join(unknown)}; "
            f"there are {', '.join(available)} and all"
        )
    return [name for name in available if name in names or "all" in names]


def environment_entry(entry: str, host: os._Environ[str] | dict[str, str]) -> tuple[str, str]:
    """``NAME=VALUE`` as a pair; ``NAME`` alone takes the value that the host has."""
    name, equals, value = entry.partition("=")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(f"--env: {name!r} is no name of an environment variable")
    if not equals:
        if name not in host:
            raise ValueError(f"--env: {name} is not set here; use {name}=VALUE")
        value = host[name]
    return name, value


def run_one(kernel: Kernel, job: Job, root: Root, verbose: bool) -> int:
    """Run on one kernel, the output passed on as it comes."""
    sys.stdout.flush()
    outcome = guest.run(kernel, job, sys.stdout.buffer, root=root, verbose=verbose)
    report(kernel, outcome)
    return outcome.exit_status


def run_several(chosen: Sequence[Kernel], job: Job, jobs: int, verbose: bool) -> int:
    """Run on several kernels, at most ``jobs`` at a time, each output printed in one piece."""
    stop = threading.Event()
    printing = threading.Lock()
    results: dict[str, str] = {}
    failed = False

    def run(kernel: Kernel) -> None:
        nonlocal failed
        name = kernel.spec.name
        output = job.output and job.output / name
        with tempfile.TemporaryFile() as sink:
            try:
                outcome = guest.run(
                    kernel, replace(job, output=output), sink, verbose=verbose, stop=stop
                )
            except HarnessError as error:
                if stop.is_set():
                    return
                outcome = Outcome(guest.Verdict.HARNESS, detail=str(error))
            with printing:
                print(f"\n===== kernel {name} ({kernel.release}) =====", flush=True)
                copy_to_stdout(sink)
                report(kernel, outcome)
                results[name] = f"{outcome.exit_status:3}  {outcome}"
                failed = failed or outcome.exit_status != 0

    with ThreadPoolExecutor(jobs) as pool:
        try:
            # The newest first: it has the most to do, as fewest tests are too old for it.
            for future in [pool.submit(run, kernel) for kernel in reversed(chosen)]:
                future.result()
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    print("\nkernel  exit status")
    for kernel in chosen:
        print(f"{kernel.spec.name:6}  {results[kernel.spec.name]}")
    return int(failed)


def copy_to_stdout(file: IO[bytes]) -> None:
    """Print all of a file."""
    file.seek(0)
    while data := file.read(1 << 20):
        sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def report(kernel: Kernel, outcome: Outcome) -> None:
    """Say how a run ended, with the serial log's end where the guest's fate is the question."""
    name = kernel.spec.name
    if outcome.serial_tail and outcome.verdict is not guest.Verdict.FINISHED:
        say(f"{name}: end of the serial log:\n{outcome.serial_tail}\n")
    say(
        f"{name}: {outcome} (boot {outcome.boot_seconds:.0f} s, "
        f"command {outcome.command_seconds:.0f} s)"
    )


def execute(arguments: argparse.Namespace, command: list[str]) -> int:
    """Do what the command line asks for."""
    if not arguments.prepare:
        require(guest.PROGRAMS[arguments.arch])
    chosen = [
        kernels.prepare(name, arguments.arch, refresh=arguments.refresh)
        for name in arguments.kernel
    ]
    root = arm64.root() if arguments.arch == "arm64" else Root()
    if arguments.prepare:
        for kernel in chosen:
            print(kernel.image)
        return 0
    output = arguments.output and arguments.output.absolute()
    if output is not None:
        check_path(output, "--output")
        output.mkdir(parents=True, exist_ok=True)
    job = Job(command, arguments.env, arguments.timeout, output, arguments.cpus, arguments.memory)
    if len(chosen) == 1:
        return run_one(chosen[0], job, root, arguments.verbose)
    return run_several(chosen, job, arguments.jobs, arguments.verbose)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Turn SIGTERM into what Ctrl-C does, so that the guests end too."""
    raise KeyboardInterrupt


def main(argv: Sequence[str]) -> int:
    """Run the command line; the exit status."""
    arguments, command = parse_arguments(argv)
    signal.signal(signal.SIGTERM, interrupt)
    try:
        return execute(arguments, command)
    except HarnessError as error:
        say(str(error))
        return EXIT_HARNESS
    except KeyboardInterrupt:
        say("interrupted")
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
