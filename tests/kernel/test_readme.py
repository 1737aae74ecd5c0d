"""The README's examples, as a reader would paste them."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.objects import newest_clang
from tests.vm.host import cache_dir

README = Path(__file__).resolve().parents[2] / "README.md"


def example(number: int) -> str:
    text = README.read_text("utf-8")
    return str(re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[number])


def printed(
    directory: Path, code: str, happen: list[str], wanted: bytes, status: int = 0
) -> list[bytes]:
    """What `code` prints while `happen` runs again and again, up to a line that ends `wanted`."""
    command = [sys.executable, "-c", code]
    seen = threading.Event()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=directory
    ) as process:
        assert process.stderr is not None
        lines: list[bytes] = []

        def watch() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                # Other processes are seen as well; this one is ours.
                if line.endswith(wanted):
                    seen.set()

        watcher = threading.Thread(target=watch)
        watcher.start()
        # Until the example has attached, nothing is seen: go on until something is.
        while not seen.wait(0.2) and process.poll() is None:
            assert subprocess.run(happen, check=False).returncode == status
        process.send_signal(signal.SIGINT)
        errors = process.stderr.read()
        watcher.join()
    assert seen.is_set(), errors.decode()
    assert b"KeyboardInterrupt" in errors
    return lines


@pytest.mark.everywhere
def test_ten_lines_work_as_pasted(true_command: list[str], tmp_path: Path) -> None:
    """A reader whose first ten lines fail does not read on."""
    lines = printed(tmp_path, example(0), true_command, b" true\n")
    assert all(re.fullmatch(rb"\d+ .+\n", line) for line in lines), lines


def test_c_example_works_as_pasted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The C would not compile, or not do what the Python beside it expects."""
    newest_clang()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_dir() / "compile"))
    text = README.read_text("utf-8")
    (source,) = re.findall(r"^```c\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (tmp_path / "exits.bpf.c").write_text(source)
    failing = ["sh", "-c", "exit 7"]
    lines = printed(tmp_path, example(1), failing, b" sh ended with 7\n", status=7)
    # The program was told to leave out what ended with 0 or 1.
    assert all(int(line.split()[-1]) >= 2 for line in lines), lines


@pytest.mark.everywhere
def test_dataclass_example_works_as_pasted(bpffs: Path) -> None:
    """The pinned map has to be the same map, with the same fields, where it is opened again."""
    code = example(2).replace("/sys/fs/bpf/usage", str(bpffs / "usage"))
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert out == "{7: Usage(pid=7, name='cat', bytes=4096)}\n"
    assert not (bpffs / "usage").exists()
