"""How a bpf() command is made, without making one: sizes, attempts, and what a refusal becomes."""

from __future__ import annotations

import errno
import os
import signal
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from ebpf._sys import call, facts
from ebpf._sys.call import Attribute, checked
from ebpf.errors import BpfError, BpfPermissionError, NotSupportedError
from ebpf.types import Command


class Kernel:
    """Answers each call with the next of the given results."""

    def __init__(self, *answers: int) -> None:
        self.answers = list(answers)
        self.blocked: list[set[int]] = []

    def __call__(self, command: int, data: Any, size: int) -> int:
        self.blocked.append(signal.pthread_sigmask(signal.SIG_BLOCK, []))
        return self.answers.pop(0) if self.answers else 5


def run(kernel: Kernel, command: Command) -> int:
    return call._run(kernel, command, Attribute("map_freeze", map_fd=3))


def test_an_attribute_ends_with_its_last_field_in_use() -> None:
    """A kernel that does not know what is behind it must not see it."""
    assert Attribute("prog_load", prog_type=1).size == 4
    assert Attribute("prog_load", prog_type=1, fd_array=0).size == 4
    assert Attribute("prog_load", ("log_true_size",), prog_type=1).size == 144
    assert Attribute("map_create", map_type=1, map_name=b"x").size == 44


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (Command.PROG_LOAD, errno.EAGAIN),
        (Command.PROG_LOAD, errno.EINTR),
        (Command.PROG_TEST_RUN, errno.EINTR),
    ],
)
def test_an_interrupted_call_is_made_again(command: Command, code: int) -> None:
    """A passing signal is no failure."""
    kernel = Kernel(-code, -code)
    assert run(kernel, command) == 5
    assert kernel.blocked == [set()] * 3


def test_eagain_means_something_else_elsewhere() -> None:
    """Only the verifier says it of a signal."""
    assert run(Kernel(-errno.EAGAIN), Command.LINK_CREATE) == -errno.EAGAIN


def test_signals_that_keep_coming_are_held_back() -> None:
    """Otherwise a call that takes longer than the timer's period would never end."""
    kernel = Kernel(*[-errno.EINTR] * call.ATTEMPTS)
    assert run(kernel, Command.PROG_TEST_RUN) == 5
    assert kernel.blocked[:-1] == [set()] * call.ATTEMPTS
    assert signal.SIGALRM in kernel.blocked[-1]
    assert signal.SIGPROF in kernel.blocked[-1]
    # Those that are to end the process get through.
    assert not {signal.SIGINT, signal.SIGTERM} & kernel.blocked[-1]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()


def test_a_call_that_is_interrupted_for_ever_fails() -> None:
    """Rather than hang."""
    kernel = Kernel(*[-errno.EINTR] * 1000)
    assert run(kernel, Command.PROG_TEST_RUN) == -errno.EINTR
    assert len(kernel.blocked) == 2 * call.ATTEMPTS
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()


