"""Addresses to names: of real stacks, of processes in every state, and of the kernel."""

from __future__ import annotations

import ctypes
import gc
import lzma
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ebpf import ArrayMap, BpfPermissionError, ProgramType, StackTraceMap, kallsyms
from ebpf.asm import (
    R0,
    R1,
    R2,
    R3,
    R6,
    R7,
    R10,
    Label,
    add,
    call,
    jeq,
    jne,
    jslt,
    ld_map_fd,
    mov,
    rsh,
    stw,
    stxdw,
)
from ebpf.symbols import FileSymbols, Frame, KernelSymbols, ProcessSymbols, Symbolizer
from tests.binaries import built
from tests.kernel.samples import CLONE, CLONED, PASS, Forked, load

SOURCE = r"""
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

__attribute__((noinline)) static long deepest(void)
{
	long child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	if (!child)
		_exit(0);
	waitpid(-1, NULL, 0);
	return child;
}

__attribute__((noinline)) static long middle_part(void) { return deepest() + 1; }
__attribute__((noinline)) long outer_part(void) { return middle_part() + 1; }

int main(int argc, char **argv)
{
	char line[64];

	printf("%p %p %p\n", (void *)outer_part, (void *)middle_part, (void *)main);
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		if (argc > 1)
			printf("%p\n", dlsym(dlopen(argv[1], RTLD_NOW), "loaded_later"));
		else
			printf("%ld\n", outer_part());
		fflush(stdout);
	}
	return 0;
}
"""


def compile_c(path: Path, source: str, *options: str) -> Path:
    text = path.with_suffix(".c")
    text.write_text(source)
    frames = ["-O1", "-g0", "-fno-omit-frame-pointer", "-fno-optimize-sibling-calls"]
    subprocess.run(["cc", *frames, *options, "-o", path, text, "-ldl"], check=True)
    return path


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_c(tmp_path_factory.mktemp("program") / "traced", SOURCE, "-Wl,--build-id")


class Running:
    """The program, the addresses of three of its functions, and a way to make it do something."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.pid = process.pid
        self.functions = [int(word, 16) for word in self.line().split()]

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def act(self) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.line()


@contextmanager
def running(path: Path, *arguments: str) -> Iterator[Running]:
    with subprocess.Popen(
        [str(path), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Running(process)
        assert process.stdin is not None
        process.stdin.close()


def named(frames: list[Frame]) -> list[tuple[str | None, int]]:
    return [(frame.name, frame.offset) for frame in frames]


EXPECTED: list[tuple[str | None, int]] = [("outer_part", 0), ("middle_part", 0), ("main", 0)]


# ---- real stacks ----------------------------------------------------------------------------

USER_STACK = 1 << 8


def keep_stack(pid: int, stacks: Any, ids: Any, flags: int) -> list[Any]:
    """A program that keeps the stack of `pid` in `stacks`, and its id plus 1 in ids[0]."""
    return [
        mov(R6, R1),
        call("get_current_pid_tgid"),
        rsh(R0, 32),
        jne(R0, pid, "end"),
        mov(R1, R6),
        ld_map_fd(R2, stacks),
        mov(R3, flags),
        call("get_stackid"),
        jslt(R0, 0, "end"),
        add(R0, 1),
        mov(R7, R0),
        stw(R10 - 4, 0),
        ld_map_fd(R1, ids),
        mov(R2, R10),
        add(R2, -4),
        call("map_lookup_elem"),
        jeq(R0, 0, "end"),
        stxdw(R0 + 0, R7),
        Label("end"),
        *PASS,
    ]


def stack_of(traced: Running, flags: int) -> list[int]:
    """The stack with which the process clones itself."""
    with (
        StackTraceMap.create(max_entries=1024) as stacks,
        ArrayMap.create(value="Q", max_entries=1) as ids,
        load(ProgramType.RAW_TRACEPOINT, keep_stack(traced.pid, stacks, ids, flags)) as tracer,
    ):
        with tracer.attach_raw_tracepoint(CLONED[1]):
            traced.act()
        assert ids[0]
        return list(stacks[ids[0] - 1])


def test_a_stack_of_a_process_has_the_names_of_its_functions(program: Path) -> None:
    """From a map of stacks, where zeros follow the last frame."""
    with running(program) as traced:
        frames = Symbolizer().process(traced.pid, stack_of(traced, USER_STACK))
    # The function that calls a leaf without a frame is not seen by frame pointers.
    names = [frame.name for frame in frames]
    assert names[0] == "syscall"
    at = names.index("middle_part")
    assert names[at : at + 3] == ["middle_part", "outer_part", "main"]
    assert [frame.module for frame in frames[at : at + 3]] == [str(program)] * 3
    assert all(frame.offset for frame in frames)
    assert "libc" in frames[0].module or "musl" in frames[0].module
    assert str(frames[at]) == f"middle_part+{frames[at].offset:#x} ({program})"


def test_a_stack_of_the_kernel_has_the_names_of_its_functions(program: Path) -> None:
    with running(program) as traced:
        frames = Symbolizer().kernel(stack_of(traced, 0))
    names = [frame.name for frame in frames]
    assert CLONE in names
    assert {frame.module for frame in frames if frame.name == CLONE} == {"[kernel]"}
    assert 0 not in [frame.address for frame in frames]


def test_many_stacks_at_once(program: Path) -> None:
    """Of several processes and the kernel, each address resolved where it belongs: of the first as
    it is, of callers in front of where the call returns to."""
    known = kallsyms.function_addresses(CLONE)[0]
    with running(program) as one, running(program) as two:
        outer, middle, main = one.functions
        stacks: list[tuple[int | None, list[int]]] = [
            (one.pid, [outer, middle + 1, main + 1, 0, 0]),
            (None, [known, known + 1]),
            (two.pid, [two.functions[2], two.functions[1] + 4, two.functions[0] + 4]),
            (one.pid, [outer + 1, outer + 1, outer + 1]),
        ]
        resolved = Symbolizer().stacks(stacks)
    assert [named(frames) for frames in resolved] == [
        [("outer_part", 0), ("middle_part", 1), ("main", 1)],
        [(CLONE, 0), (CLONE, 1)],
        [("main", 0), ("middle_part", 4), ("outer_part", 4)],
        [("outer_part", 1)] * 3,
    ]
    assert [[frame.address for frame in frames] for frames in resolved] == [
        [address for address in addresses if address] for _, addresses in stacks
    ]


NORETURN = r"""
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static jmp_buf back;

