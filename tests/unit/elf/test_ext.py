"""Which code the records of .BTF.ext are for."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from ebpf.spec import CollectionSpec

from .conftest import Compile, Libbpf

SOURCE = """
#define SEC(name) __attribute__((section(name), used))
struct task_struct {
	int pid;
} __attribute__((preserve_access_index));

SEC("raw_tp/a") int first(unsigned long long *context)
{
	struct task_struct *task = (void *)context[0];
	return __builtin_preserve_field_info(task->pid, 0);
}
SEC("raw_tp/b") int second(unsigned long long *context)
{
	struct task_struct *task = (void *)context[0];
	return __builtin_preserve_field_info(task->pid, 0);
}
"""


def renamed(data: bytes, old: bytes, new: bytes) -> bytes:
    """The object with another name for a section, as objcopy gives it: in ELF, not in BTF."""
    assert len(old) == len(new)
    table = struct.unpack_from("<Q", data, 40)[0] + 64 * struct.unpack_from("<H", data, 62)[0]
    start, size = struct.unpack_from("<QQ", data, table + 24)
    names = data[start : start + size]
    assert old + b"\0" in names
    return data[:start] + names.replace(old + b"\0", new + b"\0") + data[start + size :]


@pytest.mark.parametrize(
    ("new", "problem"),
    [
        (b"raw_tp/a", "section 'raw_tp/a': 2 sections of code have this name"),
        (b"raw_tp/c", "section 'raw_tp/b': no code has this name"),
    ],
)
def test_relocations_that_belong_to_no_certain_code(
    compile_bpf: Compile,
    libbpf: Libbpf,
    tmp_path: Path,
    new: bytes,
    problem: str,
) -> None:
    """As in libbpf the first section of the name gets them; a program without its own reads the
    fields of another kernel, so there must be a word of it."""
    data = compile_bpf(SOURCE).read_bytes()
    spec = CollectionSpec.from_bytes(data)
    assert all(len(function.core_relocations) == 1 for function in spec.functions.values())
    path = tmp_path / "renamed.o"
    path.write_bytes(renamed(data, b"raw_tp/b", new))
    assert [row[1] for row in libbpf.open(path) if row[0] == "program"] == ["first", "second"]
    with pytest.warns(RuntimeWarning) as caught:
        spec = CollectionSpec.from_file(path)
    assert any(problem in str(warning.message) for warning in caught)
    assert {warning.filename for warning in caught} == {__file__}
    assert [key for key, one in spec.functions.items() if one.core_relocations] == ["first"]
