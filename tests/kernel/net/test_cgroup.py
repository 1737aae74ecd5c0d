"""Programs of cgroups: what the sockets of a process inside find, and who else may attach."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ebpf import (
    AttachType,
    BpfError,
    BpfFileNotFoundError,
    BpfPermissionError,
    CollectionSpec,
    Link,
    NotSupportedError,
    Program,
    ProgramType,
    features,
    links,
    query,
)
from ebpf._sys import Descriptor, bpf
from ebpf.asm import R0, R1, R2, exit_, mov, stxw
from ebpf.links.cgroup_hooks import CGROUP_HOOKS
from ebpf.links.order import order_fields
from ebpf.links.owner import mark
from ebpf.queries import AttachedHook
from ebpf.types import AttachFlags
from tests.kernel import environment
from tests.kernel.links.hooks import inside_cgroup
from tests.kernel.links.socket_hooks import CALLS, LOOPBACK, bound, opens_tcp, sends
from tests.kernel.net.support import made_cgroup, removed, returning
from tests.kernel.samples import ROOT, Forked, bpftool, python, wait_until
from tests.objects import compiled

A = AttachType
EGRESS = A.CGROUP_INET_EGRESS
V4, V6 = socket.AF_INET, socket.AF_INET6


@pytest.fixture
def group() -> Iterator[Path]:
    with made_cgroup() as made:
        yield made


def attached(path: Path, *, effective: bool = False) -> AttachedHook:
    return query(path, effective=effective)["cgroup_skb/egress"]


def ids(path: Path, *, effective: bool = False) -> list[int]:
    return attached(path, effective=effective).program_ids


# What a program that returns 0 there makes of the call that comes to it.
DENYING = [
    *(A.CGROUP_INET_EGRESS, A.CGROUP_INET_SOCK_CREATE, A.CGROUP_DEVICE, A.CGROUP_SYSCTL),
    *(A.CGROUP_INET4_POST_BIND, A.CGROUP_INET6_POST_BIND, A.CGROUP_INET4_BIND, A.CGROUP_INET6_BIND),
    *(A.CGROUP_INET4_CONNECT, A.CGROUP_INET6_CONNECT, A.CGROUP_UNIX_CONNECT),
    *(A.CGROUP_UDP4_SENDMSG, A.CGROUP_UDP6_SENDMSG, A.CGROUP_UNIX_SENDMSG),
    *(A.CGROUP_GETSOCKOPT, A.CGROUP_SETSOCKOPT),
]


@pytest.mark.parametrize("hook", DENYING, ids=lambda hook: hook.name)
def test_a_program_denies_what_its_cgroup_does(hook: AttachType, group: Path) -> None:
    """Its 0 is not what the caller gets, or others get it too."""
    with returning(0, hook) as program, program.attach_cgroup(group):
        CALLS[hook]()
        with inside_cgroup(), pytest.raises(PermissionError):
            CALLS[hook]()
    with inside_cgroup():
        CALLS[hook]()


def test_packets_that_come_in_are_dropped(group: Path) -> None:
    """The sender sees nothing of it, the receiver no packet."""
    with returning(0, A.CGROUP_INET_INGRESS) as program, inside_cgroup(), bound(V4) as receiver:
        with bound(V4) as sender:
            with program.attach_cgroup(group):
                sender.sendto(b"dropped", receiver.getsockname())
            sender.sendto(b"passed", receiver.getsockname())
        assert receiver.recv(16) == b"passed"


# Where struct bpf_sock_addr has the port, in network byte order.
USER_PORT = 24


def to_port(port: int, hook: AttachType) -> Program:
    """A program that writes `port` where the kernel or the caller has another."""
    insns = [mov(R2, socket.htons(port)), stxw(R1 + USER_PORT, R2), mov(R0, 1), exit_()]
    return Program.load(ProgramType.CGROUP_SOCK_ADDR, insns, license="GPL", attach_type=hook)


def connected(one: socket.socket, other: socket.socket, family: int) -> int:
    one.connect((LOOPBACK[socket.AddressFamily(family)], 1))
    return int(one.getpeername()[1])


def sent(one: socket.socket, other: socket.socket, family: int) -> int:
    one.sendto(b"1", (LOOPBACK[socket.AddressFamily(family)], 1))
    assert other.recv(2) == b"1"
    return int(other.getsockname()[1])


def received(one: socket.socket, other: socket.socket, family: int) -> int:
    one.sendto(b"1", other.getsockname())
    return int(other.recvfrom(2)[1][1])


def peer(one: socket.socket, other: socket.socket, family: int) -> int:
    one.connect(one.getsockname())
    return int(one.getpeername()[1])


def own(one: socket.socket, other: socket.socket, family: int) -> int:
    return int(one.getsockname()[1])


Rewritten = Callable[[socket.socket, socket.socket, int], int]
REWRITING: dict[AttachType, tuple[int, Rewritten]] = {
    A.CGROUP_INET4_CONNECT: (V4, connected),
    A.CGROUP_INET6_CONNECT: (V6, connected),
    A.CGROUP_UDP4_SENDMSG: (V4, sent),
    A.CGROUP_UDP6_SENDMSG: (V6, sent),
    A.CGROUP_UDP4_RECVMSG: (V4, received),
    A.CGROUP_UDP6_RECVMSG: (V6, received),
    A.CGROUP_INET4_GETPEERNAME: (V4, peer),
    A.CGROUP_INET6_GETPEERNAME: (V6, peer),
    A.CGROUP_INET4_GETSOCKNAME: (V4, own),
    A.CGROUP_INET6_GETSOCKNAME: (V6, own),
}


@pytest.mark.parametrize("hook", REWRITING, ids=lambda hook: hook.name)
def test_a_program_rewrites_an_address(hook: AttachType, group: Path) -> None:
    """The port that the program wrote is not the one that is connected, sent to or shown."""
    family, call = REWRITING[hook]
    with inside_cgroup(), bound(family) as one, bound(family) as other:
        port = other.getsockname()[1]
        with to_port(port, hook) as program, program.attach_cgroup(group):
            assert call(one, other, family) == port


def test_bind_goes_to_another_port(group: Path) -> None:
    """The port that the program wrote is not the one that is bound."""
    with bound(V4) as free:
        port = free.getsockname()[1]
    program = to_port(port, A.CGROUP_INET4_BIND)
    with program, program.attach_cgroup(group), inside_cgroup(), bound(V4) as moved:
        assert moved.getsockname()[1] == port


def test_a_program_counts_for_cgroups_below(group: Path) -> None:
    """A process is let out of the policy by moving it further down."""
    below = group / "below"
    below.mkdir()
    with returning(0, EGRESS) as program, program.attach_cgroup(group) as link:
        assert ids(below, effective=True) == [link.info().prog_id]
        assert ids(below) == []
        link.detach()
        assert ids(below, effective=True) == []


def test_a_link_lets_others_in_and_is_updated(group: Path) -> None:
    """The second replaces the first, or the new program is not the one that runs."""
    with returning(1, EGRESS) as passing, returning(0, EGRESS) as dropping:
        with passing.attach_cgroup(group) as link, passing.attach_cgroup(group):
            assert len(ids(group)) == 2
            link.update(dropping, expected=passing)
            with inside_cgroup(), pytest.raises(PermissionError):
                sends(V4)()
            with pytest.raises(BpfPermissionError):
                link.update(dropping, expected=passing)
        assert ids(group) == []


def test_the_function_takes_anything_with_descriptors(group: Path) -> None:
    """A cgroup's descriptor, or a program that is no Program, are not taken."""
    with returning(1, EGRESS) as program, open(os.devnull) as wrong:
        with Program.from_fd(program.fileno()) as opened:
            directory = os.open(group, os.O_RDONLY)
            try:
                with links.attach_cgroup(opened, Numbered(directory), EGRESS):
                    assert ids(group) == [program.info().id]
            finally:
                os.close(directory)
            with pytest.raises(ValueError, match="have several hooks: CGROUP_INET_INGRESS"):
                opened.attach_cgroup(group)
        with pytest.raises(BpfError, match="is no cgroup v2 directory"):
            program.attach_cgroup(wrong)


