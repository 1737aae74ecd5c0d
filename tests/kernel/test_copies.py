"""Objects that own a descriptor can't be copied: two owners would close the same number twice."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from ebpf import HashMap, ProgramType, RingBuffer
from ebpf.collection import Collection
from ebpf.spec import CollectionSpec
from tests.kernel.samples import CLONED, PASS, load, ring_map
from tests.objects import compiled

COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": pickle.dumps,
    "pickle of protocol 0": lambda value: pickle.dumps(value, 0),
    "in a list": lambda value: copy.deepcopy([value]),
}


@pytest.fixture
def owners() -> Iterator[dict[str, Any]]:
    """One open object of each kind."""
    with ExitStack() as stack:
        program = stack.enter_context(load(ProgramType.RAW_TRACEPOINT, PASS))
        ring = stack.enter_context(ring_map())
        yield {
            "use duplicate()": stack.enter_context(
                HashMap.create(key="I", value="I", max_entries=1)
            ),
            "use from_fd()": program,
            "or use from_fd()": program.attach_raw_tracepoint(CLONED[1]),
            "make another RingBuffer": stack.enter_context(RingBuffer(ring)),
            "load the spec again": stack.enter_context(Collection.load(CollectionSpec())),
        }


@pytest.mark.parametrize("how", COPIES)
def test_an_owner_is_not_copied(owners: dict[str, Any], how: str) -> None:
    """The first of the two that is collected closes the number that the other still uses."""
    for remedy, owner in owners.items():
        with pytest.raises(TypeError, match="can't be copied or pickled") as caught:
            COPIES[how](owner)
        assert remedy in str(caught.value)
        assert not owner.closed if hasattr(owner, "closed") else owner.__enter__() is owner


def test_what_is_recommended_gives_two_owners() -> None:
    """A duplicate must not close what it was made from."""
    with HashMap.create(key="I", value="I", max_entries=1) as m:
        with m.duplicate() as other:
            other[1] = 2
        assert m[1] == 2


def test_a_spec_is_pickled_and_loaded() -> None:
    """A process that multiprocessing starts anew cannot be given one, or gets other programs."""
    spec = CollectionSpec.from_file(compiled("core_load"))
    spec.variables["results"].value = list(range(1, 25))
    pickled = pickle.loads(pickle.dumps(spec))
    results = []
    for one in (spec, pickled):
        with one.load() as objects:
            before = tuple(objects.variables["results"].value)
            for program in objects.programs.values():
                program.test_run(ctx=bytes(16))
            results.append((before, tuple(objects.variables["results"].value)))
    assert results[0] == results[1]
