"""Who else may attach to a cgroup: modes, what is left by processes that end, order."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ebpf import (
    AttachType,
    BpfError,
    BpfFileNotFoundError,
    BpfPermissionError,
    Link,
    NotSupportedError,
    Program,
    features,
    links,
)
from ebpf._sys import Descriptor, bpf
from ebpf.links.order import order_fields
from ebpf.links.owner import mark
from ebpf.types import AttachFlags
from tests.kernel.links.hooks import inside_cgroup
from tests.kernel.links.socket_hooks import sends
from tests.kernel.net.support import attached, ids, returning
from tests.kernel.samples import Forked, in_child, python

A = AttachType
EGRESS = A.CGROUP_INET_EGRESS


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
            sends(socket.AF_INET)()
        new.detach()
        assert new.closed
        assert ids(group) == []


def test_what_an_attachment_keeps_is_no_standard_stream(group: Path) -> None:
    """A daemon has closed those; what it opens in their place is then in that of the program."""

    def attach() -> None:
        for stream in range(3):
            os.close(stream)
        with returning(1, EGRESS) as program, program.attach_cgroup(group, mode="single") as link:
            assert link.fileno() > 2
            for stream in range(3):
                with pytest.raises(OSError, match="Bad file descriptor"):
                    os.fstat(stream)

    assert in_child(attach) == 0


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
                    name = f"{kind}.ebpf.{int(EGRESS)}.{id}.{mark().replace('p', 'p9')}_1"
                    os.setxattr(group, name, b"1")
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


def attached_again(path: Path, program: Program) -> Forked:
    """A child of this process that has attached the same program, and waits."""

    def attach_and_wait(tell: Callable[[int], object]) -> None:
        program.attach_cgroup(path, mode="override")
        tell(1)
        signal.pause()

    return Forked(attach_and_wait)


def test_the_same_program_of_a_killed_process_stays(group: Path) -> None:
    """A worker that took over from one that is gone, has no policy any more."""
    with returning(1, EGRESS) as program:
        with attached_again(group, program) as before:
            link = program.attach_cgroup(group, mode="override")
            before.end()
            assert not [text for text in links.cleanup() if str(group) in text]
            assert ids(group) == [program.info().id]
            assert len(os.listxattr(group)) == 1
        link.close()
        assert ids(group) == []


def test_the_same_program_of_another_process_stays(group: Path) -> None:
    """The worker that goes takes the policy of the one that has come."""
    with returning(1, EGRESS) as program:
        link = program.attach_cgroup(group, mode="override")
        with attached_again(group, program) as after:
            link.close()
            assert ids(group) == [program.info().id]
            after.end()
            assert [text for text in links.cleanup() if str(group) in text] == [
                f"CGROUP_INET_EGRESS of {group}"
            ]
    assert ids(group) == []


def test_an_interrupted_attachment_leaves_nothing(
    group: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while the kernel attaches leaves a program that nobody has, and no mark of it."""
    real = bpf.prog_attach

    def interrupted(*arguments: Any, **fields: Any) -> None:
        real(*arguments, **fields)
        raise KeyboardInterrupt

    monkeypatch.setattr(bpf, "prog_attach", interrupted)
    with returning(1, EGRESS) as program, pytest.raises(KeyboardInterrupt):
        program.attach_cgroup(group, mode="multi")
    assert ids(group) == []
    assert not os.listxattr(group)


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
