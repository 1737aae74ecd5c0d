"""execsnoop: what it prints must be what the test made happen."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys

import pytest

from tests.kernel.examples.support import (
    TIMEOUT,
    TRUE,
    Event,
    command,
    parse,
    run,
    running,
    without,
)

# One process that makes everything happen that the tests below look for, each in a child whose
# process id it writes down: starting Python for each would be slow on an emulated machine. It
# waits for a line on standard input before it begins.
ZOO = """
import ctypes, json, mmap, os, platform, sys, threading
true, script, strings, report = sys.argv[1:]
libc = ctypes.CDLL(None)

def paged_out():
    # The pages of a new mapping of a file are not in memory as long as nobody touches them.
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    at = libc.mmap(None, 4096, mmap.PROT_READ, mmap.MAP_PRIVATE, os.open(strings, os.O_RDONLY), 0)
    libc.execve(script.encode(), (ctypes.c_void_p * 3)(at, at + 5, None), None)

def from_thread():
    thread = threading.Thread(target=os.execv, args=(script, ["zero", "from thread"]))
    thread.start()
    thread.join()

def after_failures():
    # More threads than there is room for arguments in the kernel, if that were never freed.
    failed, enough = threading.Semaphore(0), threading.Event()

    def fail():
        try:
            os.execv("/nonexistent/program", ["not executed"])
        except FileNotFoundError:
            failed.release()
            enough.wait()

    for _ in range(200):
        threading.Thread(target=fail).start()
        failed.acquire()
    os.execv(script, ["zero", "after failures"])

def orphan():
    while os.path.exists(f"/proc/{pids['zoo']}"):
        pass
    os.execv(true, ["true", "orphan"])

def nothing():
    os._exit(4)

def call(*arguments):
    return lambda: os.execv(arguments[0], list(arguments[1:]))

cases = {
    "status": call("/bin/sh", "sh", "-c", "exit 7"),
    "killed": call("/bin/sh", "sh", "-c", "kill -KILL $$"),
    "long": call(true, "true", "x" * 10000),
    "too long": call(true, "true", "start", "x" * 100000),
    "many": call(true, "true", *map(str, range(1000))),
    "not text": call(true, b"true", b"\\xff\\xfe", b"a\\nb\\x1b[31m", b""),
    "script": call(script, "zero", "unique"),
    "paged out": paged_out,
    "from thread": from_thread,
    "after failures": after_failures,
    "executes nothing": nothing,
}
print("ready", flush=True)
sys.stdin.readline()
pids = {"zoo": os.getpid()}
for name, case in {**cases, "orphan": orphan}.items():
    pids[name] = os.fork()
    if not pids[name]:
        case()
        os._exit(99)
    if name != "orphan":
        os.waitpid(pids[name], 0)
with open(report, "w") as file:
    json.dump(pids, file)

def end():
    # The first thread ends before the process does.
    state = ""
    while state != "Z":
        with open(f"/proc/self/task/{os.getpid()}/stat") as file:
            state = file.read().rpartition(")")[2].split()[0]
    os._exit(5)

