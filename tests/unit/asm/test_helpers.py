from __future__ import annotations

import re
from pathlib import Path

import pytest

from ebpf import asm
from ebpf.asm import Helper

HELPER_DEFS = Path(__file__).parents[3] / "src/ebpf/compile/include/bpf/bpf_helper_defs.h"
HEADER = Path("/usr/include/linux/bpf.h")


def helpers_of(header: str) -> dict[str, int]:
    """Name -> number from ``__BPF_FUNC_MAPPER``, in its form before 6.2 or since."""
    start = re.search(r"#define __+BPF_FUNC_MAPPER\(FN.*\)", header)
    assert start, "no __BPF_FUNC_MAPPER in the header"
    names: list[str] = []
    for line in header[start.end() :].splitlines()[1:]:
        entry = re.match(r"\s*FN\((\w+)(?:,\s*(\d+),\s*##ctx)?\),?", line)
        if entry:
            assert entry[2] in (None, str(len(names)))
            names.append(entry[1])
        elif line.strip() and not line.strip().startswith("/*"):
            break
    return {name: number for number, name in enumerate(names) if name != "unspec"}


def test_numbers_are_the_headers() -> None:
    """A program would call another helper than the one it names."""
    if not HEADER.exists():
        pytest.skip(f"{HEADER} is not installed")
    known = helpers_of(HEADER.read_text())
    assert len(known) > 100
    ours = {member.name.lower(): int(member) for member in Helper}
    assert {name: ours.get(name) for name in known} == known


def test_the_header_has_exactly_the_helpers_of_its_release() -> None:
    """`since` would be wrong: a helper of a later release in the header, or one that is missing."""
    version = HEADER.with_name("version.h")
    if not (HEADER.exists() and version.exists()):
        pytest.skip("the kernel's headers are not installed")
    text = version.read_text()
    if "RHEL_MAJOR" in text:
        pytest.skip("the header of a distribution that backports helpers")
    found = re.search(r"LINUX_VERSION_CODE (\d+)", text)
    assert found
    release = (int(found[1]) >> 16, int(found[1]) >> 8 & 0xFF)
    known = helpers_of(HEADER.read_text())
    assert set(known) == {m.name.lower() for m in Helper if m.since <= release}


def test_numbers_are_without_gaps() -> None:
    """A line of the table would be missing, twice, or out of order."""
    assert [int(member) for member in Helper] == list(range(1, 212))


def test_releases_never_go_back() -> None:
    """A helper would have a release before that of a helper with a smaller number."""
    assert [m.since for m in Helper] == sorted(m.since for m in Helper)


@pytest.mark.parametrize(
    ("name", "number", "since"),
    [
        ("map_lookup_elem", 1, (3, 19)),
        ("trace_printk", 6, (4, 1)),
        ("get_current_pid_tgid", 14, (4, 2)),
        ("redirect_map", 51, (4, 14)),
        ("sk_lookup_tcp", 84, (4, 20)),
        ("jiffies64", 118, (5, 6)),
        ("ringbuf_output", 130, (5, 8)),
        ("loop", 181, (5, 17)),
        ("cgrp_storage_delete", 211, (6, 2)),
    ],
)
def test_helpers_everybody_knows(name: str, number: int, since: tuple[int, int]) -> None:
    """The table would be shifted, even where no header is installed to compare with."""
    helper = Helper[name.upper()]
    assert helper == number
    assert helper.since == since
    for spelling in (name, "bpf_" + name, helper, number):
        assert asm.call(spelling).imm == number


def test_helpers_of_newer_kernels_can_be_called() -> None:
    """A helper that this table does not have could not be called at all."""
    assert asm.call(999).imm == 999


def test_argument_counts_are_those_of_the_prototypes() -> None:
    """A call with too few arguments would be accepted here, or one that is right refused."""
    text = HELPER_DEFS.read_text(encoding="utf-8")
    found = re.findall(r"\(\*const bpf_(\w+)\)\((.*)\) =", text)
    counts = {name: 0 if types == "void" else types.count(",") + 1 for name, types in found}
    ours = {helper.name.lower(): helper.arguments for helper in Helper}
    assert len(counts) == len(ours)
    # printk's values are optional, the verifier does not look at the snapshot's flags, and programs
    # at sockets of cgroups give no packet.
    exceptions = {
        "trace_printk": (3, 2),
        "get_branch_snapshot": (3, 2),
        "get_cgroup_classid": (1, 0),
    }
    different = {n: (counts[n], ours[n]) for n in ours if counts[n] != ours[n]}
    assert different == exceptions
