"""The structs of include/ebpf against the kernel headers, by the compiler and by a C parser.

``EBPF_UAPI_INCLUDE`` names an include directory to check against besides the compiler's own.
"""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from ebpf.errors import Version

ROOT = Path(__file__).parents[2]
MIRRORS = [ROOT / "include/ebpf/attr.h", ROOT / "include/ebpf/perf_event.h"]
LAYOUT = ROOT / "src/core/layout.c"

# By its path: the package ebpf._sys needs the compiled module, this table does not.
FIELD_SINCE: dict[tuple[str, str], Version] = runpy.run_path(
    str(ROOT / "src/ebpf/_sys/field_versions.py")
)["FIELD_SINCE"]

HEADERS = ["system"] + (["EBPF_UAPI_INCLUDE"] if "EBPF_UAPI_INCLUDE" in os.environ else [])
COMPILERS = [
    name
    for name in ("cc", "aarch64-linux-gnu-gcc", "riscv64-linux-gnu-gcc", "s390x-linux-gnu-gcc")
    if shutil.which(name)
]
pytestmark = pytest.mark.skipif("cc" not in COMPILERS, reason="needs a C compiler (cc)")

LOWEST: Version = (5, 10)

# Held to the header by assertions of their own, below the lines that are parsed here.
ASSERTED_OTHERWISE = {("link_info", "rest")}

# A stable release got these before the release that introduced them.
BACKPORTED = {
    ("perf_event_attr", "aux_action"),
    # 6.12.117
    ("attr_link_create_cgroup", "relative_fd"),
    ("attr_link_create_cgroup", "relative_id"),
    ("attr_link_create_cgroup", "expected_revision"),
}

# The kernel's structs that ours mirror. Members of the first two are named in layout.c by their
# whole path; a member that only programs or other interfaces use is none of ours.
MIRRORED = (
    "union bpf_attr",
    "union bpf_iter_link_info",
    "struct bpf_link_info",
    "struct bpf_prog_info",
    "struct bpf_map_info",
    "struct bpf_btf_info",
    "struct bpf_token_info",
    "struct bpf_common_attr",
    "struct perf_event_attr",
    "struct perf_event_mmap_page",
)


class Assertion(NamedTuple):
    """One SAME or BETWEEN of layout.c; `path` is None for a word of bit fields."""

    struct: str
    field: str
    theirs: str
    path: str | None
    since: Version | None


def our_structs() -> dict[str, list[str]]:
    """Struct name without ``ebpf_`` -> its members, holes left out."""
    found = {}
    for header in MIRRORS:
        text = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.DOTALL)
        for name, body in re.findall(r"^struct ebpf_(\w+) \{(.*?)^\};", text, re.M | re.S):
            members = re.findall(r"(\w+)(?:\[\w+\])?;", body)
            found[name] = [m for m in members if not re.fullmatch(r"pad_\d+", m)]
    return found


def assertions() -> list[Assertion]:
    """What layout.c asserts, each with the release of the #if around it."""
    found, since = [], None
    for line in LAYOUT.read_text().splitlines():
        if guard := re.fullmatch(r"#if SINCE\((\d+), (\d+)\)", line):
            assert since is None, "nested #if"
            since = (int(guard[1]), int(guard[2]))
        elif line == "#endif":
            since = None
        elif same := re.fullmatch(r"SAME\((\w+), (\w+), (\w+ \w+), ([\w.]+)\);", line):
            found.append(Assertion(same[1], same[2], same[3], same[4], since))
        elif word := re.fullmatch(r"BETWEEN\((\w+), (\w+), (\w+ \w+), \w+, \w+\);", line):
            found.append(Assertion(word[1], word[2], word[3], None, since))
    return found


def table_key(struct: str) -> str:
    return struct.removeprefix("attr_")


def include_flags(header: str, compiler: str = "cc") -> list[str]:
    if header == "system":
        return []
    include = Path(os.environ[header])
    machine = compiler.removesuffix("-gcc") if compiler != "cc" else target()
    if not (include / machine).is_dir():
        pytest.skip(f"{include} has no headers for {machine}")
    return ["-isystem", str(include), "-isystem", str(include / machine)]


@cache
def target() -> str:
    return subprocess.run(
        ["cc", "-print-multiarch"], capture_output=True, text=True, check=True
    ).stdout.strip()


def compile_layout(
    source: Path, include: Path, header: str, compiler: str = "cc", std: str = "c11"
) -> subprocess.CompletedProcess[str]:
    command = [compiler, "-fsyntax-only", f"-std={std}", "-Wall", "-Wextra", "-Werror"]
    command += [f"-I{include}", *include_flags(header, compiler), str(source)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"LC_ALL": "C"}
    )


