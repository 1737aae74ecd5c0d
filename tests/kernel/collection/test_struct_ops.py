"""Structs of functions that the kernel calls."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
from collections.abc import Callable
from typing import Any

import pytest

import ebpf
from ebpf._sys import bpf
from ebpf.links import cleanup
from ebpf.links.struct_ops import RECORDS
from ebpf.spec import CollectionSpec
from tests.kernel.links.function_hooks import available
from tests.kernel.samples import Forked
from tests.objects import compiled


@pytest.fixture
def spec() -> CollectionSpec:
    return CollectionSpec.from_file(compiled("struct_ops_tcp"))


@pytest.fixture
def unlinked(spec: CollectionSpec) -> CollectionSpec:
    """Without the map that only kernels with links for struct_ops (6.4) create."""
    spec.maps["linked"].autocreate = False
    return spec


def use(name: str) -> str:
    """The congestion control of a socket that asked for `name`."""
    with socket.socket() as one:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode())
        found = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
    return found.rstrip(b"\0").decode()


def test_functions_are_called(unlinked: CollectionSpec) -> None:
    """Functions in the wrong members, or a name in the wrong place, would not be the kernel's."""
    with unlinked.load() as objects:
        objects.attach_struct_ops("registered")
        assert use("ebpf_test_a") == "ebpf_test_a"
        with socket.socket() as server, socket.socket() as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"ebpf_test_a")
            server.bind(("127.0.0.1", 0))
            server.listen()
            client.connect(server.getsockname())
            accepted, _ = server.accept()
            with accepted:
                for _ in range(3):
                    client.sendall(bytes(1000))
                    accepted.recv(1000)
        assert objects.variables["calls"].value > 0


def test_closing_unregisters(unlinked: CollectionSpec) -> None:
    """Functions whose programs are gone must not stay with the kernel."""
    with unlinked.load() as objects:
        assert "ebpf_test_a" not in available()
        registered = objects.attach_struct_ops("registered")
        assert "ebpf_test_a" in available()
        registered.close()
        assert "ebpf_test_a" not in available()
        with pytest.raises(ebpf.BpfError, match=r"registered.*only once.*load the object again"):
            objects.attach_struct_ops("registered")
    assert not {"ebpf_test_a", "ebpf_test_b"} & set(available())


def test_a_child_that_ends_leaves_the_functions_to_its_parent(unlinked: CollectionSpec) -> None:
    """Closing what it has of its parent, it would unregister them."""
    with unlinked.load() as objects:
        registered = objects.attach_struct_ops("registered")
        child = os.fork()
        if not child:
            try:
                registered.close()
            finally:
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert "ebpf_test_a" in available()
    assert "ebpf_test_a" not in available()


def test_what_somebody_else_has_unregistered_closes(unlinked: CollectionSpec) -> None:
    """After bpftool's `struct_ops unregister` nothing is left to do, and no reason to fail."""
    with unlinked.load() as objects:
        objects.attach_struct_ops("registered")
        bpf.map_delete_elem(objects.maps["registered"].fileno(), bytes(4))
        assert "ebpf_test_a" not in available()
    assert objects.maps["registered"].closed


def records() -> list[str]:
    """What is written down of this process."""
    names = os.listdir(RECORDS) if os.path.isdir(RECORDS) else []
    return [name for name in names if name.startswith(f"p{os.getpid()}_")]


def test_what_a_killed_process_leaves(unlinked: CollectionSpec) -> None:
    """Its functions go on for good, and nobody else can have their name; or cleaning up takes
    those of a process that is there."""

    def attach_and_wait(tell: Callable[[int], object]) -> None:
        objects = unlinked.load()
        objects.attach_struct_ops("registered")
        tell(objects.maps["registered"].info().id)
        signal.pause()

    with Forked(attach_and_wait) as child, unlinked.load() as objects:
        assert not [text for text in cleanup() if "struct_ops" in text]
        child.end()
        assert "ebpf_test_a" in available()
        with pytest.raises(FileExistsError, match=r"killed.*ebpf\.links\.cleanup\(\) unregisters:"):
            objects.attach_struct_ops("registered")
        assert [text for text in cleanup() if "struct_ops" in text] == ["struct_ops registered"]
        assert "ebpf_test_a" not in available()
        objects.attach_struct_ops("registered")
        assert not [text for text in cleanup() if "struct_ops" in text]
        assert "ebpf_test_a" in available()
        assert len(records()) == 1
    assert not records()
    assert not [name for name in os.listdir(RECORDS) if name.startswith(f"p{child.pid}_")]


def test_a_child_of_multiprocessing_leaves_nothing(unlinked: CollectionSpec) -> None:
    """It ends in its own way, and its functions stay."""
    kept: list[Any] = []

    def work() -> None:
        kept.append(unlinked.load())
        kept.append(kept[0].attach_struct_ops("registered"))
        assert "ebpf_test_a" in available()

    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join()
    assert child.exitcode == 0
    assert "ebpf_test_a" not in available()