class Numbered:
    """A descriptor and nothing else."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        return self._fd


def test_types_with_one_hook_need_not_name_it(group: Path) -> None:
    """The caller has to say what is known."""
    for type, hook in {
        ProgramType.SOCK_OPS: A.CGROUP_SOCK_OPS,
        ProgramType.CGROUP_DEVICE: A.CGROUP_DEVICE,
        ProgramType.CGROUP_SYSCTL: A.CGROUP_SYSCTL,
    }.items():
        with returning(1, type=type) as program, program.attach_cgroup(group) as link:
            assert link.info().details["attach_type"] is hook


# ---- without a link


def test_single_lets_nobody_in_below(group: Path) -> None:
    """The error does not say that the hook is taken, and by whom."""
    below = group / "below"
    below.mkdir()
    with returning(1, EGRESS) as first, returning(0, EGRESS) as second:
        with first.attach_cgroup(group, mode="single"):
            number = first.info().id
            assert attached(group).flags == AttachFlags(0)
            taken = rf"taken by the program with id {number}, attached to {group} in .*'single'"
            modes: list[tuple[Path, Any]] = [(group, None), (below, None), (below, "multi")]
            for path, mode in modes:
                with pytest.raises(BpfPermissionError, match=taken):
                    second.attach_cgroup(path, mode=mode)
            assert ids(below) == []
        assert ids(group) == []


def test_single_replaces_and_only_its_own_ends(group: Path) -> None:
    """Closing the first would detach the second, which the kernel does not tell apart."""
    with returning(1, EGRESS) as first, returning(0, EGRESS) as second:
        old = first.attach_cgroup(group, mode="single")
        new = second.attach_cgroup(group, mode="single")
        old.close()
        assert ids(group) == [second.info().id]
        with inside_cgroup(), pytest.raises(PermissionError):
            sends(V4)()
        new.detach()
        assert new.closed
        assert ids(group) == []


def test_override_runs_the_lowest_only(group: Path) -> None:
    """Both run, or the upper one."""
    below = group / "below"
    below.mkdir()
    with returning(0, EGRESS) as upper, returning(1, EGRESS) as lower:
        upper.attach_cgroup(group, mode="override")
        assert attached(group).flags is AttachFlags.ALLOW_OVERRIDE
        assert ids(below, effective=True) == [upper.info().id]
        with lower.attach_cgroup(below, mode="override"):
            assert ids(below, effective=True) == [lower.info().id]


def test_multi_runs_all_and_replaces_one(group: Path) -> None:
    """Another one is replaced, or the replaced one still runs."""
    with returning(1, EGRESS) as one, returning(1, EGRESS) as two, returning(0, EGRESS) as new:
        with one.attach_cgroup(group, mode="multi"), two.attach_cgroup(group, mode="multi"):
            assert attached(group).flags is AttachFlags.ALLOW_MULTI
            with pytest.raises(BpfError, match="is attached there in the same mode already"):
                one.attach_cgroup(group, mode="multi")
            assert len(os.listxattr(group)) == 2
            with new.attach_cgroup(group, mode="multi", replace=one):
                assert ids(group) == [new.info().id, two.info().id]
                with pytest.raises(BpfFileNotFoundError, match="replace, is not attached there"):
                    one.attach_cgroup(group, mode="multi", replace=one)
        assert ids(group) == []


def test_an_attachment_stands_for_its_program(group: Path) -> None:
    """What attaching returned is refused where a program is asked for, for untrue reasons."""
    with returning(1, EGRESS) as one, returning(1, EGRESS) as two, returning(1, EGRESS) as other:
        link = one.attach_cgroup(group, mode="multi")
        with two.attach_cgroup(group, mode="multi", replace=link):
            assert ids(group) == [two.info().id]
        with one.attach_cgroup(group) as linked:
            with pytest.raises(TypeError, match=r"^replace: .* is a link, whose program update"):
                two.attach_cgroup(group, mode="multi", replace=linked)
            with pytest.raises(TypeError, match=r"^expected: .* is a link; give the program"):
                linked.update(two, expected=linked)
        anchor = one.attach_cgroup(group, mode="multi")
        fields = order_fields(anchor, None, False, 0)
        assert AttachFlags(fields["flags"]) == AttachFlags.BEFORE
        with Descriptor(os.dup(fields["relative_fd"])) as named:
            assert bpf.prog_info(named.fileno())["id"] == one.info().id
        if features.cgroup_order():
            with other.attach_cgroup(group, mode="multi", before=anchor):
                assert ids(group) == [other.info().id, one.info().id]


def test_what_an_attachment_without_a_link_has_not(group: Path) -> None:
    """It acts as if there were a link; or is used after it was closed."""
    with returning(1, EGRESS) as program:
        with program.attach_cgroup(group, mode="multi") as link:
            calls: list[Callable[[], object]] = [
                link.info,
                lambda: link.update(program),
                lambda: link.pin("/sys/fs/bpf/never"),
            ]
            for call in calls:
                with pytest.raises(NotSupportedError, match="attached without a link"):
                    call()
        link.close()
        assert link.closed


def test_the_program_that_is_closed_detaches(group: Path) -> None:
    """It goes on without an owner."""
    with returning(1, EGRESS) as program:
        program.attach_cgroup(group, mode="multi")
        assert len(ids(group)) == 1
    assert ids(group) == []


def attached_elsewhere(path: Path, mode: Any, *, forks: bool = False) -> Forked:
    """A child of this process that has attached a program, whose id it tells, and waits.

    With `forks`, a child of its own has closed the link that it inherited.
    """

    def attach_and_wait(tell: Callable[[int], object]) -> None:
        with returning(1, EGRESS) as program:
            link = program.attach_cgroup(path, mode=mode)
            if forks and os.fork() == 0:
                link.close()
                os._exit(0)
            if forks:
                os.wait()
            tell(program.info().id)
            signal.pause()

    return Forked(attach_and_wait)


@pytest.mark.parametrize("mode", ["single", "multi"])
def test_what_a_killed_process_leaves_is_cleaned_up(group: Path, mode: Any) -> None:
    """It stays for good; or what others attached is detached, too."""
    below = group / "below"
    below.mkdir()
    with attached_elsewhere(below, mode) as child, returning(1, EGRESS) as own:
        if mode == "multi":
            own.attach_cgroup(group, mode=mode)
        assert not [text for text in links.cleanup() if str(below) in text]
        assert ids(below) == [child.told]
        # Of somebody else, who uses the same kind of name.
        os.setxattr(below, "trusted.ebpf.1.1", b"mine")
        child.end()
        assert ids(below) == [child.told]
        assert [text for text in links.cleanup() if str(group) in text] == [
            f"CGROUP_INET_EGRESS of {below}"
        ]
        assert ids(below) == []
        assert ids(group) == ([own.info().id] if mode == "multi" else [])
        assert os.listxattr(below) == ["trusted.ebpf.1.1"]


def test_who_has_a_cgroup_cannot_have_it_cleaned_up(group: Path) -> None:
    """A user whom the cgroup was delegated to, gets root to detach root's policy."""
    fd = os.open(group, os.O_RDONLY)
    with Descriptor(fd), returning(1, EGRESS) as policy:
        id = policy.info().id
        fields: Any = {"attach_type": EGRESS, "attach_flags": AttachFlags.ALLOW_MULTI}
        bpf.prog_attach("attach", target_fd=fd, attach_bpf_fd=policy.fileno(), **fields)
        os.chown(group, 65534, 65534)

        def plant(tell: Callable[[int], object]) -> None:
            os.setgid(65534)
            os.setuid(65534)
            for kind in ("user", "trusted"):
                with contextlib.suppress(OSError):
                    name = f"{kind}.ebpf.{int(EGRESS)}.{id}"
                    os.setxattr(group, name, mark().replace("p", "p9").encode())
            tell(0)
            signal.pause()

        with Forked(plant) as user:
            user.end()
        links.cleanup()
        assert ids(group) == [id]


