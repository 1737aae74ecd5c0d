"""Whose an attachment is: the process that is there keeps it, whatever it looks like elsewhere."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ebpf import Interface, ProgramType, query
from ebpf.links import cleanup
from ebpf.links.owner import is_gone, mark
from tests.kernel.net.network import Network
from tests.kernel.net.programs import deciding
from tests.kernel.samples import Forked, wait_until

_NEWNS, _NEWPID, _NEWTIME = 0x20000, 0x20000000, 0x80
_REC, _PRIVATE = 1 << 14, 1 << 18
_PDEATHSIG = 1
_INITIAL = 0xEFFFFFFC
_libc = ctypes.CDLL(None, use_errno=True)


def own_processes(run: Callable[[], int]) -> Callable[[Callable[[int], object]], None]:
    """For `Forked`: tells what `run` returns as the first process of a new pid namespace."""

    def enter(tell: Callable[[int], object]) -> None:
        assert _libc.unshare(_NEWNS | _NEWPID) == 0
        child = os.fork()
        if child == 0:
            # Its end is the namespace's.
            assert _libc.prctl(_PDEATHSIG, signal.SIGKILL) == 0
            assert _libc.mount(None, b"/", None, _REC | _PRIVATE, None) == 0
            assert _libc.mount(b"proc", b"/proc", b"proc", 0, None) == 0
            tell(run())
            signal.pause()
        os.waitpid(child, 0)

    return enter


def test_processes_of_another_pid_namespace_are_not_gone(network: Network) -> None:
    """A container that shares the network takes off what runs on the host."""
    far = Interface("far0", netns=network.far)
    with deciding(ProgramType.SCHED_CLS, 0) as program, program.attach_tc(far, "ingress"):
        with Forked(own_processes(lambda: len(cleanup(network.far)))) as container:
            assert container.told == 0
        assert query(far)["clsact/ingress"].program_ids == [program.info().id]


def test_a_pid_namespace_that_is_gone(tmp_path: Path) -> None:
    """What a container has left stays for ever, or its filters go while it runs."""

    def written() -> int:
        (tmp_path / "mark").write_text(mark())
        return 1

    with Forked(own_processes(written)):
        made = (tmp_path / "mark").read_text()
        assert made.startswith("p1_")
        assert not is_gone(made)
    # Only the initial namespace sees that nobody is there any more.
    if os.stat("/proc/self/ns/pid").st_ino == _INITIAL:
        wait_until(lambda: is_gone(made), "the namespace has ended")
    else:
        assert not is_gone(made)


@pytest.mark.needs_config("CONFIG_TIME_NS")
def test_a_process_with_another_clock_is_not_gone(tmp_path: Path) -> None:
    """What runs in a time namespace (`unshare -T`) takes off what runs outside, or the other way
    round."""
    own = mark()

    def shifted(tell: Callable[[int], object]) -> None:
        assert _libc.unshare(_NEWTIME) == 0
        Path("/proc/self/timens_offsets").write_text("boottime 100000 0\n")
        child = os.fork()
        if child == 0:
            assert _libc.prctl(_PDEATHSIG, signal.SIGKILL) == 0
            (tmp_path / "mark").write_text(mark())
            tell(int(is_gone(own)))
            signal.pause()
        os.waitpid(child, 0)

    with Forked(shifted) as outside:
        assert outside.told == 0
        assert not is_gone((tmp_path / "mark").read_text())
        # The same clock: it is another process with this number.
        rest = own.split("_", 2)[2]
        assert is_gone(f"p{outside.pid}_1_{rest}")


def test_a_child_that_nobody_has_waited_for_is_gone(tmp_path: Path) -> None:
    """A supervisor that kills its worker and cleans up, removes nothing."""

    def written(tell: Callable[[int], object]) -> None:
        (tmp_path / "mark").write_text(mark())
        tell(1)
        signal.pause()

    with Forked(written) as child:
        made = (tmp_path / "mark").read_text()
        assert not is_gone(made)
        os.kill(child.pid, signal.SIGKILL)
        wait_until(lambda: is_gone(made), "the child has ended")
        assert Path(f"/proc/{child.pid}").exists()


def test_a_process_that_proc_hides_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where /proc shows the own processes only (hidepid), those of all others seem to be gone."""
    with Forked(lambda tell: (tell(1), signal.pause())) as child:
        own = mark().split("_")
        other = "_".join([f"p{child.pid}", *own[1:]])
        # Started at another time, as far as can be seen.
        assert is_gone("_".join([f"p{child.pid}", "1", *own[2:]]))
        real = open

        def hidden(name: object, *rest: object, **more: object) -> object:
            if str(name) == f"/proc/{child.pid}/stat":
                raise FileNotFoundError(2, "No such file or directory")
            return real(name, *rest, **more)  # type: ignore[call-overload]

        monkeypatch.setattr("builtins.open", hidden)
        assert not is_gone(other)
        assert not is_gone("_".join([f"p{child.pid}", "1", *own[2:]]))


def test_what_is_no_mark_of_this_machine_is_left_alone() -> None:
    """Somebody else's name of the same form is an error, or taken for a process that is gone."""
    own = mark().split("_")
    assert not is_gone("_".join([f"p{1 << 70}", *own[1:]]))
    assert not is_gone("p1_1_0_0")


def test_the_program_before_execve_is_gone(tmp_path: Path) -> None:
    """A process that starts itself anew can never remove what it has left."""
    made = mark().rpartition("_")
    assert not is_gone("".join(made))
    assert is_gone(f"{made[0]}_{int(made[2]) + 16}")
    # The kernel moves the stack.
    run = subprocess.run(["cat", "/proc/self/stat"], check=True, capture_output=True, text=True)
    assert run.stdout.rpartition(")")[2].split()[25] != made[2]
