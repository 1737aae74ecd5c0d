"""Tokens: what a process in a user namespace may do with one, and what without."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ebpf import (
    ArrayMap,
    BpfError,
    BpfFileNotFoundError,
    BpfPermissionError,
    HashMap,
    NotSupportedError,
    Program,
    ProgramType,
    Token,
    asm,
    delegate,
    features,
)
from ebpf.asm import R0, R1, exit_, ld_map_value, ldxw, mov
from ebpf.codec import u64
from ebpf.types import AttachType, Command, MapType, OpenFlags
from tests.kernel import environment
from tests.kernel.user_namespace import in_user_namespace

BPFFS = "/sys/fs/bpf"
NO_HOOK = AttachType.CGROUP_INET_INGRESS
SOME: dict[str, Any] = {
    "commands": [Command.MAP_CREATE, Command.PROG_LOAD, Command.BTF_LOAD],
    "map_types": [MapType.HASH],
    "program_types": [ProgramType.SOCKET_FILTER],
    "attach_types": [NO_HOOK],
}
ANY: dict[str, Any] = dict.fromkeys(SOME, "any")
SEVEN = [mov(R0, 7), exit_()]


def delegated(what: dict[str, Any], path: str = BPFFS) -> Callable[[int], None]:
    return lambda process: delegate(process, path, **what)


def refusal(act: Callable[[], Any]) -> tuple[int | None, str]:
    """The errno and message with which `act` is refused."""
    with pytest.raises(BpfError) as caught:
        act().close()
    return caught.value.errno, str(caught.value)


def hash_map(token: Token | None = None) -> Any:
    return HashMap.create(key="I", value="Q", max_entries=1, token=token)


def socket_filter(token: Token | None = None) -> Program:
    return Program.load(ProgramType.SOCKET_FILTER, SEVEN, token=token)


def test_a_token_lets_a_user_namespace_do_what_is_delegated() -> None:
    """The kernel refuses, gets no token, or does it without one."""

    def inside() -> Any:
        without = [refusal(hash_map)[0], refusal(lambda: Program.load(ProgramType.XDP, SEVEN))[0]]
        with Token.create() as token, hash_map(token) as map, socket_filter(token) as program:
            map[1] = 2
            with_token = dict(map.items()), program.test_run(bytes(64)).return_value
            # It is told of its lines by types, which take the token as well.
            described = program.info().btf_id != 0
            after = refusal(hash_map)[0]
        return without, with_token, described, after

    assert in_user_namespace(inside, delegated(SOME)) == (
        [errno.EPERM, errno.EPERM],
        ({1: 2}, 7),
        True,
        errno.EPERM,
    )


def test_what_is_not_delegated_is_told() -> None:
    """An EPERM with capabilities that are all there helps nobody."""

    def inside() -> list[str]:
        with Token.create() as token:
            acts: list[Callable[[], Any]] = [
                lambda: ArrayMap.create(value="Q", max_entries=1, token=token),
                lambda: Program.load(ProgramType.XDP, SEVEN, token=token),
                lambda: Program.load(
                    ProgramType.CGROUP_SKB,
                    SEVEN,
                    attach_type=AttachType.CGROUP_INET_EGRESS,
                    token=token,
                ),
            ]
            return [refusal(act)[1] for act in acts]

    told = in_user_namespace(inside, delegated(SOME))
    assert [text.partition(": the token")[2] for text in told] == [
        " does not allow the map type ARRAY [EPERM]",
        " does not allow the program type XDP [EPERM]",
        " does not allow the program type CGROUP_SKB or the attach type (1) CGROUP_INET_EGRESS"
        " [EPERM]",
    ]


def test_a_token_says_what_it_allows() -> None:
    """A bit is another command or type, or what any is stays unknown."""

    def inside() -> Any:
        with Token.create() as token:
            info = token.info()
        return info.commands, info.map_types, info.program_types, info.attach_types

    assert in_user_namespace(inside, delegated(SOME)) == tuple(map(frozenset, SOME.values()))
    commands, maps, programs, hooks = in_user_namespace(inside, delegated(ANY))
    assert {Command.PROG_LOAD, Command.TOKEN_CREATE} <= commands
    assert {MapType.HASH, MapType.ARENA} <= maps
    assert {ProgramType.XDP, ProgramType.NETFILTER} <= programs
    assert {NO_HOOK, AttachType.XDP} <= hooks


def test_objects_are_loaded_by_the_token_that_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loader's types, maps, programs or probes are without, or the wrong path is used."""
    monkeypatch.delenv("LIBBPF_BPF_TOKEN_PATH", raising=False)
    code = [ld_map_value(R1, "given", 0), ldxw(R0, R1), exit_()]
    given_map = asm.TypedMap("given", MapType.ARRAY, value="I", max_entries=1)
    spec = asm.collection(asm.Function("main", code, "socket"), maps=[given_map])

    def load(**options: Any) -> int:
        with spec.load(**options) as objects:
            given: Any = objects.maps["given"]
            given[0] = 77
            return objects.programs["main"].test_run(bytes(64)).return_value

    def inside() -> Any:
        found = load()
        with Token.create() as token:
            given = load(token=token)
        os.environ["LIBBPF_BPF_TOKEN_PATH"] = ""
        forbidden = refusal(spec.load)[0]
        os.environ["LIBBPF_BPF_TOKEN_PATH"] = str(tmp_path)
        elsewhere = refusal(spec.load)[1]
        return found, given, forbidden, elsewhere

    found, given, forbidden, elsewhere = in_user_namespace(inside, delegated(ANY))
    assert (found, given, forbidden) == (77, 77, errno.EPERM)
    assert f"create a token of {tmp_path}: it is not the root of a BPF file system" in elsewhere

    def by_variable() -> int:
        os.environ["LIBBPF_BPF_TOKEN_PATH"] = str(tmp_path)
        return load()

    assert in_user_namespace(by_variable, delegated(ANY, str(tmp_path))) == 77