def test_another_program_in_the_place_of_a_killed_one_stays(group: Path) -> None:
    """Cleaning up detaches what somebody else has attached since."""
    with attached_elsewhere(group, "single") as child, returning(1, EGRESS) as own:
        child.end()
        with own.attach_cgroup(group, mode="single"):
            links.cleanup()
            assert ids(group) == [own.info().id]


ENDS = """
import sys
from tests.kernel.net.support import returning, AttachType
program = returning(1, AttachType.CGROUP_INET_EGRESS)
link = program.attach_cgroup(sys.argv[1], mode="multi")
"""


def test_a_process_that_ends_by_itself_leaves_nothing(group: Path) -> None:
    """The program goes on without an owner."""
    python(ENDS, str(group))
    assert ids(group) == []
    assert not os.listxattr(group)


def test_a_forked_child_does_not_detach(group: Path) -> None:
    """What the parent has attached ends with the child."""
    with attached_elsewhere(group, "multi", forks=True) as child:
        assert ids(group) == [child.told]
    links.cleanup()
    assert ids(group) == []


# ---- order


def ordered(program: Program, group: Path, **options: Any) -> Link:
    return program.attach_cgroup(group, **options)


@pytest.mark.parametrize("mode", [None, "multi"])
def test_programs_go_before_and_after_others(group: Path, mode: Any) -> None:
    """The order in which they run is another."""
    with returning(1, EGRESS) as a, returning(1, EGRESS) as b, returning(1, EGRESS) as c:
        numbers = [program.info().id for program in (a, b, c)]
        with a.attach_cgroup(group, mode=mode) as middle:
            anchor = middle if mode is None else a
            with ordered(b, group, mode=mode, before=anchor):
                with ordered(c, group, mode=mode, after=anchor):
                    assert ids(group) == [numbers[1], numbers[0], numbers[2]]
                with ordered(c, group, mode=mode, first=True):
                    assert ids(group) == [numbers[2], numbers[1], numbers[0]]


