"""What is said of a program that the verifier refuses: which, where, and what to do."""

from __future__ import annotations

import re

import pytest

import ebpf
from ebpf.spec import CollectionSpec
from tests.kernel.environment import kernel_version
from tests.kernel.samples import python
from tests.objects import SOURCES, compiled

SOURCE = (SOURCES / "refused.bpf.c").read_text(encoding="utf-8").splitlines()


def refused(name: str, license: str = "GPL") -> ebpf.VerifierError:
    spec = CollectionSpec.from_file(compiled("refused"))
    spec.license = license
    spec.select(name)
    with pytest.raises(ebpf.VerifierError) as caught:
        spec.load()
    return caught.value


@pytest.mark.parametrize(
    ("name", "comment"), [("unbounded", "beyond the value"), ("unchecked", "maybe null")]
)
def test_the_line_of_the_source_is_named(name: str, comment: str) -> None:
    """Line records that are not moved with their function would name a line of another one."""
    error = refused(name)
    number = next(at for at, line in enumerate(SOURCE, 1) if comment in line)
    assert error.program == name
    assert error.source == f"refused.bpf.c:{number}: {SOURCE[number - 1].strip()}"
    assert error.source in str(error)
    assert f"program '{name}'" in str(error)
    assert error.instruction is not None
    walked = re.findall(rf"^{error.instruction}: \([0-9a-f]{{2}}\) .*", error.log, re.MULTILINE)
    assert f"instruction {error.instruction}: " in str(error)
    assert walked


def test_the_log_has_the_source_between_the_instructions() -> None:
    """The kernel writes it only where line records and function records are right."""
    log = refused("unbounded").log
    lines = [line.strip() for line in SOURCE]
    shown = [line[1:].partition(" @ ")[0].strip() for line in log.splitlines() if line[:1] == ";"]
    assert "return word(context[1]);" in shown
    assert "return value ? value[index] : 0; /* beyond the value */" in shown
    assert set(shown) <= {*lines, *(line.partition(" /*")[0] for line in lines)}


def test_a_license_is_what_a_helper_asks_for() -> None:
    """The verifier says that the helper is restricted, not what to write."""
    error = refused("only_gpl", license="Proprietary")
    assert 'whose license is GPL-compatible ("GPL")' in str(error)


LOAD = """
from ebpf import CollectionSpec
CollectionSpec.from_file({path!r}).load().close()
"""
# Root by its number only: another user could not look into every folder that the tests run from.
POWERLESS = ("setpriv", "--inh-caps=-all", "--bounding-set=-all")
# CAP_IPC_LOCK would lift the limit, CAP_SYS_RESOURCE let the library raise it.
LIMITED = (
    *("prlimit", "--memlock=0:0"),
    *("setpriv", "--bounding-set=-ipc_lock,-sys_resource"),
)


def test_without_rights_the_capability_is_named() -> None:
    """EPERM of whatever comes first says nothing of what is missing."""
    code = LOAD.format(path=str(compiled("data")))
    told = python(code, prefix=POWERLESS, status=1)
    assert "BpfPermissionError" in told
    assert "This process has neither CAP_BPF nor CAP_SYS_ADMIN" in told


def test_a_memlock_limit_that_cannot_be_raised_is_named() -> None:
    """Kernels before 5.11 say EPERM to it, as they do to missing rights."""
    code = LOAD.format(path=str(compiled("data")))
    if kernel_version() >= (5, 11):
        python(code, prefix=LIMITED)
        return
    told = python(code, prefix=LIMITED, status=1)
    assert "RLIMIT_MEMLOCK: 0 bytes, and kernels before 5.11 charge BPF memory to it" in told
