"""The README's example, as a reader would paste it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"


def test_ten_lines_work_as_pasted(true_command: list[str]) -> None:
    """A reader whose first ten lines fail does not read on."""
    text = README.read_text("utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    command = [sys.executable, "-c", example]
    seen = threading.Event()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        lines: list[bytes] = []

        def watch(output: list[bytes] = lines) -> None:
            assert process.stdout is not None
            for line in process.stdout:
                output.append(line)
                # Other programs are executed as well; this one is ours.
                if line.endswith(b" true\n"):
                    seen.set()

        watcher = threading.Thread(target=watch)
        watcher.start()
        # Until the example has attached, executions go unseen: go on until one is seen.
        while not seen.wait(0.2) and process.poll() is None:
            subprocess.run(true_command, check=True)
        process.send_signal(signal.SIGINT)
        errors = process.stderr.read()
        watcher.join()
    assert all(re.fullmatch(rb"\d+ .+\n", line) for line in lines), lines
    assert seen.is_set(), errors.decode()
    assert b"KeyboardInterrupt" in errors
