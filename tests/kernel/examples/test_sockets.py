"""The examples that judge and move what sockets do."""

from __future__ import annotations

import os
import re
import runpy
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ebpf.compile import compile_c, find_compiler
from ebpf.errors import CompileError
from ebpf.spec import CollectionSpec
from tests.kernel.examples.support import TIMEOUT, command, ended, run, running
from tests.kernel.samples import Forked, wait_until
from tests.objects import EXAMPLES, NoCompiler
from tests.vm.host import cache_dir

CONNECTIONS = Path("/proc/net/tcp")
# What a command says of an attempt in its cgroup.
SENDS = """
import socket, sys
for address in sys.argv[1:]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        one.bind((address, 0))
        try:
            one.sendto(b"1", one.getsockname())
        except PermissionError:
            print(address, "denied")
        else:
            print(address, "sent")
"""
CONNECTS = """
import socket, sys
for what, port in zip(sys.argv[1::2], sys.argv[2::2]):
    with socket.socket(socket.AF_INET6 if what.endswith("6") else socket.AF_INET) as one:
        host = "::1" if what.endswith("6") else "127.0.0.1"
        try:
            (one.bind if what.startswith("bind") else one.connect)((host, int(port)))
        except PermissionError:
            print(what, "denied")
        except ConnectionRefusedError:
            print(what, "refused")
        else:
            print(what, "done")
"""


def guarded(
    name: str, *arguments: str, code: str, given: list[str]
) -> subprocess.CompletedProcess[str]:
    whole = command(name, *arguments, "--", sys.executable, "-c", code, *given)
    done = subprocess.run(whole, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_egress_firewall_drops_by_network() -> None:
    """The longest prefix does not decide, IPv6 is let through, or the count is another."""
    done = guarded(
        "egress_firewall",
        *("--deny", "127.0.0.0/8", "--allow", "127.0.1.0/24", "--deny", "::1/128"),
        code=SENDS,
        given=["127.0.0.1", "127.0.1.1", "127.0.2.1", "::1"],
    )
    assert done.stdout.splitlines() == [
        "127.0.0.1 denied",
        "127.0.1.1 sent",
        "127.0.2.1 denied",
        "::1 denied",
    ]
    assert sorted(done.stderr.splitlines()) == [
        "127.0.0.0/8: 2 packets dropped",
        "127.0.1.0/24: 1 packets passed",
        "::1/128: 1 packets dropped",
    ]


def test_egress_firewall_has_the_status_of_the_command() -> None:
    """A failure in the cgroup is not told."""
    guard = command("egress_firewall", "--deny", "10.0.0.0/8", "--", "sh", "-c", "exit 7")
    assert subprocess.run(guard, capture_output=True, timeout=TIMEOUT).returncode == 7


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_socket_policy_allows_some_ports() -> None:
    """A port that is not allowed is connected to, or one that is allowed is not."""
    open_, closed, high = free_port(), free_port(), free_port()
    with socket.create_server(("127.0.0.1", open_)):
        done = guarded(
            "socket_policy",
            *("--connect", str(open_), "--bind", f"{high}-{high}"),
            code=CONNECTS,
            given=[
                *("connect4", str(open_), "connect4", str(closed), "connect6", str(closed)),
                *("bind4", str(high), "bind6", str(high), "bind4", str(closed), "bind4", "0"),
            ],
        )
    assert done.stdout.splitlines() == [
        *("connect4 done", "connect4 denied", "connect6 denied"),
        *("bind4 done", "bind6 done", "bind4 denied", "bind4 done"),
    ]
    assert sorted(done.stderr.splitlines()) == [
        f"bind to port {high}: 2 times",
        f"connect to port {open_}: 1 times",
    ]


def hang_up(process: subprocess.Popen[str], port: int) -> None:
    """Connect to an example, and reset the connection before it has looked."""
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as client:
        own = client.getsockname()[1]
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("=ii", 1, 0))
    # Of the example's side: it has no entry any more.
    entry = re.compile(f":{port:04X} [0-9A-F]+:{own:04X} ")
    wait_until(lambda: not entry.search(CONNECTIONS.read_text()), "the connection is reset")
    process.send_signal(signal.SIGCONT)


