"""Every hook: the effect of being attached, and that nothing is left when it ends.

The outcome of each of these tests is a row of docs/attachments.md.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import pytest

from ebpf import BpfFileNotFoundError, HashMap, Program, links
from ebpf._sys import bpf
from ebpf.links import remove_stale_events
from tests.kernel.links.function_hooks import FUNCTION_HOOKS
from tests.kernel.links.hooks import HOOKS as TRACING_HOOKS
from tests.kernel.links.hooks import Hook
from tests.kernel.links.network_hooks import NETWORK_HOOKS
from tests.kernel.links.socket_hooks import SOCKET_HOOKS
from tests.kernel.samples import Forked, bpftool, per_process, wait_until

HOOKS = {**TRACING_HOOKS, **SOCKET_HOOKS, **NETWORK_HOOKS, **FUNCTION_HOOKS}
EVERY = [pytest.param(name, marks=hook.marks, id=name) for name, hook in HOOKS.items()]


def link_ids() -> set[int]:
    return {shown["id"] for shown in bpftool("link", "show")}


def ids_without_bpftool() -> set[int]:
    """The same, quickly: bpftool looks through all processes for holders of links."""
    found, last = set(), 0
    while (id := bpf.link_get_next_id(last)) is not None:
        found.add(last := id)
    return found


@pytest.fixture
def counts(request: pytest.FixtureRequest) -> Iterator[HashMap[int, int]]:
    with per_process() as made:
        yield made
    cleanup = HOOKS[request.node.callspec.params["name"]].cleanup
    if cleanup is not None:
        cleanup()
    # What a killed process may leave by design (docs/attachments.md).
    remove_stale_events()


def total(counts: HashMap[int, int]) -> int:
    """Runs in this process and its children: others may pass the same hook meanwhile."""
    return counts.lookup(os.getpid()) or 0


@pytest.mark.parametrize("name", EVERY)
def test_the_program_runs_while_it_is_attached(name: str, counts: HashMap[int, int]) -> None:
    """The effect of a real call is missing, or goes on after the link is closed."""
    hook = HOOKS[name]
    before = link_ids()
    with hook.load(counts) as program:
        hook.trigger(None)
        assert total(counts) == 0
        with hook.attach(program) as link:
            hook.trigger(link)
            first = total(counts)
            assert first >= hook.runs
            hook.trigger(link)
            assert total(counts) >= first + hook.runs
        ended = total(counts)
        hook.trigger(None)
        assert total(counts) == ended
    assert link_ids() <= before


def attached_elsewhere(hook: Hook, counts: HashMap[int, int]) -> Forked:
    """A child of this process that has attached a program, whose id it tells, and waits."""

    def attach_and_wait(tell: Callable[[int], object]) -> None:
        if hook.disown is not None:
            hook.disown()
        program = hook.load(counts)
        hook.trigger(hook.attach(program))
        tell(program.info().id)
        signal.pause()

    return Forked(attach_and_wait)


@pytest.mark.parametrize("name", EVERY)
def test_the_attachment_is_gone_after_sigkill(name: str, counts: HashMap[int, int]) -> None:
    """A tool that is killed leaves its program running: where the kernel does not end it with the
    process, `links.cleanup` does not."""
    hook = HOOKS[name]
    # Raises what this kernel does not have, here where it is understood.
    with hook.load(counts) as program:
        hook.attach(program).close()
    before, here = ids_without_bpftool(), total(counts)
    with attached_elsewhere(hook, counts) as child:
        assert (counts.lookup(child.pid) or 0) >= hook.runs
    if hook.stale is not None:
        assert not gone(child.told)
        assert links.cleanup(hook.stale())
    wait_until(lambda: gone(child.told), "the program is freed")
    there = counts.lookup(child.pid)
    hook.trigger(None)
    # Some programs count for the process that loaded them.
    assert (total(counts), counts.lookup(child.pid)) == (here, there)
    assert ids_without_bpftool() <= before


def gone(program_id: int) -> bool:
    try:
        Program.from_id(program_id).close()
    except BpfFileNotFoundError:
        return True
    return False