__attribute__((noinline, noreturn)) static void leave(void)
{
	if (!syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0))
		_exit(0);
	waitpid(-1, NULL, 0);
	longjmp(back, 1);
}

__attribute__((noinline)) void gives_up(void) { leave(); }
__attribute__((noinline)) int behind_it(int n) { return n * 7; }

int main(void)
{
	printf("%p %p %p\n", (void *)gives_up, (void *)behind_it, (void *)main);
	fflush(stdout);
	while (getchar() != EOF) {
		if (!setjmp(back))
			gives_up();
		printf("%d\n", behind_it(6));
		fflush(stdout);
	}
	return 0;
}
"""


def test_a_caller_of_what_does_not_return(tmp_path: Path) -> None:
    """The call is its last instruction: it would be called as the function behind it."""
    options = ["-falign-functions=1", "-fno-toplevel-reorder"]
    path = compile_c(tmp_path / "gives_up", NORETURN, *options)
    with running(path) as traced:
        stack = stack_of(traced, USER_STACK)
        gives_up, behind_it, _ = traced.functions
        assert behind_it in stack
        frames = Symbolizer().process(traced.pid, stack)
        at = stack.index(behind_it)
        assert frames[at] == Frame(behind_it, "gives_up", behind_it - gives_up, str(path))
        assert frames[at + 1].name == "main"
        as_it_is = Symbolizer().process(traced.pid, [1, behind_it], stack=False)
        assert named(as_it_is) == [(None, 0), ("behind_it", 0)]


# ---- processes ------------------------------------------------------------------------------


def test_every_function_of_the_c_library_in_this_process() -> None:
    """Against the dynamic loader: a base that is wrong by a page gives the wrong neighbour."""
    # By its name: an executable without PIE has entries of its own for what it takes from there.
    libc = ctypes.CDLL("libc.so.6")
    symbols = ProcessSymbols(os.getpid())
    for name in ("malloc", "printf", "getpid", "qsort"):
        address = ctypes.cast(getattr(libc, name), ctypes.c_void_p).value or 0
        (frame,) = symbols.resolve([address])
        (other,) = symbols.resolve([address + 1])
        # One of the names that the function has.
        assert (frame.offset, other.offset) == (0, 1)
        assert frame.name is not None
        assert name in frame.name


def test_the_vdso_has_names() -> None:
    """The kernel's code in every process, which is in no file."""
    text = Path("/proc/self/maps").read_text()
    match = re.search(r"^(\w+)-(\w+) .*\[vdso\]$", text, re.MULTILINE)
    assert match is not None
    start, end = int(match[1], 16), int(match[2], 16)
    frames = ProcessSymbols(os.getpid()).resolve(range(start, end, 16))
    assert {frame.module for frame in frames} == {"[vdso]"}
    assert any("clock_gettime" in (frame.name or "") for frame in frames)


