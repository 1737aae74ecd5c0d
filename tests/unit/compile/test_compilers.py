"""Which compiler is chosen, by compilers that only pretend."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ebpf.compile.compilers import _clang, _newest, find_compiler
from ebpf.errors import CompileError
from tests.unit.compile.conftest import Fake


def without_ziglang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)


def pretended_ziglang(folder: Path) -> None:
    package = folder / "ziglang"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text("print('0.17.1')\n")


def test_the_newest_clang_that_knows_bpf_is_taken(fake: Fake) -> None:
    """An old clang, a clang built without BPF, or another program of the family would compile."""
    fake("clang", "14.0.6")
    fake("clang-9", "9.0.1")
    fake("clang-21", "21.1.0", targets="x86-64")
    fake("clang-cpp-22", "22.0.0")
    newest = fake("clang-19", "19.1.7")
    found = find_compiler()
    assert found.kind == "clang"
    assert found.command == (str(newest),)
    assert found.version == (19, 1, 7)


def test_closed_folders_of_path_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has the PATH of another user, as after su, would be told of that user's folders."""
    without_ziglang(monkeypatch)
    (tmp_path / "closed" / "bin").mkdir(parents=True)
    (tmp_path / "closed").chmod(0)
    user = os.geteuid()
    try:
        for path in ("", str(tmp_path / "closed" / "bin")):
            monkeypatch.setenv("PATH", path)
            with pytest.raises(CompileError, match="apt-get install clang"):
                find_compiler()
            # Nothing is closed to root.
            os.seteuid(user or 65534)
    finally:
        os.seteuid(user)
        (tmp_path / "closed").chmod(0o700)


def test_the_version_is_asked_not_read_off_the_name(fake: Fake) -> None:
    """Where plain clang is the newest, an older clang-14 beside it would be taken."""
    fake("clang-14", "14.0.6")
    plain = fake("clang", "22.1.0")
    assert find_compiler().command == (str(plain),)


def test_a_compiler_installed_later_is_seen(fake: Fake) -> None:
    """A notebook that got its clang after the first error would have to be restarted."""
    fake("clang", "14.0.6")
    assert find_compiler().version[0] == 14
    fake("clang", "15.0.1")
    assert find_compiler().version[0] == 15


def test_a_compiler_is_asked_once(fake: Fake, cache: Path, tmp_path: Path) -> None:
    """Each tool that starts would execute every clang of the machine before it finds in the cache
    what it compiled long ago, or go on with a compiler that was replaced."""
    told = tmp_path / "told"
    path = fake("clang", "15.0.1")
    path.write_text(path.read_text().replace("#!/bin/sh\n", f"#!/bin/sh\necho $1 >> {told}\n"))

    def found() -> tuple[int, ...]:
        _newest.cache_clear()
        _clang.cache_clear()
        return find_compiler(cache=True).version

    assert found() == found() == (15, 0, 1)
    assert told.read_text().split() == ["--version", "-print-targets"]
    assert find_compiler().version == (15, 0, 1)
    assert len(told.read_text().split()) == 4, "without the cache it is asked"
    fake("clang", "16.0.22")
    assert found() == (16, 0, 22)
    assert list((cache / "compilers").iterdir())


def test_ziglang_is_taken_where_there_is_no_clang(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`pip install 'ebpf[compile]'` would help nobody."""
    fake("clang-11", "13.0.1")
    pretended_ziglang(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = find_compiler()
    assert found.kind == "zig"
    assert found.command == (sys.executable, "-m", "ziglang", "cc")
    assert found.version == (0, 17, 1)
    assert found.target("big") == ["-target", "bpfeb-freestanding"]


def test_without_any_compiler_both_remedies_are_named(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user would not know what to install, or why the clang that is there does not do."""
    without_ziglang(monkeypatch)
    fake("clang-11", "13.0.1")
    fake("clang-15", "15.0.7", targets="x86-64")
    with pytest.raises(CompileError) as caught:
        find_compiler()
    text = str(caught.value)
    assert "apt-get install clang" in text
    assert "pip install 'ebpf[compile]'" in text
    assert "clang 13 is too old" in text
    assert "without the target bpfel" in text


def test_asking_for_a_compiler_that_is_not_there(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another compiler would be taken in silence."""
    without_ziglang(monkeypatch)
    fake("clang", "19.1.7")
    with pytest.raises(CompileError, match="'clang-7', and there is no such program"):
        find_compiler("clang-7")
    with pytest.raises(CompileError, match="ziglang is not installed"):
        find_compiler("zig")


def test_a_program_that_is_no_clang_is_refused(fake: Fake) -> None:
    """gcc would be asked to make BPF of C, and its complaints shown."""
    path = fake("cc")
    path.write_text("#!/bin/sh\necho 'cc (Debian) 12.2.0'\n")
    with pytest.raises(CompileError, match="its --version is not clang's"):
        find_compiler(path)


def test_the_version_agrees_with_the_compilers_own(clang: str) -> None:
    """The order of clangs would rest on a number that was read wrongly."""
    out = subprocess.check_output([clang, "-dumpversion"], text=True)
    assert ".".join(map(str, find_compiler(clang).version)) == out.strip()
