"""Symbols, read off a file in the form of /proc/kallsyms."""

from __future__ import annotations

from pathlib import Path

import pytest

from ebpf import kallsyms
from ebpf.errors import BpfFileNotFoundError, NotSupportedError

TEXT = """\
ffffffff81000000 T _text
ffffffff81000010 T do_unlinkat
ffffffff81000020 t do_unlinkat_rest
ffffffff81000030 t helper
ffffffff81000040 t helper
ffffffff81000050 D helper
ffffffff81000060 W weak_one
ffffffff81000070 t t
ffffffff81000080 T __pfx_do_unlinkat
ffffffff81000090 T do_linkat
0000000000000000 A fixed_percpu_data
ffffffffc0000000 t helper\t[some_module]
ffffffffc0000010 T last_one\t[some_module]
"""


@pytest.fixture(autouse=True)
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kallsyms"
    path.write_text(TEXT)
    monkeypatch.setattr(kallsyms, "PATH", str(path))


def test_symbols_are_those_of_the_file() -> None:
    """With the module, without its brackets."""
    found = list(kallsyms.symbols())
    assert len(found) == 13
    assert found[1] == (0xFFFFFFFF81000010, "T", "do_unlinkat", "")
    assert found[-1] == (0xFFFFFFFFC0000010, "T", "last_one", "some_module")


@pytest.mark.parametrize(
    ("name", "addresses"),
    [
        ("do_unlinkat", [0xFFFFFFFF81000010]),
        ("helper", [0xFFFFFFFF81000030, 0xFFFFFFFF81000040, 0xFFFFFFFFC0000000]),
        ("weak_one", [0xFFFFFFFF81000060]),
        ("last_one", [0xFFFFFFFFC0000010]),
        ("t", [0xFFFFFFFF81000070]),
        ("T", []),
        ("fixed_percpu_data", []),
        ("do_unlink", []),
        ("_text", [0xFFFFFFFF81000000]),
        ("some_module", []),
    ],
)
def test_functions_are_found_by_their_whole_name(name: str, addresses: list[int]) -> None:
    """Not by a part of one, and data is no function."""
    assert kallsyms.function_addresses(name) == addresses
    assert kallsyms.addresses_of([name, "not_there"]) == ({name: addresses} if addresses else {})


def test_the_nearest_names_come_first_and_can_be_probed() -> None:
    """Padding in front of a function is listed, but is none."""
    assert kallsyms.nearest("do_unlinkta") == ["do_unlinkat", "do_linkat", "do_unlinkat_rest"]
    assert kallsyms.nearest("qqxxzz") == []


def test_without_the_list_it_is_said_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bare FileNotFoundError hides what was asked; and what only adds to an error, the error."""
    pytest.importorskip("ebpf._ffi", reason="the extension is not built", exc_type=ImportError)
    monkeypatch.setattr(kallsyms, "PATH", str(tmp_path / "nothing"))
    assert kallsyms.nearest("do_unlinkat") == []
    with pytest.raises(NotSupportedError, match="CONFIG_KALLSYMS"):
        kallsyms.function_addresses("do_unlinkat")
    monkeypatch.setattr("os.path.exists", lambda path: False)
    with pytest.raises(BpfFileNotFoundError, match="read the kernel's symbols: /proc is not mount"):
        kallsyms.function_addresses("do_unlinkat")
