"""The cells of docs/compile.md, executed as a notebook does."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import ebpf
from ebpf.compile import find_compiler
from ebpf.errors import CompileError
from tests.objects import NoCompiler

GUIDE = Path(__file__).parents[3] / "docs" / "compile.md"


def test_the_cells_of_the_guide(true_command: list[str]) -> None:
    """A reader's first cell would fail, or the map below it stay empty."""
    try:
        find_compiler()
    except CompileError as error:
        raise NoCompiler("any") from error
    (text,) = re.findall(
        r"^## In a notebook\n.*?^```python\n(.*?)^```", GUIDE.read_text(), re.M | re.S
    )
    names: dict[str, Any] = {"ebpf": ebpf}
    exec(text, names)
    objects = names["objects"]
    try:
        with subprocess.Popen(true_command) as process:
            process.wait()
        executions = objects.maps["executions"]
        assert executions[process.pid] >= 1
        assert f"<td>{process.pid}</td>" in executions._repr_html_() or len(executions) > 20
    finally:
        objects.close()
