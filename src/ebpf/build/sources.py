"""Sources, and the files that are made of them."""

from __future__ import annotations

import os
from pathlib import Path

from ebpf.codegen import generate
from ebpf.compile import compile_object, get_include
from ebpf.errors import CompileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

#: What a source is called: a program, and behind it this.
SUFFIX = ".bpf.c"


def find_sources(path: str | os.PathLike[str]) -> Iterator[Path]:
    """`path` itself, or the sources in the directory `path` and those below, in order.

    Not in directories such as ``.venv``, whose names begin with a dot.

    Raises CompileError for a file of another name or none, and where a directory has no source.
    """
    start = Path(path)
    if not start.is_dir():
        if not start.exists():
            raise CompileError(f"{start} does not exist")
        if not start.name.endswith(SUFFIX):
            raise CompileError(f"{start} is no source: its name has to end with {SUFFIX}")
        yield start
        return
    found = sorted(one for one in start.rglob(f"*{SUFFIX}") if not _is_hidden(one, start))
    if not found:
        raise CompileError(f"there is no *{SUFFIX} in {start}")
    yield from found


def _is_hidden(source: Path, start: Path) -> bool:
    return any(part.startswith(".") for part in source.relative_to(start).parent.parts)


def placed_sources(
    path: str | os.PathLike[str], output: str | os.PathLike[str] | None = None
) -> Iterator[tuple[Path, Path]]:
    """Each source of `find_sources`, and the directory for what is made of it.

    That is its own, or in `output` the one that has the place of its own in `path`.
    """
    start = Path(path)
    base = start if start.is_dir() else start.parent
    for source in find_sources(start):
        folder = source.parent
        yield source, folder if output is None else Path(output) / folder.relative_to(base)


def module_path(source: Path, folder: Path | None = None) -> Path:
    """Where `build_module` writes."""
    return (folder or source.parent) / f"{_identifier(_name(source))}_bpf.py"


def object_path(source: Path, folder: Path | None = None) -> Path:
    """Where `build_object` writes."""
    return (folder or source.parent) / f"{_name(source)}.bpf.o"


def check_targets(made: Iterable[tuple[Path, Path]]) -> None:
    """Raises CompileError where two of the (source, file) have one file: one would be lost."""
    first: dict[Path, Path] = {}
    for source, target in made:
        other = first.setdefault(target.absolute(), source)
        if other.absolute() != source.absolute():
            raise CompileError(f"{other} and {source} both become {target}; rename one of them")


def build_object(source: Path, folder: Path | None = None, **options: Any) -> Path:
    """Compile ``tracer.bpf.c`` to ``tracer.bpf.o`` in `folder`, by default beside the source.

    `options` are those of `ebpf.compile_c`. Returns the path; raises what compile_c raises.
    """
    return _write(object_path(source, folder), _compiled(source, **options))


def build_module(
    source: Path, folder: Path | None = None, *, types: Iterable[str] = (), **options: Any
) -> Path:
    """Compile ``tracer.bpf.c`` to ``tracer_bpf.py`` in `folder`, by default beside the source.

    `types` are structs that get a class in any case, see `ebpf.codegen.generate`; `options` are
    those of `ebpf.compile_c`. Returns the path; raises what the two raise.
    """
    data = _compiled(source, **options)
    text = generate(data, name=_name(source), file=source.name, types=types)
    return _write(module_path(source, folder), text.encode())


def _compiled(source: Path, *, flags: Iterable[str] = (), **options: Any) -> bytes:
    """The object, the same wherever the project lies: paths in it begin at the working directory,
    or where the source lies elsewhere, at the source's own."""
    # The compiler takes the name that the shell has for the directory, if it is one of it.
    here = sorted({os.getcwd(), os.environ.get("PWD", "")} - {"", "/"})
    places = dict.fromkeys(here, ".")
    if not any(source.absolute().is_relative_to(one) for one in here):
        places[str(source.parent.absolute())] = "."
    places[get_include()] = "ebpf"
    mapped = [f"-fdebug-prefix-map={path}={short}" for path, short in places.items()]
    return compile_object(source, flags=[*mapped, *flags], **options)


def _name(source: Path) -> str:
    return source.name.removesuffix(SUFFIX)


def _identifier(name: str) -> str:
    """What a module's name may be: ``tcp-life`` is imported as ``tcp_life``, ``9p`` as ``_9p``."""
    letters = "".join(one if f"_{one}".isidentifier() else "_" for one in name)
    return letters if letters.isidentifier() else f"_{letters}"


def _write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    # A file that is as it should be keeps its time: nothing that depends on it is made anew.
    if not path.exists() or path.read_bytes() != data:
        path.write_bytes(data)
    return path