def test_preorder_comes_before_those_below(group: Path) -> None:
    """Programs of the cgroup below run first, as they do without it."""
    below = group / "below"
    below.mkdir()
    with returning(1, EGRESS) as upper, returning(1, EGRESS) as lower:
        numbers = [upper.info().id, lower.info().id]
        with lower.attach_cgroup(below, mode="multi"):
            with upper.attach_cgroup(group, mode="multi"):
                assert ids(below, effective=True) == numbers[::-1]
            with upper.attach_cgroup(group, mode="multi", preorder=True):
                assert ids(below, effective=True) == numbers


def test_a_stale_revision(group: Path) -> None:
    """It is attached although others have changed the hook since."""
    with returning(1, EGRESS) as one, returning(1, EGRESS) as two:
        one.attach_cgroup(group, expected_revision=1).close()
        revision = attached(group).revision
        with one.attach_cgroup(group, expected_revision=revision):
            with pytest.raises(BpfError, match="revision is not expected_revision") as caught:
                two.attach_cgroup(group, expected_revision=revision)
            assert caught.value.errno == errno.ESTALE
            assert ids(group) == [one.info().id]


# ---- mistakes


def test_a_cgroup_that_is_none_or_gone(group: Path, tmp_path: Path) -> None:
    """The error is of another thing than the cgroup."""
    with returning(1, EGRESS) as program:
        for mode in (None, "multi"):
            with pytest.raises(BpfError, match="is no cgroup v2 directory"):
                program.attach_cgroup(tmp_path, mode=mode)
            with pytest.raises(BpfFileNotFoundError, match=r"open the cgroup .*never"):
                program.attach_cgroup(group / "never", mode=mode)
            gone = removed(group / "gone")
            try:
                with pytest.raises(BpfError, match="removed"):
                    program.attach_cgroup(Numbered(gone), mode=mode)
            finally:
                os.close(gone)