@pytest.mark.parametrize("how", ["debuglink", "build-id", "beside", "debugdata"])
def test_symbols_that_were_taken_out_are_found(program: Path, tmp_path: Path, how: str) -> None:
    """Distributions ship them apart, at places that the file tells."""
    path, debug = tmp_path / "traced", tmp_path / "debug"
    folder = debug / str(tmp_path)[1:]
    folder.mkdir(parents=True)
    target = folder / "traced.debug"
    if how == "beside":
        (tmp_path / ".debug").mkdir()
        target = tmp_path / ".debug" / "traced.debug"
    if how == "build-id":
        build_id = (FileSymbols.open(program).build_id or b"").hex()
        (debug / ".build-id" / build_id[:2]).mkdir(parents=True)
        target = debug / ".build-id" / build_id[:2] / f"{build_id[2:]}.debug"
    keep = ["--only-keep-debug"] if how != "debugdata" else ["--strip-debug"]
    subprocess.run(["objcopy", *keep, program, target], check=True)
    add = [f"--add-gnu-debuglink={target}"]
    if how == "debugdata":
        packed = tmp_path / "packed"
        packed.write_bytes(lzma.compress(target.read_bytes()))
        target.unlink()
        add = [f"--add-section=.gnu_debugdata={packed}"]
    elif how == "build-id":
        add = []
    subprocess.run(["objcopy", "--strip-all", *add, program, path], check=True)
    with running(path) as traced:
        bare = ProcessSymbols(traced.pid, debug_directory=None).resolve(traced.functions)
        assert named(bare) == [(None, 0)] * 3
        assert [frame.label for frame in bare] == ["[traced]"] * 3
        found = ProcessSymbols(traced.pid, str(debug)).resolve(traced.functions)
        assert named(found) == EXPECTED


def test_a_debug_file_of_another_build_is_not_believed(program: Path, tmp_path: Path) -> None:
    """Its names would be those of other functions."""
    other = compile_c(tmp_path / "other", SOURCE.replace("+ 1", "* 3 + 4"), "-Wl,--build-id")
    stripped = tmp_path / "traced"
    debug = tmp_path / "traced.debug"
    for build_id in (True, False):
        remove = [] if build_id else ["--remove-section=.note.gnu.build-id"]
        subprocess.run(["objcopy", "--only-keep-debug", *remove, program, debug], check=True)
        command = ["objcopy", "--strip-all", *remove, f"--add-gnu-debuglink={debug}"]
        subprocess.run([*command, program, stripped], check=True)
        assert len(FileSymbols.open(stripped)) > 3
        few = len(FileSymbols.open(stripped, debug_directory=None))
        subprocess.run(["objcopy", "--only-keep-debug", *remove, other, debug], check=True)
        assert len(FileSymbols.open(stripped)) == few


def test_a_program_that_was_deleted_still_has_its_names(program: Path, tmp_path: Path) -> None:
    """As after an upgrade: the process runs the old file, and another has its name."""
    path = tmp_path / "traced"
    path.write_bytes(program.read_bytes())
    path.chmod(0o755)
    with running(path) as traced:
        path.unlink()
        path.write_bytes(b"\x7fELF, but not the one that runs")
        assert named(Symbolizer().process(traced.pid, traced.functions, stack=False)) == EXPECTED