def test_an_interrupted_attachment_leaves_nothing(
    unlinked: CollectionSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while the kernel registers the functions leaves them, and nobody has them."""
    real = bpf.map_update_elem

    def interrupted(*arguments: Any) -> None:
        real(*arguments)
        raise KeyboardInterrupt

    with unlinked.load() as objects:
        monkeypatch.setattr(bpf, "map_update_elem", interrupted)
        with pytest.raises(KeyboardInterrupt):
            objects.attach_struct_ops("registered")
        assert "ebpf_test_a" not in available()
    assert not records()


def test_the_collection_attaches_and_detaches(spec: CollectionSpec) -> None:
    """A map that is left registered would outlive its programs."""
    with spec.load() as objects:
        objects.attach()
        assert {"ebpf_test_a", "ebpf_test_b"} <= set(available())
    assert not {"ebpf_test_a", "ebpf_test_b"} & set(available())


def test_a_link_attaches_more_than_once(spec: CollectionSpec) -> None:
    """A map whose value is set already can be attached again, as its value is the same."""
    with spec.load() as objects:
        with objects.attach_struct_ops("linked") as link:
            assert link.info().type is ebpf.LinkType.STRUCT_OPS
            assert "ebpf_test_b" in available()
        assert "ebpf_test_b" not in available()
        with objects.attach_struct_ops("linked"):
            assert "ebpf_test_b" in available()


@pytest.mark.parametrize("name", ["registered", "linked"])
def test_functions_of_a_name_that_is_taken(spec: CollectionSpec, name: str) -> None:
    """With a link or without, what the number of the error means is said."""
    with spec.load() as first, spec.load() as second:
        first.attach_struct_ops(name)
        with pytest.raises(FileExistsError, match=f"struct_ops {name}: functions of that name"):
            second.attach_struct_ops(name)


def test_only_programs_of_maps_that_are_created_are_loaded(unlinked: CollectionSpec) -> None:
    """The kernel cannot load a program for no member of no struct."""
    with unlinked.load() as objects:
        assert "never_used" not in objects.programs
        assert "left_out" not in objects.maps
    unlinked.maps["left_out"].autocreate = True
    with unlinked.load() as objects:
        assert "never_used" in objects.programs


def test_a_member_that_the_kernel_lacks(unlinked: CollectionSpec) -> None:
    """A function that is never called must not be dropped in silence."""
    struct = unlinked.maps["registered"].struct_ops
    assert struct is not None
    struct.programs["not_in_any_kernel"] = "test_ssthresh"
    with pytest.raises(ebpf.RelocationError, match=r"'registered'.*'not_in_any_kernel'.*not have"):
        unlinked.load()


def test_a_struct_that_the_kernel_does_not_take() -> None:
    """The message has to name the struct."""
    with pytest.raises(FileNotFoundError, match="takes no struct_ops of struct operations"):
        CollectionSpec.from_file(compiled("struct_ops")).load()


def talk(client: socket.socket, server: socket.socket) -> None:
    for _ in range(3):
        client.sendall(bytes(1000))
        assert server.recv(1000)


def connect(server: socket.socket, name: bytes) -> tuple[socket.socket, socket.socket]:
    client = socket.socket()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name)
    client.connect(server.getsockname())
    return client, server.accept()[0]


def test_functions_are_replaced_while_a_connection_uses_them() -> None:
    """A new connection gets the old functions, or the one that has them breaks."""
    with (
        CollectionSpec.from_file(compiled("struct_ops_replaced")).load() as objects,
        socket.create_server(("127.0.0.1", 0)) as server,
    ):
        calls = [objects.variables[name] for name in ("old_calls", "new_calls")]
        link = objects.attach_struct_ops("old")
        client, accepted = connect(server, b"ebpf_test_r")
        with client, accepted:
            talk(client, accepted)
            assert calls[0].value > 0
            assert calls[1].value == 0
            objects.replace_struct_ops(link, "new")
            talk(client, accepted)
        client, accepted = connect(server, b"ebpf_test_r")
        with client, accepted:
            talk(client, accepted)
        assert calls[1].value > 0
        assert link.info().details["map_id"] == objects.maps["new"].info().id
        link.close()
        assert "ebpf_test_r" not in available()


def test_functions_that_cannot_take_the_place_of_others() -> None:
    """The link uses functions of another name, or the kernel's EINVAL is all."""
    with CollectionSpec.from_file(compiled("struct_ops_replaced")).load() as objects:
        link = objects.attach_struct_ops("old")
        with pytest.raises(ebpf.BpfError, match="the name in them is another"):
            objects.replace_struct_ops(link, "other")
        with pytest.raises(ebpf.BpfError, match=r"its section is not .struct_ops.link"):
            objects.replace_struct_ops(link, "unlinked")
        with pytest.raises(KeyError):
            objects.replace_struct_ops(link, "old_cong_avoid")
        assert "ebpf_test_r" in available()
