"""Sources, and the files that are made of them."""

from __future__ import annotations

import os
from pathlib import Path

from ebpf.codegen import generate
from ebpf.compile import compile_object
from ebpf.errors import CompileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

#: What a source is called: a program, and behind it this.
SUFFIX = ".bpf.c"


def find_sources(path: str | os.PathLike[str]) -> Iterator[Path]:
    """`path` itself, or the sources in the directory `path` and those below, in order.

    Raises CompileError for a file of another name, and where a directory has none.
    """
    start = Path(path)
    if not start.is_dir():
        if not start.name.endswith(SUFFIX):
            raise CompileError(f"{start} is no source: its name has to end with {SUFFIX}")
        yield start
        return
    found = sorted(start.rglob(f"*{SUFFIX}"))
    if not found:
        raise CompileError(f"there is no *{SUFFIX} in {start}")
    yield from found


def build_object(source: Path, folder: Path | None = None, **options: Any) -> Path:
    """Compile ``tracer.bpf.c`` to ``tracer.bpf.o`` in `folder`, by default beside the source.

    `options` are those of `ebpf.compile_c`. Returns the path; raises what compile_c raises.
    """
    made = (folder or source.parent) / f"{_name(source)}.bpf.o"
    return _write(made, compile_object(source, **options))


def build_module(
    source: Path, folder: Path | None = None, *, types: Iterable[str] = (), **options: Any
) -> Path:
    """Compile ``tracer.bpf.c`` to ``tracer_bpf.py`` in `folder`, by default beside the source.

    `types` are structs that get a class in any case, see `ebpf.codegen.generate`; `options` are
    those of `ebpf.compile_c`. Returns the path; raises what the two raise.
    """
    name = _name(source)
    text = generate(compile_object(source, **options), name=name, file=source.name, types=types)
    made = (folder or source.parent) / f"{''.join(_letters(name))}_bpf.py"
    return _write(made, text.encode())


def _name(source: Path) -> str:
    return source.name.removesuffix(SUFFIX)


def _letters(name: str) -> Iterator[str]:
    """What a module's name may have: ``tcp-life`` is imported as ``tcp_life``."""
    return (letter if letter.isalnum() else "_" for letter in name)


def _write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    # A file that is as it should be keeps its time: nothing that depends on it is made anew.
    if not path.exists() or path.read_bytes() != data:
        path.write_bytes(data)
    return path
