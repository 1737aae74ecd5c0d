"""The C core by itself on the running kernel; under sanitizers where those don't take minutes."""

from __future__ import annotations

import os
from pathlib import Path

from tests import sanitizers


def test_rings_maps_and_descriptors(tmp_path: Path) -> None:
    """A real ring in both forms, map elements, and descriptors that are never 0, 1 or 2."""
    flags = () if "EBPF_VM" in os.environ else sanitizers.MEMORY
    sanitizers.run(sanitizers.build(tmp_path, flags), "kernel")
