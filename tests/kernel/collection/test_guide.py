"""The blocks of docs/objects.md, one after the other, as a reader would paste them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.objects import compiled

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "objects.md"


def test_the_guide_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A guide that no longer runs misleads."""
    shutil.copy(compiled("rewrite"), tmp_path / "rewrite.bpf.o")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(
        r"^```python\n(.*?)^```", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    assert len(blocks) == 2
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(GUIDE), "exec"), names)
    assert capsys.readouterr().out == "{0: 1} 1\n"
