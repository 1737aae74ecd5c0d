"""The C core by itself on the running kernel, under sanitizers."""

from __future__ import annotations

from pathlib import Path

from tests import sanitizers


def test_rings_maps_and_descriptors(tmp_path: Path) -> None:
    """A real ring in both forms, map elements, and descriptors that are never 0, 1 or 2."""
    sanitizers.run(sanitizers.build(tmp_path, sanitizers.MEMORY), "kernel")
