"""Programs that attach to programs."""

from __future__ import annotations

import pytest

import ebpf
from ebpf.spec import CollectionSpec
from tests.objects import compiled


def test_freplace_needs_a_program() -> None:
    """Without it there is nothing to check the function against."""
    spec = CollectionSpec.from_file(compiled("replacement"))
    spec.select("other_number")
    with pytest.raises(ebpf.RelocationError, match=r"targets=\{'other_number': PROGRAM\}"):
        spec.load()
    with pytest.raises(KeyError, match="targets: the object has no 'missing'"):
        spec.load(targets={"missing": None})


@pytest.mark.refused_like("freplace.c")
def test_freplace_takes_the_functions_place() -> None:
    """The wrong function would be one of another prototype, which the kernel refuses."""
    spec = CollectionSpec.from_file(compiled("replacement"))
    with spec.load() as original:
        target = original.programs["calls_number"]
        spec.select("other_number")
        with spec.load(targets={"other_number": target}) as objects:
            assert objects.programs["other_number"].info().type is ebpf.ProgramType.EXT


def test_a_function_that_the_target_lacks() -> None:
    """The kernel would say EINVAL to a type id of 0."""
    spec = CollectionSpec.from_file(compiled("replacement"))
    with spec.load() as original:
        target = original.programs["calls_number"]
        spec.select("other_number")
        spec.programs["other_number"].target = "no_such_function"
        with pytest.raises(ebpf.RelocationError, match="no function no_such_function in"):
            spec.load(targets={"other_number": target})