def test_a_file_with_the_name_of_a_deleted_one(program: Path) -> None:
    """Without CAP_SYS_ADMIN only names lead to files: the addresses would have another's names."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = Path(folder) / "libgone.so"
        shutil.copy(built("library"), path)
        loaded = ctypes.CDLL(str(path))
        address = ctypes.cast(loaded.twice, ctypes.c_void_p).value or 0

        # By the kernel's own way; what this imports, nobody may not be able to.
        assert named(Symbolizer().process(os.getpid(), [address])) == [("twice", 0)]

        def as_nobody(expected: Frame) -> None:
            def run(tell: Callable[[int], object]) -> None:
                os.setuid(65534)
                tell(int(Symbolizer().process(os.getpid(), [address]) == [expected]))
                signal.pause()

            with Forked(run) as child:
                assert child.told

        as_nobody(Frame(address, "twice", 0, str(path)))
        (Path(folder) / "new").write_bytes(program.read_bytes())
        (Path(folder) / "new").rename(path)
        as_nobody(Frame(address, None, 0, f"{path} (deleted)"))
        assert named(Symbolizer().process(os.getpid(), [address])) == [("twice", 0)]


def test_a_library_that_is_loaded_later(program: Path, tmp_path: Path) -> None:
    """The mappings were read before."""
    source = "int loaded_later(int x) { return x * 5 + 1; }"
    library = compile_c(tmp_path / "liblater.so", source, "-shared", "-fPIC")
    with running(program, str(library)) as traced:
        symbolizer = Symbolizer()
        assert named(symbolizer.process(traced.pid, traced.functions, stack=False)) == EXPECTED
        address = int(traced.act(), 16)
        assert symbolizer.process(traced.pid, [address]) == [
            Frame(address, "loaded_later", 0, str(library))
        ]


EXEC = r"""
#include <stdio.h>
#include <unistd.h>

__attribute__((noinline)) void NAME(void) { asm volatile(""); }

int main(int argc, char **argv)
{
	printf("%p %p %p\n", (void *)NAME, (void *)NAME, (void *)NAME);
	fflush(stdout);
	NAME();
	if (getchar() == EOF || argc < 2)
		return 0;
	return execv(argv[1], argv + 1);
}
"""


def test_a_process_that_runs_another_program(tmp_path: Path) -> None:
    """Both have functions at one place: the old program's names would be given to the new one's."""
    first, second = (
        compile_c(tmp_path / name, EXEC, "-no-pie", f"-DNAME={name}") for name in ("old", "new")
    )
    symbolizer = Symbolizer()
    with running(first, str(second)) as traced:
        assert named(symbolizer.process(traced.pid, traced.functions[:1], stack=False)) == [
            ("old", 0)
        ]
        assert int(traced.act().split()[0], 16) == traced.functions[0]
        assert named(symbolizer.process(traced.pid, traced.functions[:1], stack=False)) == [
            ("new", 0)
        ]


def test_no_more_processes_are_remembered_than_fit(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A profiler that runs for weeks would end with the machine's memory."""
    monkeypatch.setattr("ebpf.symbols.symbolizer._PROCESSES", 2)
    symbolizer = Symbolizer()
    with running(program) as one, running(program) as two, running(program) as three:
        for traced in (one, two, one, three):
            assert named(symbolizer.process(traced.pid, traced.functions, stack=False)) == EXPECTED
        assert list(symbolizer._processes) == [one.pid, three.pid]
    # Those that are left are known also now that they are gone.
    assert named(symbolizer.process(one.pid, one.functions, stack=False)) == EXPECTED
    assert symbolizer.process(two.pid, two.functions, stack=False) == [
        Frame(a) for a in two.functions
    ]


