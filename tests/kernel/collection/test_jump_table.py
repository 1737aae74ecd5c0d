"""Jumps to where a table says."""

from __future__ import annotations

from ebpf.spec import CollectionSpec
from tests.objects import compiled


def test_each_entry_leads_to_its_case() -> None:
    """Slots counted from another place would end in another case, or in none."""
    with CollectionSpec.from_file(compiled("jump_table_load")).load() as objects:
        program = objects.programs["switching"]
        found = {size & 3: program.test_run(bytes(size)).return_value for size in range(64, 68)}
    assert found == {0: 10, 1: 11, 2: 12, 3: 3}