def test_a_revision_of_what_is_no_cgroup(tmp_path: Path) -> None:
    """The error is of the revision."""
    with returning(1, EGRESS) as program, pytest.raises(BpfError, match="no cgroup v2 directory"):
        program.attach_cgroup(tmp_path, expected_revision=1)


@pytest.mark.parametrize("mode", [None, "multi"])
def test_a_cgroup_that_vanishes_while_attached(group: Path, mode: Any) -> None:
    """Closing fails, or hangs on to what is gone."""
    below = group / "below"
    below.mkdir()
    with returning(1, EGRESS) as program, program.attach_cgroup(below, mode=mode) as link:
        below.rmdir()
        if mode is None:
            wait_until(lambda: not link.info().details["cgroup_id"], "the cgroup is gone")
            with pytest.raises(BpfError, match="what it was attached to is gone"):
                link.update(program)
        link.close()
        assert link.closed


MISTAKES: dict[str, tuple[type[Exception], str, dict[str, Any]]] = {
    "a hook of something else": (ValueError, "XDP is no hook", {"attach_type": A.XDP}),
    "lsm_cgroup": (ValueError, "attach_lsm_cgroup", {"attach_type": A.LSM_CGROUP}),
    "another type": (BpfError, "it takes CGROUP_DEVICE", {"attach_type": A.CGROUP_DEVICE}),
    "a mode that is none": (ValueError, "mode: 'both' is not 'single'", {"mode": "both"}),
    "an order of one": (TypeError, "'single' has one program", {"mode": "single", "first": True}),
    "a revision that is none": (TypeError, "expected_revision", {"expected_revision": "1"}),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_named(mistake: str, group: Path) -> None:
    """Something is attached, or the kernel's EINVAL is all."""
    error, text, options = MISTAKES[mistake]
    with returning(1, EGRESS) as program:
        with pytest.raises(error, match=text):
            program.attach_cgroup(group, **options)
        assert ids(group) == []


def test_options_that_exclude_each_other(group: Path) -> None:
    """One of them is dropped."""
    with returning(1, EGRESS) as program:
        with pytest.raises(TypeError, match="before, after, first"):
            program.attach_cgroup(group, before=program, first=True)
        with pytest.raises(TypeError, match="replace"):
            program.attach_cgroup(group, replace=program)
        with pytest.raises(TypeError, match="after: 'a' has no descriptor"):
            program.attach_cgroup(group, after="a")  # type: ignore[arg-type]


def test_a_program_for_another_hook(group: Path) -> None:
    """It would judge what it was not verified for."""
    text = r"loaded for another hook \(attach_type\)"
    with returning(1, A.CGROUP_INET4_BIND) as program, pytest.raises(BpfError, match=text):
        program.attach_cgroup(group, A.CGROUP_INET4_CONNECT)


def test_too_many_programs(group: Path) -> None:
    """The limit is not named."""
    with returning(1, EGRESS) as program:
        for _ in range(64):
            program.attach_cgroup(group)
        with pytest.raises(BpfError, match=r"\(64\) are attached"):
            program.attach_cgroup(group)


WITHOUT_RIGHTS = """
import ctypes, sys
from ebpf import BpfPermissionError
from tests.kernel.net.support import returning, AttachType
program = returning(1, AttachType.CGROUP_INET_EGRESS)
header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
assert ctypes.CDLL(None).capset(header, none) == 0
for mode in (None, "multi"):
    try:
        program.attach_cgroup(sys.argv[1], mode=mode)
    except BpfPermissionError as error:
        print(error)
"""


def test_missing_rights_are_told_as_facts(group: Path) -> None:
    """The hook is said to be taken, or EPERM is all."""
    command = [sys.executable, "-W", "ignore", "-c", WITHOUT_RIGHTS, str(group)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout.count("capabilities: none") == 2, run.stdout


# ---- by section


def test_the_sections_of_an_object(group: Path) -> None:
    """A program is left out although the cgroup is given, or attached to another hook."""
    with CollectionSpec.from_file(compiled("cgroup")).load() as objects:
        assert objects.attach() == []
        with pytest.raises(TypeError, match=r"no program of .* takes netns="):
            objects.attach(cgroup=group, netns="/proc/self/ns/net")
        assert ids(group) == []
        made = objects.attach(cgroup=group)
        assert len(made) == 4
        with inside_cgroup():
            opens_tcp()
        values = {name: variable.value for name, variable in objects.variables.items()}
        assert values["connected"] == 1
        assert values["created"] >= 2
        assert values["sent"] >= 3
        assert values["operations"] >= 2
        program = objects.programs["counts_packets"]
        with pytest.raises(TypeError, match=r"cgroup takes cgroup=$"):
            program.attach()
        with pytest.raises(TypeError, match="cgroup takes cgroup=, not netns="):
            program.attach(netns="/proc/self/ns/net")
    assert ids(group) == []


# ---- what is attached


def shown(*command: str, without: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What bpftool says; `without` where it cannot: before 6.0 it asks for too much (7.1)."""
    if environment.kernel_version() < (6, 0):
        return without
    return list(bpftool("cgroup", *command))


def test_what_is_attached_is_what_bpftool_shows(group: Path) -> None:
    """A hook, a program, its flags or its order is another."""
    with (
        returning(1, EGRESS) as one,
        returning(1, EGRESS) as two,
        returning(1, A.CGROUP_INET4_CONNECT) as connecting,
        returning(1, A.CGROUP_SOCK_OPS) as operating,
    ):
        one.attach_cgroup(group)
        two.attach_cgroup(group)
        connecting.attach_cgroup(group, mode="override")
        operating.attach_cgroup(group, mode="single")
        words = {"multi": 2, "override": 1, "": 0}
        numbers = [program.info().id for program in (one, two, connecting, operating)]
        flags = ("multi", "multi", "override", "")
        known = [{"id": n, "attach_flags": f} for n, f in zip(numbers, flags, strict=True)]
        rows = shown("show", str(group), without=known)
        theirs = [(row["id"], words[row["attach_flags"]]) for row in rows]
        answer = query(group)
        ours = [
            (program.id, int(hook.flags)) for hook in answer.values() for program in hook.programs
        ]
        assert sorted(ours) == sorted(theirs)
        assert answer["cgroup_skb/egress"].program_ids == [one.info().id, two.info().id]
        assert answer["cgroup/connect4"].program_ids == [connecting.info().id]
        assert answer["sockops"].program_ids == [operating.info().id]
        assert answer["cgroup_skb/ingress"].programs == []
        if environment.kernel_version() >= (6, 0):
            (program,) = answer["cgroup/connect4"].programs
            assert program.flags is AttachFlags.ALLOW_OVERRIDE


def test_a_tree_of_cgroups_is_what_bpftool_shows(group: Path) -> None:
    """A program of one cgroup is told of the other."""
    below = group / "below"
    below.mkdir()
    with returning(1, EGRESS) as upper, returning(1, A.CGROUP_INET_INGRESS) as lower:
        upper.attach_cgroup(group)
        lower.attach_cgroup(below)
        known = [
            {"cgroup": str(path), "programs": [{"id": program.info().id}]}
            for path, program in ((group, upper), (below, lower))
        ]
        theirs = {
            row["cgroup"]: [program["id"] for program in row["programs"]]
            for row in shown("tree", str(group), without=known)
        }
        ours = {
            str(path): [number for hook in query(path).values() for number in hook.program_ids]
            for path in (group, below)
        }
        assert ours == theirs
        effective = query(below, effective=True)
        assert effective["cgroup_skb/egress"].program_ids == [upper.info().id]
        assert effective["cgroup_skb/ingress"].program_ids == [lower.info().id]


def test_hooks_that_the_kernel_has_are_told(group: Path) -> None:
    """One is left out, or told of a kernel that does not have it."""
    here = environment.kernel_version()
    known = {hook for hook in CGROUP_HOOKS if (hook.since or (0, 0)) <= here}
    assert len(set(query(group)) - {"lsm_cgroup"}) == len(known)
    directory = os.open(group, os.O_RDONLY)
    try:
        assert query(Numbered(directory)) == query(str(group))
    finally:
        os.close(directory)


def test_what_cannot_be_queried(group: Path, tmp_path: Path) -> None:
    """The error is of another kind of target."""
    with pytest.raises(BpfError, match="is no cgroup v2 directory"):
        query(tmp_path)
    with pytest.raises(BpfFileNotFoundError, match="never"):
        query(group / "never")
    with pytest.raises(TypeError, match="effective: only a cgroup"):
        query("/proc/self/ns/net", effective=True)
    with pytest.raises(TypeError, match="effective: only a cgroup"):
        query("lo", effective=True)
