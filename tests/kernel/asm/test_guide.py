"""The blocks of the assembler's pages, one after the other, as a reader would paste them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[3] / "docs"


@pytest.mark.parametrize(("name", "count"), [("asm.md", 5), ("asm-library.md", 6)])
def test_the_guide_does_what_it_says(name: str, count: int) -> None:
    """A guide that no longer runs misleads."""
    blocks = re.findall(
        r"^```python\n(.*?)^```", (DOCS / name).read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    assert len(blocks) == count
    names: dict[str, object] = {}
    for block in blocks:
        # With assertions of its own.
        exec(compile(block, name, "exec"), names)
