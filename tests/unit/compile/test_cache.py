"""When an object is compiled again, and when it is not."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ebpf.compile import CompileWarning, compilers, vmlinux
from ebpf.compile import cache as stored
from ebpf.compile.dependencies import read_files
from ebpf.compile.driver import compile_object
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
    # What a test wants to happen while the compiler starts is in the file "meanwhile".
    wrapper.write_text(
        f'#!/bin/sh\ncase "$*" in *" -c "*) echo >> {log}; '
        f'[ -e {tree}/meanwhile ] && . {tree}/meanwhile;; esac\nexec {clang} "$@"\n'
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


@pytest.mark.parametrize("place", ["include_dirs", "flags", "CPATH"])
def test_a_header_that_hides_one_that_a_header_includes(
    counted: Counted, tree: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Quotes look beside the header that has them first, wherever that was found."""
    below = tree / "second" / "lib"
    below.mkdir()
    (below / "outer.h").write_text('#include "value.h"\n')
    options: dict[str, object] = {"include_dirs": [tree / "second"]}
    if place == "flags":
        options = {"include_dirs": [], "flags": ["-I", str(tree / "second")]}
    elif place == "CPATH":
        options = {"include_dirs": []}
        monkeypatch.setenv("CPATH", f"{tree / 'first'}{os.pathsep}{tree / 'second'}")
    source = '#include "lib/outer.h"\nint value = VALUE;\n'
    assert counted(1, source, **options)
    assert not counted(1, source, **options)
    (below / "value.h").write_text("#define VALUE 4\n")
    assert counted(4, source, **options)


