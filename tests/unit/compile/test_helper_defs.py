"""bpf/bpf_helper_defs.h against the header of the kernel at hand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import ebpf
from ebpf.asm.helpers import Helper
from tests.helper_defs import HEADER, prototypes

KERNEL = Path("/usr/include/linux/bpf.h")
DECLARED = {
    match[2]: (match[1].strip(), match[3], int(match[4]))
    for match in re.finditer(
        r"^static (.*)\(\*const (\w+)\)\((.*)\) = \(void \*\)(\d+);$",
        HEADER.read_text("utf-8"),
        re.MULTILINE,
    )
}


def test_every_helper_is_declared_by_its_number() -> None:
    """A call would be of another helper, or not compile."""
    numbers = {name.removeprefix("bpf_").upper(): one[2] for name, one in DECLARED.items()}
    assert numbers == {helper.name: int(helper) for helper in Helper}


@pytest.mark.skipif(not KERNEL.exists(), reason="no linux/bpf.h")
def test_prototypes_are_the_kernels() -> None:
    """An argument would be missing, or a number be where a pointer belongs."""
    described = prototypes(KERNEL.read_text("utf-8"))
    assert len(described) > 150
    for name, (_, arguments) in described.items():
        # Names, const and widths of integers have changed from release to release.
        theirs, ours = (
            [re.findall(r"\*|\.\.\.", one) for one in text.split(",")]
            for text in (arguments, DECLARED[name][1])
        )
        assert ours == theirs, name


@pytest.mark.parametrize("types", ["<linux/bpf.h>", None])
def test_headers_compile_without_a_warning(clang: str, types: str | None) -> None:
    """A program with -Werror would not compile with these headers."""
    own = "\n".join(
        f"typedef {kind} __{name}; typedef __{name} {name};"
        for name, kind in (
            *(("u8", "unsigned char"), ("u16", "unsigned short"), ("u32", "unsigned int")),
            *(("u64", "unsigned long long"), ("s8", "signed char"), ("s16", "short")),
            *(("s32", "int"), ("s64", "long long")),
        )
    )
    own += "\ntypedef __u16 __be16; typedef __u32 __be32, __wsum;"
    source = (f"#include {types}" if types else own) + (
        "\n#include <bpf/bpf_helpers.h>\n#include <bpf/bpf_endian.h>\n"
        'SEC("socket") int run(void *ctx) { return bpf_get_prandom_u32(); }\n'
    )
    flags = ["-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter"]
    assert list(ebpf.compile_c(source, flags=flags, compiler=clang).programs) == ["run"]
