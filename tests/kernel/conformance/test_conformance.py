"""The objects of tests/bpf through libbpf and through this library, on the running kernel.

Each object is loaded whole and with each of its programs alone: what one kernel refuses in one
program then hides nothing of the others.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernel.conformance.compare import (
    Outcome,
    differences,
    programs_of,
    with_ebpf,
    with_libbpf,
)
from tests.objects import NEEDED_CLANG, SOURCES, clangs, compiled, release

KCONFIG = {"CONFIG_BPF": "y"}

# Objects that libbpf refuses and this library loads, and why.
LOADS_HERE_ONLY = {
    "records": "libbpf takes the type of a ring's records for the size of its values",
    "generated": "libbpf takes the type of a ring's records for the size of its values",
    "iproute2_maps": "libbpf has no legacy map definitions since 1.0",
    "legacy_maps": "libbpf has no legacy map definitions since 1.0",
    "maps": "libbpf refuses a slot for a program that is left out; here it stays empty",
    "rewrite": "libbpf refuses a slot for a program that is left out; here it stays empty",
    "missing": "libbpf resolves the externs of programs that are left out too",
    "kfuncs": "libbpf resolves the externs of programs that are left out too",
    "link_main": "libbpf refuses an object that needs another one as a whole",
    "link_parts": "libbpf refuses an object that needs another one as a whole",
    "tracer": "libbpf does not look for the options of a kernel beside its modules",
    "externs": "libbpf resolves the externs of programs that are left out too",
}
# bpf_get_attach_cookie() is another function: libbpf loads USDT programs for links of several
# uprobes where the kernel has them; here each place of a probe is a link of its own.
OTHER_HELPERS = {"usdt_16", "usdt_24"}

NAMES = sorted(path.name.removesuffix(".bpf.c") for path in SOURCES.glob("*.bpf.c"))


CASES = [
    (name, clang)
    for clang in clangs()
    if clang[-1].isdigit()  # the plain name is one of them
    for name in NAMES
    if release(clang) >= NEEDED_CLANG.get(name, 0)
]


def without_helper_calls(*outcomes: Outcome) -> None:
    for outcome in outcomes:
        for program in outcome.programs.values():
            calls = (line.startswith("85 ") for line in program["xlated"])
            program["xlated"] = [
                "a call" if call else line
                for call, line in zip(calls, program["xlated"], strict=True)
            ]


@pytest.mark.parametrize(
    ("name", "clang"), CASES, ids=[f"{name}-{Path(clang).name}" for name, clang in CASES]
)
def test_the_kernel_gets_the_same_from_both(name: str, clang: str) -> None:
    """A map, an instruction or a BTF record that differs is a program that behaves differently."""
    path = compiled(name, clang=clang)
    found = []
    for chosen in [[], *([program] for program in programs_of(path))]:
        theirs, ours = (load(path, chosen, KCONFIG) for load in (with_libbpf, with_ebpf))
        if theirs.error and not ours.error and name in LOADS_HERE_ONLY:
            continue
        if name in OTHER_HELPERS:
            without_helper_calls(theirs, ours)
        found += [f"{' '.join(chosen) or 'whole'}: {line}" for line in differences(theirs, ours)]
    assert not found, "\n".join(found)


def test_most_programs_load() -> None:
    """Where both refuse everything, equality shows nothing."""
    loaded = 0
    for name in ("sections", "kfuncs", "data", "maps", "functions"):
        path = compiled(name)
        loaded += sum(not with_ebpf(path, [one], KCONFIG).error for one in programs_of(path))
    # 5.10 has about half of them.
    assert loaded >= 20


def test_a_difference_is_found() -> None:
    """A comparison that finds nothing in a changed instruction, map or program is no evidence."""
    one, other = (with_ebpf(compiled("data"), [], {}) for _ in range(2))
    assert not one.error
    assert differences(one, other) == []
    program = next(iter(other.programs.values()))
    program["xlated"][3] += "1"
    other.maps[0]["max_entries"] += 1
    found = differences(one, other)
    assert len(found) == 2
    assert "max_entries" in found[0]
    assert "instruction 3" in found[1]
    assert differences(one, Outcome("refused"))
