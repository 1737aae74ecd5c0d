"""Programs of maps of sockets: SK_MSG and SK_SKB."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ebpf import (
    AttachType,
    BpfError,
    HashMap,
    LinkType,
    Map,
    MapType,
    NotSupportedError,
    Program,
    ProgramType,
)
from ebpf._sys import bpf
from ebpf.asm import (
    R2,
    R3,
    R4,
    R10,
    add,
    call,
    exit_,
    ld_map_fd,
    mov,
    stw,
)
from ebpf.links import SockmapAttachment, sockmap
from tests.kernel.environment import kernel_version
from tests.kernel.net.support import connections, returning

A = AttachType


INGRESS = 1


def redirecting(
    helper: str, type: ProgramType, hook: AttachType, target: Any, flags: int
) -> Program:
    """A program that sends what comes to it to the socket with the key 1 of the map."""
    if target.type is MapType.SOCKMAP:
        arguments = [ld_map_fd(R2, target), mov(R3, 1)]
    else:
        arguments = [stw(R10 - 4, 1), ld_map_fd(R2, target), mov(R3, R10), add(R3, -4)]
    insns = [*arguments, mov(R4, flags), call(helper), exit_()]
    return Program.load(type, insns, license="GPL", attach_type=hook)


def map_of_sockets(type: MapType) -> Any:
    if type is MapType.SOCKMAP:
        return Map.create(MapType.SOCKMAP, max_entries=4)
    return HashMap.create(type=MapType.SOCKHASH, key="I", value="I", max_entries=4)


MAPS = pytest.mark.parametrize("type", [MapType.SOCKMAP, MapType.SOCKHASH], ids=lambda t: t.name)


@MAPS
def test_what_is_sent_goes_to_another_connection(type: MapType) -> None:
    """It arrives at the peer, or nowhere; or still does when the link is closed."""
    helper = "msg_redirect_map" if type is MapType.SOCKMAP else "msg_redirect_hash"
    with connections() as (one, one_peer, _, two_peer), map_of_sockets(type) as target:
        program = redirecting(helper, ProgramType.SK_MSG, A.SK_MSG_VERDICT, target, INGRESS)
        with program, program.attach_sockmap(target):
            target.put(0, one)
            target.put(1, two_peer)
            one.sendall(b"to another")
            assert two_peer.recv(64) == b"to another"
        target.delete(0)
        one.sendall(b"to its peer")
        assert one_peer.recv(64) == b"to its peer"


@MAPS
def test_what_arrives_is_sent_on_by_another_connection(type: MapType) -> None:
    """A proxy in the kernel: the data is not read here, yet arrives."""
    helper = "sk_redirect_map" if type is MapType.SOCKMAP else "sk_redirect_hash"
    hook = A.SK_SKB_STREAM_VERDICT
    with (
        connections() as (client, client_end, server_end, server),
        map_of_sockets(type) as m,
        redirecting(helper, ProgramType.SK_SKB, hook, m, 0) as program,
        program.attach_sockmap(m),
    ):
        m.put(0, client_end)
        m.put(1, server_end)
        for text in (b"hello", b"again"):
            client.sendall(text)
            assert server.recv(64) == text


def test_a_link_of_a_map_is_updated_and_told() -> None:
    """The kind, or the map, is another's; or the old program stays."""
    with (
        Map.create(MapType.SOCKMAP, max_entries=1) as target,
        returning(1, type=ProgramType.SK_MSG) as one,
        returning(0, type=ProgramType.SK_MSG) as two,
        one.attach_sockmap(target) as link,
    ):
        if isinstance(link, SockmapAttachment):
            assert kernel_version() < (6, 10)
            calls: list[Callable[[], object]] = [
                link.info,
                lambda: link.update(two),
                lambda: link.pin("/sys/fs/bpf/never"),
            ]
            for call_ in calls:
                with pytest.raises(NotSupportedError, match="links for maps of sockets"):
                    call_()
            return
        assert link.info().type is LinkType.SOCKMAP
        assert link.info().details == {
            "map_id": target.info().id,
            "attach_type": A.SK_MSG_VERDICT,
        }
        with pytest.raises(BpfError, match="the hook is taken"):
            two.attach_sockmap(target)
        link.update(two, expected=one)
        assert link.info().prog_id == two.info().id


def test_mistakes_with_maps() -> None:
    """Something is attached, or the kernel's EINVAL is all."""
    with (
        Map.create(MapType.SOCKMAP, max_entries=1) as target,
        HashMap.create(key="I", value="I", max_entries=1) as other,
        returning(1, type=ProgramType.SK_SKB) as data,
        returning(1, type=ProgramType.SK_MSG) as message,
    ):
        with pytest.raises(ValueError, match="SK_SKB programs have several hooks: SK_SKB_STREAM"):
            data.attach_sockmap(target)
        with pytest.raises(ValueError, match="XDP is no hook of a map of sockets"):
            data.attach_sockmap(target, A.XDP)
        with pytest.raises(BpfError, match="it takes SK_SKB"):
            message.attach_sockmap(target, A.SK_SKB_STREAM_VERDICT)
        with pytest.raises(BpfError, match="is a HASH; it takes a SOCKMAP or SOCKHASH"):
            message.attach_sockmap(other)
        with pytest.raises(TypeError, match="map: 'm' has no descriptor"):
            message.attach_sockmap("m")  # type: ignore[arg-type]


def test_hooks_of_a_map_that_exclude_each_other() -> None:
    """One of them is never asked."""
    with (
        Map.create(MapType.SOCKMAP, max_entries=1) as target,
        returning(1, type=ProgramType.SK_SKB) as program,
    ):
        # Raises what this kernel does not have, here where it is understood.
        program.attach_sockmap(target, A.SK_SKB_VERDICT).close()
        program.attach_sockmap(target, A.SK_SKB_STREAM_VERDICT)
        with pytest.raises(BpfError, match="exclude each other"):
            program.attach_sockmap(target, A.SK_SKB_VERDICT)


def test_an_interrupted_attachment_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the kernel attaches leaves a program that nobody has."""
    real = bpf.prog_attach

    def no_links(*arguments: Any, **options: Any) -> None:
        raise NotSupportedError("attach", LinkType.SOCKMAP.since)

    def interrupted(*arguments: Any, **fields: Any) -> None:
        real(*arguments, **fields)
        raise KeyboardInterrupt

    # Kernels before 6.10 have none.
    monkeypatch.setattr(sockmap, "create_link", no_links)
    monkeypatch.setattr(bpf, "prog_attach", interrupted)
    with (
        connections() as (one, one_peer, _, _),
        map_of_sockets(MapType.SOCKMAP) as target,
        returning(0, type=ProgramType.SK_MSG) as drops,
    ):
        with pytest.raises(KeyboardInterrupt):
            drops.attach_sockmap(target)
        target.put(0, one)
        one.sendall(b"to its peer")
        assert one_peer.recv(64) == b"to its peer"
