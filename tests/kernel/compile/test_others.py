"""The runner that compiles and loads the programs of others, by sources of our own."""

from __future__ import annotations

from pathlib import Path

import pytest

from ebpf.compile import find_compiler
from ebpf.errors import CompileError
from tests.kernel.compile import others
from tests.objects import NoCompiler

HEAD = """\
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
char LICENSE[] SEC("license") = "GPL";
"""
# Its size is the tool's to set.
WHOLE = """\
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __type(key, int);
    __type(value, int);
} open SEC(".maps");
SEC("raw_tp") int first(void *ctx)
{
    int key = 0;
    return bpf_map_lookup_elem(&open, &key) ? 1 : 0;
}
"""
# No kernel takes a read through what may be nothing.
BAD = """\
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 1);
    __type(key, int);
    __type(value, int);
} one SEC(".maps");
SEC("raw_tp") int bad(void *ctx)
{
    int key = 0;
    return *(int *)bpf_map_lookup_elem(&one, &key);
}
"""


def test_what_is_said_of_sources(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The numbers in the guide would be of other things than it says."""
    try:
        found = find_compiler(cache=True)
    except CompileError as error:
        raise NoCompiler("any") from error
    (tmp_path / "below").mkdir()
    sources = {"whole": WHOLE, "below/part": WHOLE + BAD, "none": BAD, "broken": "int x = y;\n"}
    for name, text in sources.items():
        (tmp_path / f"{name}.bpf.c").write_text(HEAD + text)
    assert others.main([str(tmp_path)]) == 1
    said, _, table = capsys.readouterr().out.partition("\nOn Linux")
    assert table.splitlines()[2:] == [
        f"| of 4 | clang {'.'.join(map(str, found.version))} |",
        "|---|---|",
        "| compile | 3 |",
        "| load as a whole | 1 |",
        "| load, less programs that this kernel does not take | 1 |",
        "| do not load | 1 |",
    ]
    assert "3 modules made" in said
    told = [line for line in said.splitlines() if line.startswith(str(tmp_path))]
    starts = (
        "below/part.bpf.c: bad: VerifierError: ",
        "broken.bpf.c does not compile",
        "broken.bpf.c:4:9: error: ",
        "none.bpf.c: bad: VerifierError: ",
    )
    for line, start in zip(told, starts, strict=True):
        assert line.startswith(str(tmp_path / start))


def test_a_folder_without_sources(tmp_path: Path) -> None:
    """A path that is misspelt would be a success."""
    assert others.main([str(tmp_path)]) == 1