threading.Thread(target=end).start()
libc.syscall({"x86_64": 60, "aarch64": 93}[platform.machine()], 3)
"""


class Zoo:
    """What execsnoop reported of the zoo."""

    def __init__(self, tool: int, pids: dict[str, int], events: list[Event], outside: int) -> None:
        self.tool = tool
        self.pids = pids
        self.events = events
        self.outside = outside

    def find(self, name: str, kind: str) -> list[Event]:
        return [
            event
            for event in self.events
            if event["pid"] == self.pids[name] and event["event"] == kind
        ]

    def executed(self, name: str) -> Event:
        (event,) = self.find(name, "exec")
        return event

    def ended(self, name: str) -> Event:
        (event,) = self.find(name, "exit")
        return event


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    directory = tmp_path_factory.mktemp("zoo")
    script = directory / "script"
    script.write_text("#!/bin/sh\nexit 0\n")
    script.chmod(0o755)
    strings = directory / "strings"
    strings.write_bytes(b"zero\0paged out\0")
    report, output = directory / "pids.json", directory / "events.json"
    program = directory / "zoo.py"
    program.write_text(ZOO)
    files = [TRUE, str(script), str(strings), str(report)]
    traced = [sys.executable, "-S", "-E", str(program), *files]
    with subprocess.Popen(
        command("execsnoop", "--json", "--output", str(output), "--", *traced),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as tool:
        assert tool.stdin is not None
        assert tool.stdout is not None
        assert tool.stdout.readline() == "ready\n"
        with subprocess.Popen([TRUE, "outside"]) as outside:
            pass
        tool.stdin.write("\n")
        tool.stdin.close()
        tool.stdin = None
        assert tool.wait(TIMEOUT) == 5, "the exit status is not the command's"
    return Zoo(tool.pid, json.loads(report.read_text()), parse(output.read_text()), outside.pid)


@pytest.mark.everywhere
def test_execsnoop_shows_who_executed_what(zoo: Zoo) -> None:
    """A wrong parent, user, name or argument would be shown."""
    event = zoo.executed("status")
    assert event["arguments"] == ["sh", "-c", "exit 7"]
    assert event["arguments_complete"] is True
    assert event["parent_pid"] == zoo.pids["zoo"]
    assert event["uid"] == os.getuid()
    assert event["command"] == "sh"
    assert zoo.executed("zoo")["parent_pid"] == zoo.tool


@pytest.mark.everywhere
def test_execsnoop_shows_the_exit_status(zoo: Zoo) -> None:
    """The field of task_struct would be read at a wrong offset."""
    event = zoo.ended("status")
    assert (event["exit_status"], event["signal"]) == (7, None)
    assert 0 < event["duration"] < TIMEOUT


def test_execsnoop_shows_the_signal_that_killed(zoo: Zoo) -> None:
    """A killed process would look as if it had exited."""
    event = zoo.ended("killed")
    assert (event["exit_status"], event["signal"]) == (None, "SIGKILL")


@pytest.mark.parametrize(
    ("case", "arguments"),
    [("long", ["true", "x" * 10000]), ("many", ["true", *map(str, range(1000))])],
)
def test_execsnoop_has_long_and_many_arguments(zoo: Zoo, case: str, arguments: list[str]) -> None:
    """Arguments that system call tracing has no room for would be cut off."""
    event = zoo.executed(case)
    assert event["arguments"] == arguments
    assert event["arguments_complete"] is True


def test_execsnoop_says_when_arguments_are_cut_off(zoo: Zoo) -> None:
    """Part of the arguments would be taken for all of them."""
    event = zoo.executed("too long")
    assert event["arguments_complete"] is False
    assert event["arguments"][:2] == ["true", "start"]
    assert len(event["arguments"][2]) > 16000
    assert set(event["arguments"][2]) == {"x"}


def test_execsnoop_keeps_every_byte_of_an_argument(zoo: Zoo) -> None:
    """Arguments that are not UTF-8, or empty, would be changed or lost."""
    arguments = [os.fsencode(argument) for argument in zoo.executed("not text")["arguments"]]
    assert arguments == [b"true", b"\xff\xfe", b"a\nb\x1b[31m", b""]


def test_execsnoop_shows_the_arguments_of_the_call(zoo: Zoo) -> None:
    """Of a script the interpreter's arguments would be shown, not those that were passed."""
    assert zoo.executed("script")["arguments"] == ["zero", "unique"]


def test_execsnoop_reads_paged_out_arguments_later(zoo: Zoo) -> None:
    """Arguments in memory that is not there at the system call would be lost."""
    event = zoo.executed("paged out")
    # The kernel's own copy: the interpreter, then the script's path in place of its argument zero.
    assert event["arguments"][0] == "/bin/sh"
    assert event["arguments"][-1] == "paged out"
    assert event["arguments_complete"] is True


def test_execsnoop_knows_the_process_of_a_thread_that_executes(zoo: Zoo) -> None:
    """Arguments copied under the thread's id would not be found under the process's."""
    event = zoo.executed("from thread")
    assert event["arguments"] == ["zero", "from thread"]
    assert zoo.ended("from thread")["exit_status"] == 0


def test_execsnoop_leaves_out_failed_executions(zoo: Zoo) -> None:
    """Each directory of PATH that was tried would be an execution, or would fill a map."""
    assert zoo.executed("after failures")["arguments"] == ["zero", "after failures"]


def test_execsnoop_waits_for_the_last_descendant(zoo: Zoo) -> None:
    """What descendants do after the command's end would be lost."""
    assert zoo.executed("orphan")["arguments"] == ["true", "orphan"]
    assert zoo.ended("orphan")["exit_status"] == 0


def test_execsnoop_shows_the_end_of_the_process_not_of_its_threads(zoo: Zoo) -> None:
    """The first thread's exit status, 3, would be taken for the process's."""
    assert zoo.ended("zoo")["exit_status"] == 5


