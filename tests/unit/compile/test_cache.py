"""When an object is compiled again, and when it is not."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ebpf.compile import cache as stored
from ebpf.compile.driver import _dependencies, compile_object
from ebpf.errors import CompileError

SOURCE = '#include "value.h"\nint value = VALUE;\n'
Counted = Callable[..., bool]


def of_value(data: bytes) -> int:
    from ebpf import CollectionSpec

    spec = CollectionSpec.from_bytes(data)
    value = spec.variables["value"].value
    assert isinstance(value, int)
    return value


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two directories for headers, the second with value.h."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    (tmp_path / "second" / "value.h").write_text("#define VALUE 1\n")
    return tmp_path


@pytest.fixture
def counted(tree: Path, clang: str) -> Counted:
    """Compiles, and says whether a compiler was executed for it."""
    wrapper = tree / "clang-99"
    log = tree / "log"
    wrapper.write_text(
        f'#!/bin/sh\ncase "$*" in *" -c "*) echo >> {log};; esac\nexec {clang} "$@"\n'
    )
    wrapper.chmod(0o755)

    def compile(value: int, source: str | Path = SOURCE, **options: object) -> bool:
        before = log.read_text() if log.exists() else ""
        options = {"include_dirs": [tree / "first", tree / "second"], **options}
        assert of_value(compile_object(source, compiler=wrapper, **options)) == value  # type: ignore[arg-type]
        return (log.read_text() if log.exists() else "") != before

    return compile


def test_the_second_time_nothing_is_executed(counted: Counted) -> None:
    """Every start of a tool would cost a compilation, or cache=False would not compile."""
    assert counted(1)
    assert not counted(1)
    assert counted(1, cache=False)


def test_a_changed_header_counts_and_the_old_one_again(counted: Counted, tree: Path) -> None:
    """A program would be loaded that is not the one in the files."""
    header = tree / "second" / "value.h"
    assert counted(1)
    header.write_text("#define VALUE 2\n")
    assert counted(2)
    header.write_text("#define VALUE 1\n")
    assert not counted(1)
    header.unlink()
    with pytest.raises(CompileError, match=r"value\.h"):
        counted(1)


def test_a_header_that_comes_to_hide_another(counted: Counted, tree: Path) -> None:
    """The files that were read are as they were, and the compiler would read another one."""
    assert counted(1)
    (tree / "first" / "value.h").write_text("#define VALUE 3\n")
    assert counted(3)


def test_options_and_source_count(counted: Counted, tree: Path) -> None:
    """An object would be given for another source, instruction set or macro."""
    plain = "int value = VALUE;\n"
    assert counted(7, plain, defines={"VALUE": 7})
    assert counted(8, plain, defines={"VALUE": 8})
    assert counted(8, plain, flags=["-DVALUE=8"])
    assert counted(8, plain, defines={"VALUE": 8}, cpu="v2")
    assert counted(8, plain, defines={"VALUE": 8}, byte_order="big")
    assert counted(8, plain + "\n", defines={"VALUE": 8})
    assert not counted(7, plain, defines={"VALUE": 7})
    file = tree / "second" / "plain.bpf.c"
    file.write_text(SOURCE)
    assert counted(1, file)
    assert not counted(1, file)


def test_another_build_of_the_compiler_counts(counted: Counted, tree: Path) -> None:
    """After an upgrade the objects of the old compiler would go on."""
    assert counted(1)
    with (tree / "clang-99").open("a") as file:
        file.write("# another build\n")
    assert counted(1)


def test_a_damaged_object_is_made_again(counted: Counted, cache: Path) -> None:
    """After a full disk the tool would fail until somebody removes the cache."""
    assert counted(1)
    (made,) = cache.rglob("*.o")
    made.write_bytes(made.read_bytes()[:-100])
    assert counted(1)
    assert not counted(1)
    made.unlink()
    assert counted(1)


def test_sets_of_headers_do_not_pile_up(cache: Path) -> None:
    """A header that changes with every build would fill the disk."""
    made = stored.Compiled(b"object", "")
    for number in range(40):
        stored.store("ab" * 32, made, [], [f"/nowhere/{number}"], "")
    assert len(list(cache.rglob("*.json"))) == 16
    assert stored.find("ab" * 32, "") == made


def test_an_object_with_another_kernels_vmlinux_does_not_count() -> None:
    """What was compiled with an older kernel's types would be used on after an update."""
    made = stored.Compiled(b"object", "")
    stored.store("cd" * 32, made, [__file__, "/nowhere"], [], "/nowhere")
    assert stored.find("cd" * 32, "/nowhere") == made
    assert stored.find("cd" * 32, "/elsewhere") is None


def test_a_cache_that_cannot_be_written(
    clang: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service without a home would see an error that does not say what helps."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(CompileError, match=r"XDG_CACHE_HOME .* or cache=False"):
        compile_object("int value = 1;", compiler=clang)
    assert of_value(compile_object("int value = 1;", compiler=clang, cache=False)) == 1


def test_a_relative_cache_folder_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """The XDG specification says so; objects would lie about in working directories."""
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert stored.cache_folder() == Path("/home/somebody/.cache/ebpf")


def test_threads_that_compile_the_same_and_others(counted: Counted, cache: Path) -> None:
    """One would read what another has half written, or get another's object."""
    failed: list[BaseException] = []
    start = threading.Barrier(8)

    def work(number: int) -> None:
        try:
            start.wait()
            for value in (5, number, 5):
                counted(value, "int value = VALUE;\n", defines={"VALUE": value})
        except BaseException as error:  # noqa: BLE001 (told to the test's own thread)
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert not list(cache.rglob(".*"))


def test_processes_that_compile_the_same(clang: str, cache: Path) -> None:
    """Two tools that start together would break each other's cache."""
    code = (
        "import sys; from ebpf.compile import compile_object\n"
        "sys.stdin.read(1)\n"
        f"data = compile_object('int value = 9;', compiler={clang!r})\n"
        "sys.stdout.buffer.write(data)"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    running = [subprocess.Popen([sys.executable, "-c", code], **pipes) for _ in range(4)]
    outputs = [process.communicate(b"x")[0] for process in running]
    assert [process.returncode for process in running] == [0] * 4
    assert [of_value(data) for data in outputs] == [9] * 4
    assert len(list(cache.rglob("*.o"))) == 1
    assert not list(cache.rglob(".*"))


def test_names_of_headers_with_blanks_and_dollars(
    clang: str, tmp_path: Path, counted: Counted
) -> None:
    """A header with such a name would not be watched, or another one be."""
    folder = tmp_path / "a b#c$d"
    folder.mkdir()
    header = folder / "value.h"
    header.write_text("#define VALUE 4\n")
    assert counted(4, include_dirs=[folder])
    assert not counted(4, include_dirs=[folder])
    header.write_text("#define VALUE 6\n")
    assert counted(6, include_dirs=[folder])
    listed = tmp_path / "rule"
    listed.write_text("made: a.c \\\n  x\\ y/b.h \\\n  /c$$.h\n")
    here = os.getcwd()
    assert _dependencies(str(listed)) == [f"{here}/a.c", f"{here}/x y/b.h", "/c$.h"]