def test_no_more_files_are_remembered_than_processes_have(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has its whole string tables in memory; on a build host new programs never cease."""
    monkeypatch.setattr("ebpf.symbols.symbolizer._PROCESSES", 2)
    symbolizer = Symbolizer()
    inodes = []
    for number in range(4):
        path = tmp_path / f"traced{number}"
        shutil.copy(program, path)
        inodes.append(path.stat().st_ino)
        with running(path) as traced:
            assert named(symbolizer.process(traced.pid, traced.functions, stack=False)) == EXPECTED

    def remembered() -> set[int]:
        gc.collect()
        return {inode for _, inode, _, _ in symbolizer._files}

    assert remembered() & set(inodes) == set(inodes[2:])
    # A look anew does not read all files again, but for those that nobody needs any more.
    symbolizer.refresh()
    assert remembered() & set(inodes) == set(inodes[2:])
    symbolizer.refresh()
    assert remembered() == set()


def test_a_process_that_is_gone(program: Path) -> None:
    """What was seen of it stays known, and what was not is an address, not somebody else's name."""
    symbolizer, late = Symbolizer(), Symbolizer()
    with running(program) as traced:
        assert named(symbolizer.process(traced.pid, traced.functions, stack=False)) == EXPECTED
    assert named(symbolizer.process(traced.pid, traced.functions, stack=False)) == EXPECTED
    assert late.process(traced.pid, traced.functions, stack=False) == [
        Frame(a) for a in traced.functions
    ]
    assert [frame.label for frame in late.process(traced.pid, [1])] == ["[unknown]"]
    with pytest.raises(ProcessLookupError, match=f"mappings of process {traced.pid}"):
        ProcessSymbols(traced.pid)
    with pytest.raises(ValueError, match="pid"):
        ProcessSymbols(-1)


def test_a_process_that_nobody_has_waited_for() -> None:
    """It has no mappings any more, and one stray address would end what was known of them."""
    address = ctypes.cast(ctypes.CDLL("libc.so.6").getpid, ctypes.c_void_p).value or 0
    symbolizer = Symbolizer()

    def run(tell: Callable[[int], object]) -> None:
        tell(1)
        signal.pause()

    with Forked(run) as child:
        (known,) = symbolizer.process(child.pid, [address])
        assert known.name is not None
        os.kill(child.pid, signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert symbolizer.process(child.pid, [address, 0x1234]) == [known, Frame(0x1234)]
        assert symbolizer.process(child.pid, [address]) == [known]


def test_code_that_was_made_at_run_time_is_in_the_perf_map() -> None:
    """Python, Node.js and Java write one: the only place that knows."""
    import mmap

    def anonymous() -> set[str]:
        text = Path("/proc/self/maps").read_text()
        return set(re.findall(r"^(\w+)-\w+ r-xp 0+ 00:00 0 *$", text, re.MULTILINE))

    before = anonymous()
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    with mmap.mmap(-1, mmap.PAGESIZE, flags, mmap.PROT_READ | mmap.PROT_EXEC):
        (place,) = anonymous() - before
        start = int(place, 16)
        path = Path(f"/tmp/perf-{os.getpid()}.map")
        symbols = ProcessSymbols(os.getpid())
        assert symbols.resolve([start])[0].name is None
        try:
            path.write_text(
                f"{start:x} 20 py::first:/a b.py\n"
                f"{start + 0x20:x} 10 old\n{start + 0x20:x} 30 new\nnonsense\n{start + 256:x} 1"
            )
            frames = symbols.resolve([start, start + 0x1F, start + 0x4F, start + 0x50])
            assert named(frames) == [
                ("py::first:/a b.py", 0),
                ("py::first:/a b.py", 0x1F),
                ("new", 0x2F),
                (None, 0),
            ]
            assert frames[0].module == str(path)
            # More is written while it runs; a line is read when it has its end.
            with path.open("a") as file:
                file.write(f"\n{start + 0x60:x} 10 later\n{start + 0x70:x} 10 ha")
            assert named(symbols.resolve([start + 0x60, start + 0x70])) == [("later", 0), (None, 0)]
        finally:
            path.unlink()


def test_a_perf_map_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """Whoever owns the traced process puts there what he likes."""
    path = Path(f"/tmp/perf-{os.getpid()}.map")
    os.mkfifo(path)
    try:
        assert ProcessSymbols(os.getpid()).resolve([1]) == [Frame(1)]
        path.unlink()
        path.symlink_to("/dev/zero")
        assert ProcessSymbols(os.getpid()).resolve([1]) == [Frame(1)]
    finally:
        path.unlink()


def test_files_that_are_no_programs_are_named_and_nothing_else(tmp_path: Path) -> None:
    """Anything can be mapped."""
    import mmap

    path = tmp_path / "data"
    path.write_bytes(b"\x7fELF" + bytes(8192))
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC),
    ):
        text = Path("/proc/self/maps").read_text()
        match = re.search(rf"^(\w+)-.*{path}$", text, re.MULTILINE)
        assert match is not None
        address = int(match[1], 16)
        assert Symbolizer().process(os.getpid(), [address + 5]) == [
            Frame(address + 5, None, 0, str(path))
        ]


# ---- build ids ------------------------------------------------------------------------------


def test_stacks_with_build_ids(program: Path) -> None:
    """They can be resolved on another machine, when the process is long gone."""
    symbolizer = Symbolizer()
    symbols = symbolizer.add_file(program)
    data = program.read_bytes()
    build_id = symbols.build_id or b""
    assert len(build_id) == 20
    with running(program) as traced:
        maps = Path(f"/proc/{traced.pid}/maps").read_text()
        match = re.search(rf"^(\w+)-\w+ r-xp (\w+) .*{program}$", maps, re.MULTILINE)
        assert match is not None
        base, offset = int(match[1], 16), int(match[2], 16)
        offsets = [address - base + offset for address in traced.functions]
    assert all(offset < len(data) for offset in offsets)
    entries = [(1, build_id, offset) for offset in offsets]
    assert named(symbolizer.build_ids([*entries, (0, bytes(20), 0)], stack=False)) == EXPECTED
    callers = [entries[0], *((1, build_id, offset + 1) for offset in offsets[1:])]
    assert named(symbolizer.build_ids(callers)) == [
        ("outer_part", 0),
        ("middle_part", 1),
        ("main", 1),
    ]
    assert symbolizer.build_ids([(2, bytes(20), 0x1234)]) == [Frame(0x1234)]
    unknown = bytes(range(20))
    assert symbolizer.build_ids([(1, unknown, 7)]) == [Frame(7, None, 0, f"[{unknown.hex()}]")]


