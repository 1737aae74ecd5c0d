"""What is said of a program that the verifier refuses: which, where, and what to do."""

from __future__ import annotations

import re

import pytest

import ebpf
from ebpf.spec import CollectionSpec
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
