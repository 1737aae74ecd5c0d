"""The runner of the public conformance suite, by cases of our own in the suite's form."""

from __future__ import annotations

from pathlib import Path

import pytest

from ebpf import ArrayMap
from tests.kernel.programs import isa_suite

SUM = """\
# The first two words of the memory, by an atomic operation on the stack.
-- asm
ldxw %r3, [%r1]
ldxw %r4, [%r1+4]
stxdw [%r10-8], %r3
lock add [%r10-8], %r4
ldxdw %r0, [%r10-8]
jne %r4, 5, exit
mov %r1, %r0
call local double
exit
double:
mov %r0, %r1
add %r0, %r0   # twice
exit
-- mem
02 00 00 00 05 00 00 00
-- result
0xe
"""
WORDS = "-- raw\n0x00000005000000b7\n0x0000000000000095\n-- result\n0x5\n"

OUTCOMES = {
    "a sum": (SUM, "passes"),
    "words": (WORDS, "passes"),
    "another result": (SUM.replace("0xe", "0xf"), "wrong: 0xe, not 0xf"),
    "a shift that the assembler refuses": (
        "-- asm\nmov %r0, 1\nlsh %r0, 64\nexit\n-- result\n0x1\n",
        "refused by the assembler: 'lsh %r0, 64'",
    ),
    "memory that is not there": (
        "-- asm\nldxw %r0, [%r1+4096]\nexit\n-- result\n0x1\n",
        "refused by the kernel: ",
    ),
    "reserved bits": (
        "-- raw\nb7 00 01 00 05 00 00 00\n95 00 00 00 00 00 00 00\n-- error\nx\n",
        "passes",
    ),
    "an error that is none": (WORDS + "-- error\nwhatever\n", "wrong: not refused"),
    "no such instruction": ("-- asm\nmuddle %r0, 1\nexit\n-- error\nx\n", "passes"),
    "a text alone": ("# nothing\n-- result\n0x0\n", "no case"),
}


@pytest.mark.parametrize("name", OUTCOMES)
def test_what_is_said_of_a_case(name: str, tmp_path: Path) -> None:
    """The counts in the guide would be of anything that did not fail."""
    text, outcome = OUTCOMES[name]
    path = tmp_path / "one.data"
    path.write_text(text)
    with ArrayMap.create(value="Q", max_entries=1) as results:
        assert isa_suite.run(path, results).startswith(outcome)


def test_the_status_of_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder without cases, or with one that is wrong, would be a success."""
    assert isa_suite.run_all(tmp_path) == 1
    (tmp_path / "right.data").write_text(WORDS)
    assert isa_suite.run_all(tmp_path) == 0
    (tmp_path / "wrong.data").write_text(WORDS.replace("0x5\n", "0x6\n"))
    assert isa_suite.run_all(tmp_path) == 1
    assert "wrong: wrong: 0x5, not 0x6" in capsys.readouterr().out
