"""BPF programs in C, compiled where they are used.

::

    spec = ebpf.compile_c("tracer.bpf.c")              # a file, or the text itself
    with spec.load() as objects: ...

clang compiles them, the newest that is installed and knows BPF; without one, the compiler in the
PyPI package ``ziglang`` (``pip install 'ebpf[compile]'``). Both find the headers that this package
brings, under the names that programs for libbpf use (``<bpf/bpf_helpers.h>``, ...), and
``"vmlinux.h"``, made from the running kernel's BTF when a program first includes it.

What was compiled once is kept in ``$XDG_CACHE_HOME/ebpf`` (``~/.cache/ebpf``), by the content of
the source and of every header that it included, the compiler, and the options.
"""

from __future__ import annotations

from ebpf.compile.compilers import Compiler, find_compiler
from ebpf.compile.diagnostics import CompileWarning, Diagnostic
from ebpf.compile.driver import compile_c, compile_object
from ebpf.compile.headers import get_include

__all__ = [
    "CompileWarning",
    "Compiler",
    "Diagnostic",
    "compile_c",
    "compile_object",
    "find_compiler",
    "get_include",
]
