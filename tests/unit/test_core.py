"""The C core by itself, under sanitizers: what no test through Python can bring a ring to do."""

from __future__ import annotations

from pathlib import Path

from tests import sanitizers


def test_rings_in_memory(tmp_path: Path) -> None:
    """Busy, discarded, wrapped, longest and corrupt records; buffers that are just too small.

    The buffers have exactly the size that the core is told, so that a byte beyond is seen.
    """
    sanitizers.run(sanitizers.build(tmp_path, sanitizers.MEMORY), "memory")


def test_a_reader_and_a_writer_need_no_lock_between_them(tmp_path: Path) -> None:
    """Without acquire and release a reader sees a record before its contents."""
    sanitizers.run(sanitizers.build(tmp_path, sanitizers.THREADS), "threads")
