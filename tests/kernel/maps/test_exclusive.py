"""Maps that one program alone may use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from ebpf import ArrayMap, HashMap, Program, ProgramType, VerifierError
from ebpf.asm import (
    R0,
    R1,
    R2,
    R10,
    Assembly,
    add,
    assemble,
    call,
    exit_,
    ld_map_fd,
    ld_map_value,
    mov,
    stdw,
    stw,
)
from ebpf.codec import u64


@dataclass
class Both:
    one: u64
    other: u64


LOOKS_UP = [
    stw(R10 - 4, 0),
    ld_map_fd(R1, "only"),
    mov(R2, R10),
    add(R2, -4),
    call("map_lookup_elem"),
    mov(R0, 0),
    exit_(),
]
WRITES = [ld_map_value(R1, "only", 8), stdw(R1 + 0, 7), mov(R0, 1), exit_()]


def load(code: Assembly | list[Any], only: Any) -> Program:
    return Program.load(ProgramType.SOCKET_FILTER, code, maps={"only": only}, license="GPL")


@pytest.mark.parametrize("insns", [LOOKS_UP, WRITES], ids=["the map", "its value"])
def test_one_program_may_use_the_map(insns: list[Any]) -> None:
    """The digest is not the kernel's, or another program gets at the map."""
    code = assemble(insns)
    with ArrayMap.create(value="QQ", max_entries=1, exclusive=code.digest()) as only:
        with load(code, only) as program:
            program.test_run(bytes(64))
        with pytest.raises(VerifierError, match="hash doesn't match map's"):
            load([mov(R0, 3), *insns], only)
        assert only[0] == ((0, 7) if insns is WRITES else (0, 0))


def test_a_map_with_described_fields_is_exclusive_too() -> None:
    """The digest is lost where the map gets BTF."""
    code = assemble(LOOKS_UP)
    with (
        HashMap.create(key="I", value=Both, max_entries=1, exclusive=code.digest()) as only,
        load(code, only),
    ):
        assert only.info().btf_id
        with pytest.raises(VerifierError, match="hash doesn't match map's"):
            load([mov(R0, 3), *LOOKS_UP], only)


def test_what_is_no_digest() -> None:
    """The kernel reads beyond the bytes, or its EINVAL is all."""
    with pytest.raises(ValueError, match="exclusive: 20 bytes are no SHA-256"):
        HashMap.create(key="I", value="Q", max_entries=1, exclusive=bytes(20))
    with pytest.raises(TypeError, match="exclusive: 'a' is not bytes"):
        HashMap.create(key="I", value="Q", max_entries=1, exclusive="a")  # type: ignore[arg-type]
