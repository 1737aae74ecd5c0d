"""Programs of network namespaces: SK_LOOKUP and FLOW_DISSECTOR."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from ebpf import (
    AttachType,
    BpfError,
    BpfFileNotFoundError,
    Map,
    MapType,
    Program,
    ProgramType,
    links,
    query,
)
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
    exit_,
    jeq,
    jgt,
    jlt,
    ld_map_fd,
    ldxw,
    mov,
    stw,
)
from tests.kernel.net.network import Namespace
from tests.kernel.net.support import returning
from tests.kernel.samples import wait_until

A = AttachType


def to_one_socket(target: Map[Any, Any], low: int, high: int) -> Program:
    """A program that gives what is for the ports `low` to `high` to the socket of the map."""
    insns = [
        mov(R6, R1),
        ldxw(R2, R6 + 60),  # local_port of struct bpf_sk_lookup
        jlt(R2, low, "pass"),
        jgt(R2, high, "pass"),
        stw(R10 - 4, 0),
        ld_map_fd(R1, target),
        mov(R2, R10),
        add(R2, -4),
        call("map_lookup_elem"),
        jeq(R0, 0, "pass"),
        mov(R7, R0),
        mov(R1, R6),
        mov(R2, R7),
        mov(R3, 0),
        call("sk_assign"),
        mov(R1, R7),
        call("sk_release"),
        Label("pass"),
        mov(R0, 1),
        exit_(),
    ]
    return Program.load(ProgramType.SK_LOOKUP, insns, license="GPL", attach_type=A.SK_LOOKUP)


def test_a_range_of_ports_goes_to_one_server(space: Namespace) -> None:
    """A port of the range is refused, or one that is not is accepted."""
    with (
        space.socket(socket.AF_INET, socket.SOCK_STREAM) as server,
        Map.create(MapType.SOCKMAP, max_entries=1) as target,
        to_one_socket(target, 7000, 7010) as program,
    ):
        server.bind(("127.0.0.1", 0))
        server.listen()
        target.put(0, server)

        def answers(port: int) -> bool:
            with space.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
                if client.connect_ex(("127.0.0.1", port)):
                    return False
                with server.accept()[0] as accepted:
                    return bool(accepted.getsockname()[1] == port)

        assert not answers(7000)
        with program.attach_netns(space) as link:
            assert [answers(port) for port in (6999, 7000, 7010, 7011)] == [0, 1, 1, 0]
            assert link.info().details["netns_ino"] == os.fstat(space.fileno()).st_ino
        assert not answers(7000)


def test_the_namespace_of_the_thread_is_the_default(space: Namespace) -> None:
    """The program is attached to another namespace."""
    with returning(1, A.SK_LOOKUP, ProgramType.SK_LOOKUP) as program:
        link = space.inside(program.attach_netns)
        assert link.info().details["netns_ino"] == os.fstat(space.fileno()).st_ino
        with links.attach_netns(program, space.path) as other:
            assert other.info().details == link.info().details


def test_a_namespace_that_vanishes(space: Namespace) -> None:
    """Closing fails, or the update seems to work."""
    gone = Namespace()
    with (
        returning(1, A.SK_LOOKUP, ProgramType.SK_LOOKUP) as program,
        program.attach_netns(gone) as link,
    ):
        gone.close()
        wait_until(lambda: not link.info().details["netns_ino"], "the namespace is gone")
        with pytest.raises(BpfError, match="what it was attached to is gone"):
            link.update(program)


def test_a_flow_dissector_is_the_only_one(space: Namespace) -> None:
    """The error does not say that the hook is taken."""
    with (
        returning(0, type=ProgramType.FLOW_DISSECTOR) as one,
        one.attach_netns(space) as link,
        returning(0, type=ProgramType.FLOW_DISSECTOR) as two,
    ):
        with pytest.raises(BpfError, match="the hook is taken"):
            two.attach_netns(space)
        link.update(two, expected=one)
        assert link.info().prog_id == two.info().id


def test_what_is_attached_is_told(space: Namespace) -> None:
    """The program of another hook or namespace; bpftool shows the flow dissector."""
    with (
        returning(0, type=ProgramType.FLOW_DISSECTOR) as flow,
        returning(1, A.SK_LOOKUP, ProgramType.SK_LOOKUP) as lookup,
    ):
        flow.attach_netns(space)
        lookup.attach_netns(space)
        lookup.attach_netns(space)
        for target in (space, space.path):
            found = {name: hook.program_ids for name, hook in query(target).items()}
            assert found.pop("netfilter", []) == []
            assert found == {
                "flow_dissector": [flow.info().id],
                "sk_lookup": [lookup.info().id] * 2,
            }
        # Its JSON is none where there is a flow dissector (7.1).
        shown = space.command("bpftool", "net", "show").partition("flow_dissector:")[2]
        assert re.findall(r"id (\d+)", shown)[:1] == [str(flow.info().id)]
    assert not any(hook.programs for hook in query(space).values())
    with pytest.raises(BpfError, match="this is no network namespace"):
        query(os.devnull)


def test_mistakes_with_namespaces(space: Namespace, tmp_path: Path) -> None:
    """Something is attached, or the error does not say what is wrong."""
    (tmp_path / "file").touch()
    with returning(1, A.SK_LOOKUP, ProgramType.SK_LOOKUP) as program:
        with pytest.raises(BpfFileNotFoundError, match="never"):
            program.attach_netns(tmp_path / "never")
        with pytest.raises(BpfError, match="is no network namespace"):
            program.attach_netns(tmp_path / "file")
        with pytest.raises(BpfError, match="is no network namespace"):
            program.attach_netns("/proc/self/ns/pid")
    with (
        returning(1, type=ProgramType.XDP) as other,
        pytest.raises(BpfError, match="it takes SK_LOOKUP or FLOW_DISSECTOR"),
    ):
        other.attach_netns(space)
