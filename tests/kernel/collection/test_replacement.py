"""Programs that attach to programs."""

from __future__ import annotations

import pytest

import ebpf
from ebpf.spec import CollectionSpec
from tests.objects import compiled

PACKET = bytes(64)


def test_freplace_needs_a_program() -> None:
    """Without it there is nothing to check the function against."""
    spec = CollectionSpec.from_file(compiled("replacement"))
    spec.select("other_number")
    with pytest.raises(ebpf.RelocationError, match=r"targets=\{'other_number': PROGRAM\}"):
        spec.load()
    with pytest.raises(KeyError, match="targets: the object has no 'missing'"):
        spec.load(targets={"missing": None})


def test_a_target_that_has_no_use_is_refused() -> None:
    """A program that was meant to attach to another would silently attach elsewhere."""
    spec = CollectionSpec.from_file(compiled("replacement"))
    spec.select("calls_number")
    with spec.load() as original, pytest.raises(ValueError, match=r"targets\['calls_number'\]"):
        spec.load(targets={"calls_number": original.programs["calls_number"]})


@pytest.mark.refused_like("freplace.c")
def test_freplace_takes_the_functions_place() -> None:
    """The wrong function would be one of another prototype, which the kernel refuses."""
    spec = CollectionSpec.from_file(compiled("replacement"))
    with spec.load() as original:
        target = original.programs["calls_number"]
        spec.select("other_number")
        with spec.load(targets={"other_number": target}) as objects:
            replacing = objects.programs["other_number"]
            assert replacing.info().type is ebpf.ProgramType.EXT
            assert target.test_run(PACKET).return_value == 1
            with replacing.attach():
                assert target.test_run(PACKET).return_value == 2
            assert target.test_run(PACKET).return_value == 1


@pytest.mark.refused_like("fentry.c")
def test_fentry_and_fexit_watch_a_program() -> None:
    """Without the target they would look for a kernel function of that name."""
    spec = CollectionSpec.from_file(compiled("replacement"))
    with spec.load() as original:
        target = original.programs["calls_number"]
        spec.select("on_entry", "on_exit")
        with spec.load(targets=dict.fromkeys(("on_entry", "on_exit"), target)) as objects:
            links = objects.attach()
            for _ in range(3):
                target.test_run(PACKET)
            for link in links:
                link.close()
            target.test_run(PACKET)
            assert objects.variables["entered"].value == 3
            assert objects.variables["left"].value == 3 * 1


def test_fentry_without_a_target_is_for_the_kernel() -> None:
    """The error has to name what is missing, and where it was looked for."""
    spec = CollectionSpec.from_file(compiled("replacement"))
    spec.select("on_entry")
    spec.programs["on_entry"].target = "no_such_kernel_function"
    with pytest.raises(FileNotFoundError, match=r"'on_entry'.*no_such_kernel_function.*BTF"):
        spec.load()


def test_a_function_that_the_target_lacks() -> None:
    """The kernel would say EINVAL to a type id of 0."""
    spec = CollectionSpec.from_file(compiled("replacement"))
    with spec.load() as original:
        target = original.programs["calls_number"]
        spec.select("other_number")
        spec.programs["other_number"].target = "no_such_function"
        with pytest.raises(FileNotFoundError, match="no function no_such_function in"):
            spec.load(targets={"other_number": target})
