"""C from the installed wheel: its own headers, and the compiler of the extra."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.packaging.conftest import Environment

Make = Callable[..., Environment]

PROGRAM = """
import os, ebpf
os.environ["PATH"] = "/nonexistent"
source = '''
typedef unsigned char __u8; typedef unsigned short __u16, __be16;
typedef unsigned int __u32, __be32, __wsum; typedef unsigned long long __u64;
typedef int __s32; typedef long long __s64;
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
int seen;
SEC("raw_tp") int run(void *ctx) { seen = bpf_get_current_pid_tgid() >> 32; return 7; }
char LICENSE[] SEC("license") = "GPL";
'''
assert ebpf.compile.find_compiler().kind == "zig"
spec = ebpf.compile_c(source)
assert list(spec.programs) == ["run"]
if os.geteuid() == 0:
    with spec.load() as objects:
        assert objects.programs["run"].test_run().return_value == 7
        assert objects.variables["seen"].value == os.getpid()
try:
    ebpf.compile_c("int x = y;")
except ebpf.CompileError as error:
    print(error.file, error.line, error.column, error.message)
"""


def test_the_extra_is_all_that_c_takes(
    wheel: Path, environment: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine without clang and headers, pip would not be enough."""
    made = environment(sys.executable)
    made.install(f"{wheel}[compile]")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    out = made("-c", PROGRAM, cwd=tmp_path)
    assert out.strip() == "program.bpf.c 1 9 use of undeclared identifier 'y'"
