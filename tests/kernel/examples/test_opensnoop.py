"""opensnoop: what it prints must be what the test made happen."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ebpf.compile import find_compiler
from ebpf.errors import CompileError
from tests.kernel.examples.support import (
    TIMEOUT,
    Event,
    command,
    parse,
    running,
    without,
)
from tests.objects import EXAMPLES, NoCompiler
from tests.vm.host import cache_dir

# Opens files in every way, and writes down what it should be seen to have done: for each of its
# processes and threads the path, the flags that matter, and the descriptor or the error.
OPENER = """
import ctypes, errno, json, os, platform, struct, sys, threading
directory, report = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
expected = {}

def note(name, path, flags, descriptor):
    error = None if descriptor >= 0 else errno.errorcode[ctypes.get_errno()]
    known = descriptor if descriptor >= 0 else None
    expected[name] = [os.getpid(), os.getppid(), path, flags, known, error]

def at(path):
    return os.path.join(directory, path)

def call(name, path, flags, mode=0o600):
    note(name, path, flags, libc.open(os.fsencode(path), flags, mode))

call("created", at("created"), os.O_CREAT | os.O_WRONLY | os.O_EXCL)
call("missing", at("missing"), os.O_RDONLY)
call("both", at("created"), os.O_RDWR | os.O_APPEND)
os.chdir(directory)
call("relative", "created", os.O_RDONLY)
call("longest", "./" * 2044 + "created", os.O_RDONLY)
call("too long", "./" * 2045 + "created", os.O_RDONLY)
call("not text", "\\udcff\\n", os.O_RDONLY)

descriptor = os.open(directory, os.O_RDONLY)
result = libc.openat(descriptor, b"created", os.O_RDONLY)
note("openat", "created", os.O_RDONLY, result)

how = struct.pack("QQQ", os.O_RDWR | os.O_CLOEXEC, 0, 0)
result = libc.syscall(437, descriptor, b"created", how, len(how))
note("openat2", "created", os.O_RDWR | os.O_CLOEXEC, result)

result = libc.openat(descriptor, ctypes.c_void_p(8), os.O_RDONLY)
note("no path", None, os.O_RDONLY, result)

if platform.machine() == "x86_64":
    result = libc.syscall(2, b"created", os.O_RDONLY)
    note("open", "created", os.O_RDONLY, result)
    result = libc.syscall(85, b"by creat", 0o600)
    note("creat", "by creat", os.O_CREAT | os.O_WRONLY | os.O_TRUNC, result)

thread = threading.Thread(target=call, args=("thread", at("of thread"), os.O_RDONLY))
thread.start()
thread.join()

pipe = os.pipe()
if not os.fork():
    call("child", at("of child"), os.O_RDONLY)
    os.write(pipe[1], json.dumps(expected["child"]).encode())
    os._exit(0)
os.wait()
expected["child"] = json.loads(os.read(pipe[0], 4096))
with open(report, "w") as file:
    json.dump(expected, file)
sys.exit(6)
"""


@pytest.fixture(scope="module", autouse=True)
def cache() -> Iterator[None]:
    """Objects are kept where guests find them: compiling takes long on emulated machines."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache_dir() / "compile"))
        yield


@pytest.fixture(scope="module")
def opensnoop() -> Path:
    """The example, where there is a compiler for it."""
    try:
        find_compiler()
    except CompileError as error:
        raise NoCompiler("any") from error
    return EXAMPLES / "opensnoop.py"


@dataclass
class Opens:
    """What opensnoop reported of the opener, and what that did."""

    events: list[Event]
    expected: dict[str, list[Any]]


