"""The blocks of docs/asm-library.md, one after the other, as a reader would paste them."""

from __future__ import annotations

import re
from pathlib import Path

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "asm-library.md"


def test_the_guide_does_what_it_says() -> None:
    """A guide that no longer runs misleads."""
    blocks = re.findall(
        r"^```python\n(.*?)^```", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    assert len(blocks) == 4
    names: dict[str, object] = {}
    for block in blocks:
        # With assertions of its own.
        exec(compile(block, str(GUIDE), "exec"), names)
