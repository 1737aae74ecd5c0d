"""The README's examples, as a reader would paste them."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"


def example(number: int) -> str:
    text = README.read_text("utf-8")
    return str(re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[number])


def test_ten_lines_work_as_pasted(true_command: list[str]) -> None:
    """A reader whose first ten lines fail does not read on."""
    command = [sys.executable, "-c", example(0)]
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


def test_dataclass_example_works_as_pasted(bpffs: Path) -> None:
    """The pinned map has to be the same map, with the same fields, where it is opened again."""
    code = example(1).replace("/sys/fs/bpf/usage", str(bpffs / "usage"))
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert out == "{7: Usage(pid=7, name='cat', bytes=4096)}\n"
    assert not (bpffs / "usage").exists()


def test_object_example_works_as_pasted(tmp_path: Path) -> None:
    """Up to its endless loop: the names in it have to be those of the library."""
    from tests.objects import compiled

    code = "import ebpf\n" + example(2).replace("target_pid", "only_parent")
    code = code.replace("tracer.bpf.o", str(compiled("tracer"))).replace(
        "spec.load()", 'spec.load(kconfig={"CONFIG_BPF": True})'
    )
    head = code[: code.index("    for record")] + "    print(list(objects.programs))\n"
    out = subprocess.run(
        [sys.executable, "-c", head], capture_output=True, text=True, check=True
    ).stdout
    assert out == "['on_exec']\n"