@pytest.fixture(scope="module")
def opens(opensnoop: Path, tmp_path_factory: pytest.TempPathFactory) -> Opens:
    directory = tmp_path_factory.mktemp("opens")
    program, report = directory / "opener.py", directory / "report.json"
    output = directory / "events.json"
    program.write_text(OPENER)
    (directory / "files").mkdir()
    opener = [sys.executable, "-S", "-E", str(program), str(directory / "files"), str(report)]
    options = ["--json", "--output", str(output)]
    done = subprocess.run(
        [*command(str(opensnoop), *options), "--", *opener],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.stderr == ""
    assert done.returncode == 6, "the exit status is not the command's"
    return Opens(parse(output.read_text()), json.loads(report.read_text()))


def test_opensnoop_sees_every_way_to_open(opens: Opens) -> None:
    """A process, path, flag, descriptor or error would be missing, or another one's."""
    events, expected = opens.events, opens.expected
    assert len(expected) >= 12
    seen = [
        [event["pid"], event["parent_pid"], event["path"], event["fd"], event["error"]]
        for event in events
    ]
    for name, (pid, parent, path, _, descriptor, error) in expected.items():
        # Of a path that is too long for the kernel, what is as long as one may be.
        shown = path and path[:4095]
        assert [pid, parent, shown, descriptor, error] in seen, name


def test_opensnoop_names_the_flags(opens: Opens) -> None:
    """A file that is written would look as if it were read."""
    events, expected = opens.events, opens.expected
    for name, wanted in (
        ("created", {"O_WRONLY", "O_CREAT", "O_EXCL"}),
        ("both", {"O_RDWR", "O_APPEND"}),
        ("openat2", {"O_RDWR", "O_CLOEXEC"}),
    ):
        pid, _, path, _, descriptor, _ = expected[name]
        (found,) = (
            set(event["flags"])
            for event in events
            if (event["pid"], event["path"], event["fd"]) == (pid, path, descriptor)
        )
        assert found == wanted


def test_opensnoop_follows_the_command_alone(opens: Opens) -> None:
    """Other processes' opens would be among the command's."""
    events, expected = opens.events, opens.expected
    parents = {expected["created"][0]}
    assert {event["pid"] for event in events} == parents | {expected["child"][0]}
    assert {event["uid"] for event in events} == {os.getuid()}


def test_opensnoop_filters(opensnoop: Path, tmp_path: Path) -> None:
    """What is not asked for would be shown, or what is would not be."""
    there = tmp_path / "there"
    there.touch()
    comm = Path("/proc/thread-self/comm")
    name = comm.read_text().rstrip("\n")
    options = ["--json", "--pid", str(os.getpid()), "--name", "opens", "--failed"]
    with running(str(opensnoop), *options, ready="tracing") as tool:
        subprocess.run(["cat", str(tmp_path / "of another process")], stderr=subprocess.DEVNULL)
        with pytest.raises(FileNotFoundError):
            os.open(tmp_path / "under another name", os.O_RDONLY)
        comm.write_text("opens")
        os.close(os.open(there, os.O_RDONLY))
        with pytest.raises(FileNotFoundError):
            os.open(tmp_path / "missing", os.O_RDONLY)
        comm.write_text("opens longer")
        with pytest.raises(FileNotFoundError):
            os.open(tmp_path / "of a longer name", os.O_RDONLY)
        comm.write_text(name)
    (event,) = parse(tool.text)
    assert (event["path"], event["command"]) == (str(tmp_path / "missing"), "opens")


def test_opensnoop_prints_a_table(opensnoop: Path, tmp_path: Path) -> None:
    """The columns would not be those of their titles, or a path could break the line."""
    done = subprocess.run(
        [*command(str(opensnoop)), "--", "cat", f"{tmp_path}/\x1b[31mx\n"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 1  # cat's
    title, *lines = done.stdout.splitlines()
    assert title.split() == ["TIME", "PID", "PPID", "UID", "COMMAND", "RESULT", "FOR", "PATH"]
    (line,) = (line for line in lines if str(tmp_path) in line)
    assert line.endswith(f"cat             ENOENT  r   {tmp_path}/\\x1b[31mx\\n")


def test_opensnoop_counts_what_is_lost(opensnoop: Path) -> None:
    """A ring that is too small would make opens disappear silently."""
    opener = "import os\nfor i in range(2000): os.close(os.open('/dev/null', os.O_RDONLY))"
    options = ["--json", "--ring-size", str(os.sysconf("SC_PAGE_SIZE"))]
    traced = [sys.executable, "-S", "-E", "-c", opener]
    done = subprocess.run(
        [*command(str(opensnoop), *options), "--", *traced],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0
    shown = sum(event["path"] == "/dev/null" for event in parse(done.stdout))
    assert shown < 2000
    match = re.search(r"lost events: (\d+);", done.stderr)
    assert match is not None
    assert shown + int(match[1]) >= 2000


def test_opensnoop_compiles_its_program_by_itself(
    opensnoop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newcomer would have to know how BPF programs are compiled, or find root's files beside
    the example."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = sorted(EXAMPLES.rglob("*.[co]"))
    done = subprocess.run(
        [*command(str(opensnoop), "--json"), "--", "cat", "/dev/null"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, done.stderr
    assert "/dev/null" in [event["path"] for event in parse(done.stdout)]
    assert list(tmp_path.rglob("*.o")), "it was not compiled"
    assert sorted(EXAMPLES.rglob("*.[co]")) == before


# Where the compiler of PyPI is installed, it does not count.
WITHOUT_ZIGLANG = """
import importlib.util, sys
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "ziglang" else find_spec(name, *more)
sys.path.insert(0, ".")
import opensnoop
sys.exit(opensnoop.main([]))
"""


def test_opensnoop_says_what_to_do_without_a_compiler() -> None:
    """A newcomer would not learn what is missing."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_ZIGLANG],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        cwd=EXAMPLES,
        env={"PATH": "/nonexistent"},
    )
    assert done.returncode == 1
    assert "apt-get install clang" in done.stderr
    assert "pip install 'ebpf[compile]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_opensnoop_says_how_to_mount_tracefs(opensnoop: Path) -> None:
    """A newcomer would not learn why it cannot trace."""
    done = subprocess.run(
        without(
            "/sys/kernel/tracing /sys/kernel/debug 2>/dev/null",
            command(str(opensnoop)),
        ),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 1
    assert "mount -t tracefs" in done.stderr
    assert "Traceback" not in done.stderr
