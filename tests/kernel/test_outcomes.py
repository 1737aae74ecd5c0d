"""The rules of conftest.py: what a kernel test may come out as, and what is a failure all the same.

Each run here is one of pytest on tests that behave in a given way, with those rules and no others.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel import conftest
from tests.kernel.samples import ROOT

# The kernel is said to be 5.10, so that the outcomes are the same on all.
HEAD = """
import os
import pytest
from ebpf import Map, MapType
from ebpf.errors import BpfPermissionError, NotSupportedError
from tests.kernel import environment

environment.kernel_version = lambda: (5, 10)
kept = []

def refuse():
    raise BpfPermissionError(1, "not permitted")
"""

TESTS = """
def test_that_passes():
    pass

def test_that_fails():
    assert kept

def test_newer_than_the_kernel():
    raise NotSupportedError("a feature", (5, 15))

def test_older_than_the_kernel():
    raise NotSupportedError("a feature", (5, 10))

@pytest.mark.everywhere
def test_that_every_kernel_can_do():
    raise NotSupportedError("a feature", (5, 15))

def test_of_no_release():
    raise NotSupportedError("a feature")

def test_of_no_kernel_that_there_is():
    raise NotSupportedError("a feature", (99, 0))

def test_that_skips_itself():
    pytest.skip("just so")

@pytest.mark.skip(reason="just so")
def test_that_is_skipped():
    pass

@pytest.mark.xfail(reason="just so", strict=False)
def test_that_is_said_to_fail():
    assert kept

@pytest.mark.needs_config("CONFIG_BPF", "CONFIG_OF_NO_KERNEL")
def test_not_in_the_config():
    assert kept

@pytest.mark.needs_config("CONFIG_BPF")
def test_in_the_config():
    assert kept

def test_refused_for_no_reason():
    refuse()

@pytest.mark.refused_like(os.environ["REFUSED"])
def test_refused_as_c_is():
    refuse()

@pytest.mark.refused_like(os.environ["GRANTED"])
def test_refused_where_c_is_not():
    refuse()

@pytest.mark.refused_like(os.environ["REFUSED"])
def test_that_fails_otherwise():
    assert kept

@pytest.mark.in_vm
@pytest.mark.refused_like(os.environ["GRANTED"])
def test_that_could_deny():
    assert kept

@pytest.mark.in_vm
def test_that_could_deny_and_is_never_refused():
    assert kept

@pytest.mark.in_vm
@pytest.mark.refused_like(os.environ["REFUSED"])
def test_that_could_deny_but_is_refused():
    refuse()

def test_that_goes_into_a_vm():
    os.environ["EBPF_VM"] = "5.10"

@pytest.mark.in_vm
@pytest.mark.refused_like(os.environ["GRANTED"])
def test_that_could_deny_to_a_vm():
    pass

def test_that_leaves_a_descriptor():
    kept.append(os.open("/dev/null", os.O_RDONLY))

def test_too_old_and_leaves_a_descriptor():
    kept.append(os.open("/dev/null", os.O_RDONLY))
    raise NotSupportedError("a feature", (5, 15))

@pytest.fixture
def missing():
    raise NotSupportedError("a feature", (5, 15))

def test_whose_fixture_is_newer(missing):
    pass

@pytest.fixture
def fragile():
    yield
    raise NotSupportedError("a feature", (5, 15))

def test_whose_fixture_fails_in_the_end(fragile):
    pass
"""

EXPECTED = {
    "that_passes": "works",
    "that_fails": "failed",
    "newer_than_the_kernel": "too old (5.15)",
    "older_than_the_kernel": "failed",
    "that_every_kernel_can_do": "failed",
    "of_no_release": "failed",
    "of_no_kernel_that_there_is": "failed",
    "that_skips_itself": "failed",
    "that_is_skipped": "failed",
    "that_is_said_to_fail": "failed",
    "not_in_the_config": "not built (CONFIG_OF_NO_KERNEL)",
    "in_the_config": "failed",
    "refused_for_no_reason": "failed",
    "refused_as_c_is": "refused (as {refused} is)",
    "refused_where_c_is_not": "failed",
    "that_fails_otherwise": "failed",
    "that_could_deny": "not run (in a VM only)",
    "that_could_deny_and_is_never_refused": "not run (in a VM only)",
    "that_could_deny_but_is_refused": "refused (as {refused} is)",
    "that_goes_into_a_vm": "works",
    "that_could_deny_to_a_vm": "works",
    "that_leaves_a_descriptor": "failed",
    "too_old_and_leaves_a_descriptor": "failed",
    "whose_fixture_is_newer": "too old (5.15)",
    "whose_fixture_fails_in_the_end": "failed",
}


def run(directory: Path, tests: str) -> tuple[int, str, dict[str, str]]:
    """The exit status, what was printed, and the outcomes by the tests' names."""
    proofs = {}
    for name, status in (("REFUSED", 1), ("GRANTED", 0)):
        proofs[name] = str(directory / f"{name}.c")
        Path(proofs[name]).write_text(f"int main(void) {{ return {status}; }}\n")
    (directory / "test_sample.py").write_text(HEAD + tests)
    (directory / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", conftest.__name__]
    # Options and plugins of the run that this test is part of are none of the rules, nor is its VM.
    own = ("PYTEST_", "EBPF_VM")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", "-c", str(directory / "pytest.ini"), str(directory)],
        cwd=ROOT,
        env={**inherited, **proofs, conftest.RESULTS: str(directory / "results")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    outcomes = {}
    for path in directory.glob("results/*.json"):
        for test, outcome in json.loads(path.read_text())["outcomes"].items():
            outcomes[test.partition("::test_")[2]] = outcome
    return done.returncode, done.stdout, outcomes


def test_only_what_is_proven_is_excused(tmp_path: Path) -> None:
    """A skip, an error or a leak is taken for something that the kernel lacks."""
    status, output, outcomes = run(tmp_path, TESTS)
    refused = str(tmp_path / "REFUSED.c")
    expected = {name: outcome.format(refused=refused) for name, outcome in EXPECTED.items()}
    assert outcomes == expected, output
    assert status == pytest.ExitCode.TESTS_FAILED


def test_what_is_excused_fails_no_run(tmp_path: Path) -> None:
    """No kernel has everything: its run could never pass."""
    tests = "def test_new():\n    raise NotSupportedError('a feature', (5, 15))\n"
    status, output, outcomes = run(tmp_path, tests)
    assert (status, outcomes) == (0, {"new": "too old (5.15)"}), output


def test_a_file_that_is_skipped_fails_the_run(tmp_path: Path) -> None:
    """Its tests would be missing from the table, and nobody would know."""
    status, output, outcomes = run(tmp_path, "pytest.skip('just so', allow_module_level=True)\n")
    assert status not in (0, pytest.ExitCode.NO_TESTS_COLLECTED), output
    assert "skipped as a whole" in output
    assert not outcomes


def test_what_a_run_leaves_open_fails_it(tmp_path: Path) -> None:
    """What a fixture of the whole run keeps is open before and after each test."""
    tests = """
@pytest.fixture(scope="session")
def map():
    kept.append(Map.create(MapType.HASH, key=4, value=4, max_entries=1))

def test_with_it(map):
    pass
"""
    status, output, outcomes = run(tmp_path, tests)
    assert outcomes == {"with_it": "works"}, output
    assert status == pytest.ExitCode.TESTS_FAILED
    assert "left open by the whole run" in output