def preprocess(text: str, header: str, *defines: str) -> str:
    command = ["cc", "-E", "-P", "-xc", *include_flags(header), *defines, "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


@cache
def header_version(header: str) -> Version:
    """LINUX_VERSION_CODE as the compiler sees it."""
    text = "#include <linux/version.h>\nLINUX_VERSION_CODE\n"
    code = preprocess(text, header).split()[-1]
    return int(code) >> 16, int(code) >> 8 & 0xFF


@cache
def their_members(header: str) -> dict[str, dict[str, int | None]]:
    """The kernel's structs: path of each member -> its width where it is a bit field."""
    c_ast = pytest.importorskip("pycparser.c_ast")
    from pycparser import c_parser

    sources = "#include <linux/bpf.h>\n#include <linux/perf_event.h>\n"
    text = preprocess(sources, header, "-D__attribute__(x)=")
    integers = ("__u8", "__u16", "__u32", "__u64", "__s32", "__s64", "__aligned_u64")
    typedefs = "".join(f"typedef int {name};\n" for name in integers)
    found: dict[str, dict[str, int | None]] = {}
    for struct in MIRRORED:
        body = re.search(rf"^{struct} \{{$.*?^\}} ?;$", text, re.M | re.S)
        if body is not None:  # an older header has fewer
            record = c_parser.CParser().parse(typedefs + body[0]).ext[-1].type
            found[struct] = dict(_leaves(record, "", c_ast))
    return found


def _leaves(record: object, prefix: str, c_ast: object) -> list[tuple[str, int | None]]:
    """Members that are no struct themselves; unnamed ones are a union's or a hole."""
    found: list[tuple[str, int | None]] = []
    for member in record.decls:  # type: ignore[attr-defined]
        inner = getattr(member.type, "type", member.type)
        if not isinstance(inner, (c_ast.Struct, c_ast.Union)):  # type: ignore[attr-defined]
            inner = member.type
        if getattr(inner, "decls", None):
            found += _leaves(inner, f"{prefix}{member.name}." if member.name else prefix, c_ast)
        elif member.name:
            width = member.bitsize and int(member.bitsize.value)
            found.append((prefix + member.name, width))
    return found


def test_every_member_is_compared_with_the_kernels() -> None:
    """A member that no assertion covers could be at any offset, unnoticed."""
    covered = {(a.struct, a.field) for a in assertions()} | ASSERTED_OTHERWISE
    ours = {(name, field) for name, fields in our_structs().items() for field in fields}
    assert len(ours) > 300
    assert ours == covered


def test_guards_and_field_versions_agree() -> None:
    """An error would name another release than the one that layout.c relies on."""
    guards: dict[tuple[str, str], Version] = {}
    for a in assertions():
        key = table_key(a.struct), a.field
        guards[key] = min(a.since or LOWEST, guards.get(key, a.since or LOWEST))
    assert {key: since for key, since in guards.items() if since != LOWEST} == FIELD_SINCE


def test_comments_of_the_mirrors_name_every_release() -> None:
    """Whoever reads the header would not learn that a member is younger than 5.10."""
    text = "\n".join(header.read_text() for header in MIRRORS)
    for comment, name in re.findall(r"/\*((?:[^*]|\*(?!/))*)\*/\nstruct ebpf_(\w+) \{", text):
        releases = {s for (struct, _), s in FIELD_SINCE.items() if struct == table_key(name)}
        named = {(int(a), int(b)) for a, b in re.findall(r"\b(\d)\.(\d+)\b", comment)}
        assert releases <= named, name


@pytest.mark.parametrize("std", ["c11", "gnu11"])
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("header", HEADERS)
def test_layouts_are_the_kernels(header: str, compiler: str, std: str) -> None:
    """A member of ours is not where this header and this ABI have it."""
    result = compile_layout(LAYOUT, ROOT / "include", header, compiler, std)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("header", HEADERS)
def test_a_shifted_member_stops_the_build(tmp_path: Path, header: str) -> None:
    """The assertions would hold for any layout: eight bytes at the front move each member."""
    (tmp_path / "ebpf").mkdir()
    for path in (ROOT / "include/ebpf").glob("*.h"):
        text = re.sub(
            r"^(struct ebpf_\w+ \{)", r"\1 uint64_t mutant;", path.read_text(), flags=re.M
        )
        (tmp_path / "ebpf" / path.name).write_text(text)
    failed = re.findall(
        r'"struct ebpf_(\w+)\.(\w+) is not', compile_layout(LAYOUT, tmp_path, header).stderr
    )
    version = header_version(header)
    active = {(a.struct, a.field) for a in assertions() if (a.since or LOWEST) <= version}
    assert set(failed) == active | ASSERTED_OTHERWISE


def test_a_member_of_another_size_stops_the_build(tmp_path: Path) -> None:
    """A member that is narrower than the kernel's, with a hole behind it, would pass."""
    (tmp_path / "ebpf").mkdir()
    for path in (ROOT / "include/ebpf").glob("*.h"):
        text = path.read_text().replace("uint32_t link_fd;", "uint16_t link_fd;\n\tuint16_t pad_9;")
        (tmp_path / "ebpf" / path.name).write_text(text)
    result = compile_layout(LAYOUT, tmp_path, "system")
    failed = set(re.findall(r'"struct ebpf_(\w+)\.(\w+) is not', result.stderr))
    assert failed == {(s, "link_fd") for s, fields in our_structs().items() if "link_fd" in fields}


@pytest.mark.parametrize("header", HEADERS)
def test_no_member_of_the_kernels_structs_is_missing(header: str) -> None:
    """The header has a field that this library cannot set or read."""
    theirs = their_members(header)
    compared = {(a.theirs, a.path) for a in assertions()}
    missing = [
        f"{struct}: {path}"
        for struct in MIRRORED
        for path, width in theirs.get(struct, {}).items()
        if width is None and (struct, path) not in compared and "__reserved" not in path
    ]
    assert missing == []


@pytest.mark.parametrize("header", HEADERS)
def test_releases_of_members_agree_with_the_header(header: str) -> None:
    """A wrong release would make an error name a kernel that cannot do it, either."""
    theirs, version = their_members(header), header_version(header)
    wrong = [
        a
        for a in assertions()
        if a.path is not None
        and (a.struct, a.field) not in BACKPORTED
        and (a.path in theirs.get(a.theirs, {})) != ((a.since or LOWEST) <= version)
    ]
    assert wrong == []


def bits_of_flags() -> dict[str, int]:
    text = MIRRORS[1].read_text()
    found = re.findall(r"^#define EBPF_PERF_BIT_(\w+) (\d+)$", text, re.M)
    return {name.lower(): int(bit) for name, bit in found}


def run_program(tmp_path: Path, header: str, statements: list[str]) -> list[str]:
    """What a C program with these statements prints, by lines."""
    source = tmp_path / "bits.c"
    source.write_text(
        "#include <linux/bpf.h>\n#include <linux/perf_event.h>\n#include <stdio.h>\n"
        '#include <string.h>\n#include "ebpf/core.h"\nint main(void)\n{\n'
        + "\n".join(statements)
        + "\nreturn 0;\n}\n"
    )
    program = tmp_path / "bits"
    flags = ["-Wall", "-Werror", f"-I{ROOT / 'include'}", *include_flags(header)]
    subprocess.run(["cc", *flags, "-o", str(program), str(source)], check=True)
    output = subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout
    return output.splitlines()


@pytest.mark.parametrize("header", HEADERS)
def test_bits_of_perf_event_attr(tmp_path: Path, header: str) -> None:
    """A wrong bit would open another kind of event than asked for."""
    widths = {
        path: width
        for path, width in their_members(header)["struct perf_event_attr"].items()
        if width is not None and not path.startswith(("__reserved", "aux_"))
    }
    statements = [
        "{ union { struct perf_event_attr theirs; struct ebpf_perf_event_attr ours; } u;"
        f" memset(&u, 0, sizeof(u)); u.theirs.{name} = {2**width - 1};"
        f' printf("{name} %llx\\n", (unsigned long long)u.ours.flags); }}'
        for name, width in widths.items()
    ]
    words = dict(line.split() for line in run_program(tmp_path, header, statements))
    ours = bits_of_flags()
    for name, width in widths.items():
        mask = 2**width - 1
        shift = ours[name] if sys.byteorder == "little" else 64 - ours[name] - width
        assert int(words[name], 16) == mask << shift, name


@pytest.mark.parametrize("header", HEADERS)
def test_bit_fields_of_other_structs_lie_in_our_words(tmp_path: Path, header: str) -> None:
    """`gpl_compatible` and `aux_action` would read another word of the struct."""
    cases = [("struct bpf_prog_info", "gpl_compatible", "struct ebpf_prog_info", "gpl_compatible")]
    cases += [
        ("struct perf_event_attr", name, "struct ebpf_perf_event_attr", "aux_action")
        for name in ("aux_start_paused", "aux_pause", "aux_resume")
        if name in their_members(header)["struct perf_event_attr"]
    ]
    statements = [
        f"{{ union {{ {theirs} theirs; {ours} ours; char bytes[512]; }} u, zero;"
        " memset(&u, 0, sizeof(u)); memset(&zero, 0, sizeof(zero));"
        f' u.theirs.{bit} = 1; printf("{bit} %d ", u.ours.{field} != 0);'
        f' u.ours.{field} = 0; printf("%d\\n", memcmp(&u, &zero, sizeof(u))); }}'
        for theirs, bit, ours, field in cases
    ]
    assert run_program(tmp_path, header, statements) == [f"{bit} 1 0" for _, bit, _, _ in cases]


def test_cffi_lays_the_structs_out_as_the_compiler_does(tmp_path: Path) -> None:
    """The Python layer would fill other places than the C core and the kernel read."""
    ffi = pytest.importorskip("cffi").FFI()
    for path in MIRRORS:
        ffi.cdef(path.read_text())
    sizes = {name: ffi.sizeof(f"struct ebpf_{name}") for name in our_structs()}
    lines = [f'printf("%zu\\n", sizeof(struct ebpf_{name}));' for name in sizes]
    assert list(map(int, run_program(tmp_path, "system", lines))) == list(sizes.values())