def test_execsnoop_traces_only_descendants(zoo: Zoo) -> None:
    """Programs of others, or a fork that executes nothing, would be reported."""
    pids = {event["pid"] for event in zoo.events}
    assert zoo.outside not in pids
    assert zoo.pids["executes nothing"] not in pids


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_execsnoop_traces_everything_until_it_is_stopped(stop: signal.Signals) -> None:
    """An execution before the signal would be missing, or the signal would end in a traceback."""
    with running("execsnoop", "--json", ready="tracing", stop=stop) as tool:
        child = subprocess.Popen(["/bin/sh", "-c", "exit 7", f"unique-{stop}"])
        assert child.wait(TIMEOUT) == 7
    own = [event for event in parse(tool.text) if event["pid"] == child.pid]
    assert [event["event"] for event in own] == ["exec", "exit"]
    assert own[0]["arguments"] == ["/bin/sh", "-c", "exit 7", f"unique-{stop}"]
    assert own[0]["parent_pid"] == os.getpid()
    assert own[1]["exit_status"] == 7


def test_execsnoop_fits_the_terminal() -> None:
    """Lines would wrap, or arguments could write to the terminal."""
    argument = "\x1b[31m" + "x" * 200
    master, terminal = pty.openpty()
    with os.fdopen(master, "rb", buffering=0) as screen:
        tool = subprocess.Popen(
            command("execsnoop", "--", "/bin/sh", "-c", "exit 7", argument),
            stdout=terminal,
            env={**os.environ, "COLUMNS": "90", "LC_ALL": "C.UTF-8"},
        )
        os.close(terminal)
        data = b""
        while chunk := read_terminal(screen.fileno()):
            data += chunk
        assert tool.wait(TIMEOUT) == 7
    lines = data.decode().splitlines()
    assert lines[0].split() == ["TIME", "PID", "PPID", "UID", "COMMAND", "STATUS", "ARGUMENTS"]
    executed, ended = lines[1:]
    assert len(executed) == 90
    assert executed.endswith("…")
    assert "\x1b" not in executed
    time, mark, _, parent, uid, name, *_ = executed.split()
    assert (len(time), mark, parent, uid, name) == (8, "+", str(tool.pid), str(os.getuid()), "sh")
    assert ended.split()[1] == "-"
    assert ended.split()[6:8] == ["7", "after"]


def read_terminal(master: int) -> bytes:
    try:
        return os.read(master, 65536)
    except OSError:
        return b""  # EIO: the last process has closed it


def test_execsnoop_counts_lost_events() -> None:
    """A record that does not fit the ring buffer would be lost in silence."""
    done = subprocess.run(
        command("execsnoop", "--ring-size", "4096", "--", TRUE, "x" * 5000),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0
    assert "lost events: 1;" in done.stderr


def test_execsnoop_without_tracefs_and_terminal() -> None:
    """It would fail where tracefs is not mounted, not say how to mount it, or cut lines off in a
    pipe."""
    done = subprocess.run(
        without(
            "/sys/kernel/tracing /sys/kernel/debug 2>/dev/null",
            command("execsnoop", "--", TRUE, "x" * 3000),
        ),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, done.stderr
    assert "mount -t tracefs" in done.stderr
    _, executed, ended = done.stdout.splitlines()
    assert executed.endswith(f" {TRUE} {'x' * 3000}")
    assert " true            0       after " in ended


def test_execsnoop_where_tracefs_is_closed() -> None:
    """It would fail for whoever has CAP_BPF and CAP_PERFMON, but is not root: since 5.16 the files
    of tracefs are root's."""
    close = """
umount -l /sys/kernel/debug 2>/dev/null
mount -t tmpfs -o mode=000 none /sys/kernel/tracing
exec setpriv --bounding-set=-dac_override,-dac_read_search "$@"
"""
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", close, "sh", *command("execsnoop", "--", TRUE, "x")],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, done.stderr
    assert "may not read /sys/kernel/tracing;" in done.stderr
    assert f" {TRUE} x\n" in done.stdout


def test_execsnoop_survives_a_closed_pipe() -> None:
    """`execsnoop | head -1` would end in a traceback, leave the command behind, or hand on that
    SIGPIPE is ignored."""
    with subprocess.Popen(
        command("execsnoop", "--", "/bin/sh", "-c", f"read line; {TRUE}; kill -PIPE $$; exit 9"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as tool:
        assert tool.stdin is not None
        assert tool.stdout is not None
        assert tool.stderr is not None
        assert tool.stdout.readline().startswith("TIME")
        assert " + " in tool.stdout.readline()
        tool.stdout.close()
        tool.stdin.write("\n")
        tool.stdin.close()
        assert tool.stderr.read() == ""
        assert tool.wait(TIMEOUT) == 128 + signal.SIGPIPE


def test_execsnoop_says_that_a_command_is_not_there() -> None:
    """A command that cannot be executed would look as if it had run."""
    assert "no-such-command: No such file or directory" in run(
        "execsnoop", "--", "no-such-command", status=127
    )
