"""What libbpf makes of the same relocations: the values, and the bytes of the instructions."""

from __future__ import annotations

import random
import struct
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebpf.btf import Btf
from ebpf.btf import types as t
from ebpf.btf.core import CoreKind, CoreRelocation, Relocator

from .support import SOURCES, Compiled, Oracle, Question, answer, compile_c


def refused_on_purpose(question: Question, words: list[str]) -> bool:
    """Whether libbpf would have cut a value off to the 32 bits of an immediate."""
    if words[-1] != "unpatched" or question[1][0] & 7 not in (4, 7):
        return False
    return 1 << 32 <= int(words[0]) < (1 << 64) - (1 << 31)


def assert_same(
    oracle: Oracle, local: Btf, data: bytes, target: Btf, other: bytes, questions: list[Question]
) -> Counter[str]:
    """Compares every answer; how many of each outcome there were."""
    relocator = Relocator(local, [target])
    questions = [question for question in questions if oracle.judges(local, question)]
    outcomes: Counter[str] = Counter()
    for question, expected in zip(questions, oracle.ask(data, other, questions), strict=True):
        own = answer(relocator, question)
        words = own.split()
        if refused_on_purpose(question, words):
            continue
        assert own == expected, question
        poisoned = len(words) > 1 and words[5].startswith("85")
        outcomes["poisoned" if poisoned else words[-1] if len(words) == 1 else "patched"] += 1
        outcomes["unpatched"] += words[-1] == "unpatched"
    return outcomes


def test_every_kind_gives_what_libbpf_gives(
    oracle: Oracle, local: Compiled, target: Compiled
) -> None:
    """Fails when a value, a check, a poisoned or a patched instruction differs from libbpf's."""
    questions = local.questions()
    assert {relocation.kind for relocation, _ in questions} == set(CoreKind)
    outcomes = assert_same(oracle, local.btf, local.data, target.btf, target.data, questions)
    assert outcomes["patched"] > 200
    assert outcomes["poisoned"] >= 10
    assert outcomes["error"] >= 3


@pytest.mark.parametrize("options", [(), ("-mcpu=v1",), ("-mcpu=v4", "-O1")])
def test_what_other_code_generators_write_is_patched_as_by_libbpf(
    options: tuple[str, ...], oracle: Oracle, clang: str, target: Compiled
) -> None:
    """Fails when an instruction that only another -mcpu or -O produces is patched differently."""
    source, output = SOURCES / "core_local.bpf.c", oracle.directory / "options.o"
    local = compile_c(clang, source, output, "bpfel", *options)
    questions = local.questions()
    assert_same(oracle, local.btf, local.data, target.btf, target.data, questions)


def test_relocations_to_the_kernel_give_what_libbpf_gives(
    oracle: Oracle, kernel_user: Compiled, vmlinux: bytes
) -> None:
    """Fails when a type or field of the running kernel is found elsewhere than libbpf finds it."""
    data = kernel_user.data
    outcomes = assert_same(
        oracle, kernel_user.btf, data, Btf(vmlinux), vmlinux, kernel_user.questions()
    )
    assert outcomes["patched"] > 60
    assert outcomes["poisoned"] >= 3


# Loads of every size, stores, a move, an addition, lddw, and what cannot be relocated.
OPCODES = [0x61, 0x69, 0x71, 0x79, 0x81, 0x62, 0x7A, 0x63, 0x7B, 0xB7, 0xB4, 0x07, 0x18, 0xBF, 0x85]


def walk(btf: Btf, type_id: int, source: random.Random) -> list[int]:
    """An access string that leads somewhere, now and then astray."""
    indices = [source.choice([0, 0, 0, 0, 1, 3])]
    type = btf.resolve(type_id)
    for _ in range(source.randint(1, 5)):
        count = 0
        if isinstance(type, (t.Struct, t.Union)):
            count = len(type.members)
        elif isinstance(type, t.Array):
            count = type.length
        if not count and source.random() < 0.9:
            break
        index = source.randrange(count + (source.random() < 0.05)) if count else 0
        indices.append(index)
        if isinstance(type, (t.Struct, t.Union)) and index < count:
            type = btf.resolve(type.members[index].type_id)
        elif isinstance(type, t.Array):
            type = btf.resolve(type.type_id)
    return indices


def random_question(btf: Btf, ids: list[int], source: random.Random) -> Question:
    kind = source.choice(list(CoreKind))
    type_id = source.choice(ids)
    type = btf.resolve(type_id)
    if "TYPE" in kind.name:
        access = "0"
    elif "ENUMVAL" in kind.name:
        count = len(type.values) if isinstance(type, (t.Enum, t.Enum64)) else 1
        access = str(source.randrange(count + 1))
    else:
        access = ":".join(map(str, walk(btf, type_id, source)))
    relocation = CoreRelocation(0, type_id, access, kind)
    opcode = source.choice(OPCODES)
    try:
        value = Relocator(btf, [btf]).resolve(relocation).original
    except ValueError:
        value = 0
    if source.random() < 0.1:
        value += 1
    low, high = value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF
    offset = value & 0xFFFF if opcode & 7 in (1, 2, 3) else 0
    slots = struct.pack(
        "<BBHI", opcode, source.choice([0x01, 0x21]) if opcode != 0x18 else 1, offset, low
    )
    if opcode == 0x18:
        slots += struct.pack("<BBHI", 0, 0, 0, high)
    return relocation, slots


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), swapped=st.booleans())
def test_any_relocation_gives_what_libbpf_gives(
    seed: int, swapped: bool, oracle: Oracle, local: Compiled, target: Compiled
) -> None:
    """Fails when a path, kind or instruction that no compiler wrote is handled differently."""
    mine, theirs = (target, local) if swapped else (local, target)
    source = random.Random(seed)
    ids = list(range(1, mine.btf.end_id))
    questions = [random_question(mine.btf, ids, source) for _ in range(100)]
    assert_same(oracle, mine.btf, mine.data, theirs.btf, theirs.data, questions)


def test_any_relocation_between_kernel_types_gives_what_libbpf_gives(
    oracle: Oracle, vmlinux: bytes
) -> None:
    """Fails when types that no program of ours has, of 120,000, are matched differently."""
    btf = Btf(vmlinux)
    source = random.Random(20)
    wanted = (t.Struct, t.Union, t.Enum, t.Enum64, t.Typedef, t.Fwd, t.Int)
    named = [i for i in range(1, btf.end_id) if btf.type(i).name]
    ids = [i for i in named if isinstance(btf.type(i), wanted)]
    questions = [random_question(btf, ids, source) for _ in range(500)]
    outcomes = assert_same(oracle, btf, vmlinux, btf, vmlinux, questions)
    assert outcomes["patched"] > 100
