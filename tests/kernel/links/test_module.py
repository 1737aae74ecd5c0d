"""Functions of a loadable module: the module is loaded here, and one of its functions called."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ebpf import AttachType, HashMap, Link, Program, ProgramType
from ebpf.errors import NotSupportedError
from tests.kernel import environment
from tests.kernel.links.hooks import FENTRY, FPROBE, KPROBES
from tests.kernel.samples import count, load, per_process

# A congestion control that is a module in Debian and Ubuntu, and what sets it up for a connection.
MODULE, CONTROL, FUNCTION = "tcp_westwood", "westwood", "tcp_westwood_init"

pytestmark = pytest.mark.needs_config("CONFIG_MODULES", "CONFIG_TCP_CONG_WESTWOOD")


@pytest.fixture(scope="module", autouse=True)
def loaded() -> None:
    """The module stays: whether it may go again is not for a test to say."""
    subprocess.run(["modprobe", MODULE], check=True)
    assert Path("/sys/module", MODULE, "initstate").exists(), f"{MODULE} is part of the kernel"


@pytest.fixture
def counts() -> Iterator[HashMap[int, int]]:
    with per_process() as made:
        yield made


def call_it() -> None:
    """Once, by this process."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, CONTROL.encode())


def check_runs(program: Program, attach: Callable[[Program], Link], counts: Any) -> None:
    """`program` runs for each call while it is attached, and not any more after that."""
    with program, attach(program):
        for runs in (1, 2):
            call_it()
            assert counts.lookup(os.getpid()) == runs
    call_it()
    assert counts[os.getpid()] == 2


@FENTRY
@pytest.mark.parametrize("name", [f"{MODULE}:{FUNCTION}", FUNCTION])
@pytest.mark.parametrize("hook", [AttachType.TRACE_FENTRY, AttachType.TRACE_FEXIT], ids=str)
def test_a_trampoline(hook: AttachType, name: str, counts: HashMap[int, int]) -> None:
    """Its number in the module's BTF is that of another function in the kernel's own."""

    def made() -> Program:
        return Program.load(
            ProgramType.TRACING, count(counts), license="GPL", attach_type=hook, attach_to=name
        )

    if environment.kernel_version() < (5, 11) and name == FUNCTION:
        with pytest.raises(FileNotFoundError, match=rf"no kernel function {FUNCTION}"):
            made()
        raise NotSupportedError("BTF of modules", (5, 11))
    check_runs(made(), lambda program: program.attach_tracing(), counts)


@KPROBES
@pytest.mark.parametrize("name", [f"{MODULE}:{FUNCTION}", FUNCTION])
def test_a_kprobe(name: str, counts: HashMap[int, int]) -> None:
    """The nearest names, those of the kernel itself, are offered in its place."""
    program = load(ProgramType.KPROBE, count(counts))
    check_runs(program, lambda program: program.attach_kprobe(name), counts)


@FPROBE
@pytest.mark.parametrize("symbols", [[FUNCTION], f"{FUNCTION[:-1]}?"], ids=["name", "pattern"])
def test_a_multi_kprobe(symbols: Any, counts: HashMap[int, int]) -> None:
    """A pattern matches functions of the kernel itself only, or a name has no address."""
    program = Program.load(
        ProgramType.KPROBE,
        count(counts),
        license="GPL",
        attach_type=AttachType.TRACE_KPROBE_MULTI,
    )
    check_runs(program, lambda program: program.attach_kprobe_multi(symbols), counts)