def test_port_range_is_served_by_one_socket() -> None:
    """A port of the range is refused, the server does not know which it was, or one client that
    hangs up ends it."""
    first = 42000
    with running("port_range", f"{first}-{first + 9}", ready="serving") as output:
        hang_up(output.process, first + 1)
        for port in (first, first + 9):
            with socket.create_connection(("127.0.0.1", port), TIMEOUT) as client:
                assert client.makefile().read() == f"this is port {port}\n"
        with socket.socket() as outside:
            assert outside.connect_ex(("127.0.0.1", first + 10))
    assert output.text.splitlines() == [
        f"127.0.0.1 came to port {port}" for port in (first + 1, first, first + 9)
    ]
    with socket.socket() as after:
        assert after.connect_ex(("127.0.0.1", first))


@contextmanager
def proxy(target: int, says: str = "") -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The example, which passes on to `target` and `says` what is wrong, and its port."""
    passing_on = command("socket_proxy", "0", f"127.0.0.1:{target}")
    with subprocess.Popen(
        passing_on, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        try:
            line = process.stderr.readline()
            match = re.search(r"listening at port (\d+)", line)
            assert match, line + process.stderr.read()
            yield process, int(match[1])
            process.terminate()
            assert ended(process) == 0
            assert re.fullmatch(says, process.stderr.read())
        finally:
            process.kill()


def test_socket_proxy_moves_data_both_ways() -> None:
    """Bytes are lost, come in another order, or the end of one way ends the other; or a client
    that hangs up early ends it for all."""
    data = bytes(range(256)) * 1024
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        proxy(server.getsockname()[1], r"socket_proxy: 127\.0\.0\.1: .*\n") as (process, port),
    ):
        server.settimeout(TIMEOUT)
        hang_up(process, port)
        with server.accept()[0] as backend:
            backend.settimeout(TIMEOUT)
            assert backend.recv(64) == b""
        client = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        backend = server.accept()[0]
        backend.settimeout(TIMEOUT)
        with client, backend:
            backend.sendall(b"welcome")
            assert client.recv(64) == b"welcome"
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            assert backend.makefile("rb").read() == data
            backend.sendall(b"goodbye")
            backend.shutdown(socket.SHUT_WR)
            assert client.makefile("rb").read() == b"goodbye"


AVAILABLE = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")


def registered() -> bool:
    return "ebpf_fixed" in AVAILABLE.read_text().split()


@pytest.fixture
def congestion(monkeypatch: pytest.MonkeyPatch) -> CollectionSpec:
    """What the example loads, compiled once."""
    try:
        find_compiler()
    except CompileError as error:
        raise NoCompiler("any") from error
    # Where guests find the object: compiling takes long on emulated machines.
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_dir() / "compile"))
    return compile_c(EXAMPLES / "congestion.bpf.c")


@pytest.mark.usefixtures("congestion")
def test_congestion_control_ends_with_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel keeps the functions of an example that SIGTERM has ended."""
    monkeypatch.setattr(sys, "argv", ["congestion", "--kib", str(1 << 30)])

    def run_it(tell: Callable[[int], object]) -> None:
        tell(1)
        runpy.run_path(str(EXAMPLES / "congestion.py"), run_name="__main__")

    with Forked(run_it) as child:
        wait_until(registered, "the functions are registered")
        os.kill(child.pid, signal.SIGTERM)
        wait_until(lambda: not registered(), "they are not any more")


def test_congestion_control_sets_the_window(congestion: CollectionSpec) -> None:
    """The kernel keeps a window of its own, or the functions when the example has ended; or one
    that was killed before keeps it from starting."""

    def leave_behind(tell: Callable[[int], object]) -> None:
        objects = congestion.load()
        objects.attach_struct_ops("fixed")
        tell(1)
        signal.pause()

    with Forked(leave_behind):
        pass
    assert registered()
    lines = run("congestion", "--window", "3", "--window", "7", "--kib", "64").splitlines()
    assert lines[0] == "registered as ebpf_fixed"
    assert [line.partition(",")[0] for line in lines[1:3]] == [
        "window 3: 3 segments",
        "window 7: 7 segments",
    ]
    match = re.fullmatch(r"the kernel has asked (\d+) times", lines[3])
    assert match
    assert int(match[1]) > 0
    assert not registered()