def test_directories_of_flags_and_the_environment(
    counted: Counted, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A header that comes to be found there first, or another list of directories, would count
    for nothing."""
    flags = [f"-isystem{tree / 'first'}", "-idirafter", str(tree / "second")]
    assert counted(1, include_dirs=[], flags=flags)
    assert not counted(1, include_dirs=[], flags=flags)
    (tree / "first" / "value.h").write_text("#define VALUE 5\n")
    assert counted(5, include_dirs=[], flags=flags)
    monkeypatch.setenv("CPATH", str(tree / "second"))
    assert counted(1, include_dirs=[])
    monkeypatch.setenv("CPATH", str(tree / "first"))
    assert counted(5, include_dirs=[])


def test_flags_that_bring_headers_in_unknown_ways(counted: Counted, tree: Path) -> None:
    """What they read would not be watched."""
    flags = ["-Xclang", "-I", "-Xclang", str(tree / "second")]
    assert counted(1, include_dirs=[], flags=flags)
    assert counted(1, include_dirs=[], flags=flags)


@pytest.mark.parametrize("changed", ["source", "header"])
def test_a_file_that_changes_while_it_is_compiled(
    counted: Counted, tree: Path, changed: str
) -> None:
    """What was made of the new text would be kept as that of the old one, even if the new file
    claims to be older than everything."""
    source, header = tree / "one.bpf.c", tree / "second" / "value.h"
    source.write_text(SOURCE)
    file, text = {
        "source": (source, "int value = 2;\n"),
        "header": (header, "#define VALUE 2\n"),
    }[changed]
    before = file.read_text()
    (tree / "new").write_text(text)
    (tree / "meanwhile").write_text(f"touch -d 2001-01-01 {tree}/new; mv {tree}/new {file}\n")
    assert counted(2, source)
    (tree / "meanwhile").unlink()
    assert counted(2, source), "it was kept"
    file.write_text(before)
    assert counted(1, source)


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


@pytest.mark.parametrize("kind", ["*.o", "*.json", "compilers/*"])
@pytest.mark.parametrize("left", [0, 20])
def test_a_damaged_file_is_made_again(counted: Counted, cache: Path, kind: str, left: int) -> None:
    """After a full disk or a loss of power the tool would fail until somebody removes the cache."""
    assert counted(1)
    for path in cache.rglob(kind):
        path.write_bytes(path.read_bytes()[:left])
    # What a new process does not know.
    compilers._clang.cache_clear()
    assert counted(1) == (kind != "compilers/*")
    assert not counted(1)
    for path in cache.rglob(kind):
        path.unlink()
    compilers._clang.cache_clear()
    assert counted(1) == (kind != "compilers/*")


@pytest.mark.parametrize("left", [0, 120, -1])
def test_a_damaged_vmlinux_h_is_made_again(
    counted: Counted, cache: Path, left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every program that includes it would fail, or be compiled with the types that are left."""
    text = "typedef int number;\n" * 10
    monkeypatch.setattr(vmlinux, "_made", lambda: text)
    source = '#include "vmlinux.h"\nnumber value = 1;\n'
    assert counted(1, source)
    (path,) = cache.rglob("vmlinux.h")
    whole = path.read_bytes()
    assert whole.endswith(text.encode())
    path.write_bytes(whole[:left])
    assert counted(1, source)
    assert path.read_bytes() == whole
    assert not counted(1, source)
    path.write_bytes(whole[:left])
    assert vmlinux.vmlinux_text().encode() == path.read_bytes() == whole


def test_a_damaged_vmlinux_h_that_cannot_be_made_again(
    clang: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program would not compile while the disk is full."""
    monkeypatch.setattr(vmlinux, "_made", lambda: "typedef int number;\n")
    path = Path(vmlinux.vmlinux_path())
    path.parent.mkdir(parents=True)
    path.touch()

    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(vmlinux, "write_atomically", full)
    with pytest.warns(CompileWarning, match=r"vmlinux\.h cannot be written there"):
        made = compile_object('#include "vmlinux.h"\nnumber value = 1;', compiler=clang)
    assert of_value(made) == 1


def test_sets_of_headers_do_not_pile_up(cache: Path) -> None:
    """A header that changes with every build would fill the disk."""
    for number in range(40):
        made = stored.Compiled(b"object %d" % number, "")
        stored.store("ab" * 32, made, {}, [f"/nowhere/{number}"], "")
    assert len(list(cache.rglob("*.json"))) == 16
    assert len(list(cache.rglob("*.o"))) == 16
    assert stored.find("ab" * 32, "") == made


def test_sources_that_nobody_compiles_any_more(cache: Path) -> None:
    """Each edit of a source would stay for ever, or one that is in use be lost."""
    made = stored.Compiled(b"object", "")
    keys = ["aa" * 32, "bb" * 32, "cc" * 32]
    for key in keys:
        stored.store(key, made, {}, [], "")
    old = time.time() - 31 * 86400
    for path in (cache / "objects").rglob("*"):
        os.utime(path, (old, old))
    assert stored.find(keys[0], "") == made
    stored.store(keys[2], made, {}, [], "")
    assert [stored.find(key, "") for key in keys] == [made, None, made]


def test_an_object_with_another_kernels_vmlinux_does_not_count(tmp_path: Path) -> None:
    """What was compiled with an older kernel's types would be used on after an update."""
    header = tmp_path / "vmlinux.h"
    header.touch()
    digest = stored.digest(b"")
    made = stored.Compiled(b"object", "")
    stored.store("cd" * 32, made, {str(header): digest}, [], str(header))
    assert stored.find("cd" * 32, str(header)) == made
    assert stored.find("cd" * 32, "/elsewhere") is None


@pytest.mark.parametrize("kind", ["a file", "another user's", "root's in a user's", "none"])
def test_a_cache_that_cannot_be_used(
    kind: str, clang: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service without a home would see an error, though its program compiles; root would use
    what another user may have written, or the user find files that only root reads."""
    base = tmp_path / "cache"
    monkeypatch.setattr("ebpf.compile.driver.vmlinux_text", lambda: "typedef int number;")
    if kind == "none":
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.delenv("HOME", raising=False)
        monkeypatch.setattr("pwd.getpwuid", dict[int, object]().__getitem__)
    elif kind == "a file":
        base.touch()
    else:
        base.mkdir()
        folder = base if kind == "root's in a user's" else base / "ebpf"
        folder.mkdir(exist_ok=True)
        if os.geteuid():
            monkeypatch.setattr(os, "geteuid", lambda: 0)
        else:
            os.chown(folder, 12345, 12345)
    for _ in range(2):
        with pytest.warns(CompileWarning, match=r"XDG_CACHE_HOME .* or cache=False"):
            made = compile_object('#include "vmlinux.h"\nnumber value = 1;', compiler=clang)
        assert of_value(made) == 1
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path != base]
    assert of_value(compile_object("int value = 1;", compiler=clang, cache=False)) == 1


def test_a_cache_that_cannot_be_written(clang: str, cache: Path) -> None:
    """A read-only image or a full disk would stop the tool, or cost it time without a word."""
    cache.mkdir(parents=True)
    (cache / "objects").touch()
    with pytest.warns(CompileWarning, match=r"will be compiled each time.*objects.*XDG_CACHE"):
        assert of_value(compile_object("int value = 1;", compiler=clang)) == 1


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
        "sys.stdout.buffer.write(b'.'); sys.stdout.flush(); sys.stdin.read()\n"
        f"data = compile_object('int value = 9;', compiler={clang!r})\n"
        "sys.stdout.buffer.write(data)"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    running = [subprocess.Popen([sys.executable, "-c", code], **pipes) for _ in range(4)]
    # All are ready, and all are let go before one is waited for.
    assert [process.stdout.read(1) for process in running if process.stdout] == [b"."] * 4
    for process in running:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    outputs = [process.communicate()[0] for process in running]
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
    assert read_files(str(listed)) == [f"{here}/a.c", f"{here}/x y/b.h", "/c$.h"]