def test_a_handler_that_raises_in_the_end_leaves_no_descriptor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was made while signals were held back is lost, and stays open: a link goes on."""

    class Timeout(Exception):
        pass

    def handler(number: int, frame: object) -> None:
        raise Timeout

    def make(command: int, data: Any, size: int) -> int:
        if signal.SIGALRM not in signal.pthread_sigmask(signal.SIG_BLOCK, []):
            return -errno.EAGAIN
        signal.pthread_kill(threading.get_ident(), signal.SIGALRM)
        made.append(os.open("/dev/null", os.O_RDONLY))
        return made[0]

    made: list[int] = []
    monkeypatch.setattr(call, "lib", SimpleNamespace(ebpf_bpf_fd=make))
    before = signal.signal(signal.SIGALRM, handler)
    try:
        with pytest.raises(Timeout):
            call.run_fd(Command.PROG_LOAD, Attribute("prog_load", prog_type=1))
    finally:
        signal.signal(signal.SIGALRM, before)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.close(made[0])


@pytest.fixture
def old_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "kernel_version", lambda: (5, 10))


@pytest.mark.usefixtures("old_kernel")
def test_what_came_last_is_what_a_refusal_names() -> None:
    """The command, a field or what the caller dates: the newest decides."""
    load = Attribute("prog_load", prog_type=1, fd_array=1, prog_token_fd=3)
    for needs, asked, told, since in (
        ((5, 14), "", "try with prog_token_fd: not in this kernel", (6, 9)),
        ((6, 15), "", "try: not in this kernel", (6, 15)),
        ((6, 15), "the flag X", "try with the flag X: not in this kernel", (6, 15)),
        (None, "", "try with prog_token_fd: not in this kernel", (6, 9)),
    ):
        with pytest.raises(NotSupportedError, match=told) as caught:
            checked(Command.PROG_LOAD, load, -errno.EINVAL, "try", needs, asked)
        assert caught.value.minimum_version == since
        assert caught.value.errno == errno.EINVAL


@pytest.mark.usefixtures("old_kernel")
def test_other_errors_are_what_they_are_on_any_kernel() -> None:
    """ENOSPC of a new command is ENOSPC."""
    attribute = Attribute("prog_load", fd_array=1)
    with pytest.raises(BpfError) as caught:
        checked(Command.PROG_LOAD, attribute, -errno.ENOSPC, "try", (6, 9))
    assert type(caught.value) is BpfError
    # And EINVAL of what the kernel has is a mistake.
    with pytest.raises(BpfError) as caught:
        checked(Command.PROG_LOAD, Attribute("prog_load", prog_type=1), -errno.EINVAL, "try")
    assert type(caught.value) is BpfError


def test_a_memlock_limit_is_raised_where_it_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before 5.11 EPERM may mean that, and then the second attempt succeeds."""
    raised = []
    monkeypatch.setattr(facts, "charges_memlock", lambda: True)
    monkeypatch.setattr(facts, "may_hold_bpf", lambda: True)
    monkeypatch.setattr(facts, "raise_memlock", lambda: raised.append(1))
    kernel = Kernel(-errno.EPERM, 7)
    monkeypatch.setattr(call, "lib", type("Lib", (), {"ebpf_bpf_fd": kernel}))
    assert call.run_fd(Command.MAP_CREATE, Attribute("map_create", map_type=1)) == 7
    assert raised == [1]
    kernel.answers = [-errno.EPERM, 7]
    assert call.run_fd(Command.OBJ_GET, Attribute("obj", bpf_fd=1)) == -errno.EPERM
    assert raised == [1]


def test_a_memlock_limit_is_left_alone_where_the_rights_are_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The limit would be raised for good, and the second attempt refused like the first."""
    monkeypatch.setattr(facts, "charges_memlock", lambda: True)
    monkeypatch.setattr(facts, "may_hold_bpf", lambda: False)
    monkeypatch.setattr(facts, "raise_memlock", lambda: pytest.fail("the limit was raised"))
    monkeypatch.setattr(call, "lib", type("Lib", (), {"ebpf_bpf_fd": Kernel(-errno.EPERM)}))
    assert call.run_fd(Command.MAP_CREATE, Attribute("map_create", map_type=1)) == -errno.EPERM


@pytest.mark.parametrize("kind", ["PROG", "MAP", "BTF", "LINK"])
def test_opening_by_id_takes_cap_sys_admin(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """CAP_BPF, which is enough for the rest, would be asked for in vain."""
    monkeypatch.setattr(facts, "effective_capabilities", lambda: frozenset({"CAP_BPF"}))
    command = Command[f"{kind}_GET_FD_BY_ID"]
    with pytest.raises(BpfPermissionError, match="The kernel asks for CAP_SYS_ADMIN"):
        checked(command, Attribute("get_fd_by_id", id=1), -errno.EPERM)
