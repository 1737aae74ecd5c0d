"""Running an example as a user runs it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.objects import EXAMPLES

# Only against hanging: an emulated machine that has to share its CPU takes a minute for what a real
# one does in a second.
TIMEOUT = 900
TRUE = shutil.which("true") or "true"

Event = dict[str, Any]


def command(name: str, *arguments: str) -> list[str]:
    # Warnings are errors: an example must not leave anything open.
    path = name if name.endswith(".py") else str(EXAMPLES / f"{name}.py")
    return [sys.executable, "-W", "error", "-X", "faulthandler", path, *arguments]


def run(name: str, *arguments: str, status: int = 0) -> str:
    """Run an example to its end: what it printed, after checking that it ended as it should."""
    done = subprocess.run(
        command(name, *arguments), capture_output=True, text=True, timeout=TIMEOUT
    )
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    return done.stdout if status == 0 else done.stderr


def without(mount_point: str, arguments: list[str]) -> list[str]:
    """A command that runs with nothing mounted at `mount_point`."""
    unmount = f'umount -l {mount_point}; exec "$@"'
    return ["unshare", "--mount", "sh", "-c", unmount, "sh", *arguments]


def ended(process: subprocess.Popen[str]) -> int:
    """The exit status of an example that was told to end; of one that does not, where it is."""
    try:
        return process.wait(TIMEOUT / 3)
    except subprocess.TimeoutExpired:
        assert process.stderr is not None
        process.send_signal(signal.SIGABRT)
        raise AssertionError(f"it does not end: {process.stderr.read()}") from None


@dataclass
class Output:
    """What an example printed, once it has ended."""

    process: subprocess.Popen[str]
    text: str = ""


@contextmanager
def running(name: str, *arguments: str, ready: str, stop: int = signal.SIGINT) -> Iterator[Output]:
    """An example that runs while the block does, and then ends cleanly by the signal `stop`."""
    with tempfile.TemporaryFile("w+") as file:
        with subprocess.Popen(
            command(name, *arguments), stdout=file, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            output = Output(process)
            try:
                line = process.stderr.readline()
                assert ready in line, line + process.stderr.read()
                yield output
                process.send_signal(stop)
                assert ended(process) == 0
                assert process.stderr.read().strip() == ""
            finally:
                process.kill()
        file.seek(0)
        output.text = file.read()


def parse(output: str) -> list[Event]:
    return [json.loads(line) for line in output.splitlines()]