def test_probes_use_the_active_token() -> None:
    """What the process can have is told to be refused."""

    def inside() -> Any:
        features.clear_cache()
        refused = refusal(lambda: features.map_type(MapType.LPM_TRIE))[0]
        with Token.create() as token, token.active():
            return refused, features.map_type(MapType.LPM_TRIE)

    assert in_user_namespace(inside, delegated(ANY)) == (errno.EPERM, True)


@dataclass
class Seen:
    packets: u64


def test_types_of_a_pinned_map_are_read_by_the_active_token() -> None:
    """Its values are bytes that nobody decodes, or cannot be had at all."""
    # Tokens are older than those by which types are opened.
    since = OpenFlags.TOKEN_FD.since
    assert since is not None
    if environment.kernel_version() < since:
        raise NotSupportedError("types by a token", since)

    def inside() -> Any:
        path = f"{BPFFS}/typed"
        with (
            Token.create() as token,
            HashMap.create(key="I", value=Seen, max_entries=1, token=token) as map,
        ):
            map[1] = Seen(7)
            map.pin(path)
            without = refusal(lambda: HashMap.open(path))[0]
            with token.active(), HashMap.open(path) as opened:
                return without, opened[1].packets

    assert in_user_namespace(inside, delegated(ANY)) == (errno.EPERM, 7)


def test_the_file_system_is_the_processes_own() -> None:
    """It is seen elsewhere, or the process may not pin what it makes."""

    def inside() -> Any:
        with Token.create() as token, hash_map(token) as map:
            map.pin(f"{BPFFS}/delegated")
            return os.listdir(BPFFS)

    before = os.listdir(BPFFS)
    assert "delegated" in in_user_namespace(inside, delegated(SOME))
    assert os.listdir(BPFFS) == before


def test_there_is_no_token() -> None:
    """The kernel's errno is all: it is the same for a wrong path and an old kernel."""
    if not features.tokens():
        delegate(os.getpid(), commands="any")
    with pytest.raises(BpfError, match="is in the first user namespace") as caught:
        Token.create()
    assert caught.value.errno == errno.EOPNOTSUPP
    with pytest.raises(BpfFileNotFoundError, match="create a token of /sys/fs/none"):
        Token.create("/sys/fs/none")
    code, text = in_user_namespace(lambda: refusal(Token.create))
    assert code == errno.EPERM
    assert "it belongs to another user namespace" in text
    assert Token.find() is None


def test_mistakes_in_delegating() -> None:
    """Something is mounted in the wrong place, or a kernel's errno has to be understood."""
    if not features.tokens():
        delegate(os.getpid(), commands="any")
    own = os.getpid()
    with pytest.raises(ValueError, match="is in this process's user namespace"):
        delegate(own, commands="any")
    with pytest.raises(ValueError, match="nothing is delegated"):
        delegate(own)
    with pytest.raises(ValueError, match="path: 'bpf' is relative"):
        delegate(own, "bpf", commands="any")
    with pytest.raises(TypeError, match=r"commands: <MapType.HASH: 1> is not an ebpf.t"):
        delegate(own, commands=[MapType.HASH])  # type: ignore[list-item]
    with pytest.raises(BpfFileNotFoundError, match="no such process"):
        delegate(2**22 + 1, commands="any")
    with pytest.raises(TypeError, match="token: 7 is not an ebpf"):
        hash_map(7)  # type: ignore[arg-type]

    def no_directory(process: int) -> None:
        with pytest.raises(BpfFileNotFoundError, match="open its root/nowhere"):
            delegate(process, "/nowhere", commands="any")

    in_user_namespace(lambda: None, no_directory)

    def no_mounts(process: int) -> None:
        with pytest.raises(BpfPermissionError, match="which its mount namespace has to belong to"):
            delegate(process, commands="any")

    in_user_namespace(lambda: None, no_mounts, mounts=False)


def test_one_without_rights_cannot_delegate() -> None:
    """Whoever is root in a namespace could give away what he does not have."""

    def inside() -> Any:
        def further(process: int) -> None:
            with pytest.raises(BpfPermissionError) as caught:
                delegate(process, **SOME)
            messages.append(str(caught.value))

        messages: list[str] = []
        in_user_namespace(lambda: None, further)
        return messages

    (told,) = in_user_namespace(inside)
    assert "not permitted" in told
