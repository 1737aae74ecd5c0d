"""The blocks of the guides in docs, one after the other, as a reader would paste them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from ebpf import Map, Program
from ebpf.maps.base import CLASS_OF
from tests.objects import compiled

DOCS = Path(__file__).resolve().parents[2] / "docs"

# What is printed stands behind it, as a comment.
PRINTED = re.compile(r"^ *print\(.*\)  # (.*)$", re.MULTILINE)


def test_the_guide_to_maps_has_every_class_and_type() -> None:
    """A reader looks for the class of a map type in the guide, and it is not there or another's."""
    table = re.findall(
        r"^\| (`\w+`.*) \| ([A-Z].*) \|$", (DOCS / "maps.md").read_text("utf-8"), re.MULTILINE
    )
    said = {
        type: name
        for names, types in table
        # "`QueueMap`, `BloomFilterMap` | QUEUE, STACK; BLOOM_FILTER"
        for name, own in zip(re.findall(r"`(\w+)`", names), types.split("; "), strict=True)
        for type in re.findall(r"\b[A-Z_]{4,}\b", own)
        if name != "Map"
    }
    assert said == {type.name: made.__name__ for type, made in CLASS_OF.items()}


@pytest.mark.parametrize("page", ["objects", "maps", "events"])
def test_the_guide_does_what_it_says(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A guide that no longer runs misleads."""
    shutil.copy(compiled("rewrite"), tmp_path / "rewrite.bpf.o")
    monkeypatch.chdir(tmp_path)
    text = (DOCS / f"{page}.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert blocks
    names: dict[str, Any] = {"__name__": "__main__"}
    try:
        for block in blocks:
            exec(compile(block, page, "exec", dont_inherit=True), names)
            assert capsys.readouterr().out.splitlines() == PRINTED.findall(block)
    finally:
        for made in names.values():
            if isinstance(made, (Map, Program)):
                made.close()