# ---- the kernel -----------------------------------------------------------------------------


def test_every_function_of_the_kernel_is_found_at_its_address() -> None:
    """Against the list itself; of several names of an address, traces of the kernel have the
    first."""
    symbols = KernelSymbols()
    lines = [line for line in kallsyms.function_lines() if line[0]]
    assert len(symbols) > 1000
    by_address: dict[int, list[str]] = {}
    for address, name in lines:
        by_address.setdefault(address, []).append(name.partition("\t")[0])
    several = [address for address, names in by_address.items() if len(names) > 1]
    random.seed(3)
    for address in random.sample(sorted(by_address), 500) + several:
        (frame,) = symbols.resolve([address])
        assert (frame.name, frame.offset) == (by_address[address][0], 0)
    assert [frame.name for frame in symbols.resolve([0, 5, (1 << 64) - 1])] == [None] * 3
    with pytest.raises(ValueError, match="address"):
        symbols.resolve([1 << 64])


def test_functions_of_bpf_programs_are_known_after_a_refresh() -> None:
    """They come and go; their names begin with bpf_prog_."""
    symbols = KernelSymbols()
    with load(ProgramType.RAW_TRACEPOINT, PASS, "findable"):
        symbols.refresh()
        found = [
            (address, name)
            for address, name in kallsyms.function_lines()
            if re.match(r"bpf_prog_[0-9a-f]{16}_findable\t", name)
        ]
        assert len(found) == 1
        (frame,) = symbols.resolve([found[0][0] + 1])
        assert frame.module == "[bpf]"
        assert frame.name == found[0][1].partition("\t")[0]


def test_a_symbolizer_looks_anew() -> None:
    """A program that was loaded later would have the name of its neighbour, or none."""
    symbolizer = Symbolizer()
    symbolizer.kernel([1])
    with load(ProgramType.RAW_TRACEPOINT, PASS, "later"):
        address = next(a for a, name in kallsyms.function_lines() if "_later\t[bpf]" in name)
        (before,) = symbolizer.kernel([address])
        assert not (before.name or "").endswith("_later")
        symbolizer.refresh()
        (after,) = symbolizer.kernel([address])
        assert (after.name or "").endswith("_later")
        assert after.offset == 0


def test_hidden_addresses_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them are zero then: a name for each would be a wrong one."""
    monkeypatch.setattr(kallsyms, "_read", lambda: "0000000000000000 T _text\n")
    with pytest.raises(BpfPermissionError, match=r"kernel\.kptr_restrict must be 0"):
        KernelSymbols()


# ---- names ----------------------------------------------------------------------------------


def test_names_are_demangled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the library that is installed, by a function of one's own, or not at all."""
    library = compile_c(
        tmp_path / "libcpp.so", "int _ZN5space4workEi(int x) { return x; }", "-shared", "-fPIC"
    )
    offset = find(library, "_ZN5space4workEi")

    def name(symbolizer: Symbolizer) -> str | None:
        build_id = symbolizer.add_file(library).build_id
        assert build_id is not None
        return symbolizer.build_ids([(1, build_id, offset)])[0].name

    assert name(Symbolizer(demangle=False)) == "_ZN5space4workEi"
    assert name(Symbolizer(demangle=str.lower)) == "_zn5space4workei"

    module = types.ModuleType("cxxfilt")
    module.InvalidName = type("InvalidName", (Exception,), {})  # type: ignore[attr-defined]
    module.demangle = cxxfilt  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cxxfilt", module)
    assert name(Symbolizer()) == "space::work(int)"


def cxxfilt(name: str) -> str:
    return subprocess.check_output(["c++filt", name], text=True).strip()


def find(path: Path, name: str) -> int:
    from ebpf.elf.image import ElfImage
    from ebpf.elf.symbols import find_symbols, symbol_offset

    with ElfImage.open(path) as image:
        return symbol_offset(image, find_symbols(image, name)[0])
