"""What the fuzzers start from: tests/bpf in both byte orders, and what was found before."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

from tests.fuzz.structure import ObjectFile, pack_parts
from tests.objects import SOURCES, compiled
from tests.vm.host import cache_dir

HERE = Path(__file__).parent
CRASHERS = HERE / "crashers"
_ORDERS = ("bpfel", "bpfeb")


def seeds(target: str) -> list[bytes]:
    """The sound inputs of a target. Raises NoCompiler where nothing can compile them."""
    return _MAKERS[target]()


def crashers(target: str) -> list[Path]:
    """The inputs that once broke something."""
    return sorted((CRASHERS / target).glob("*.bin"))


def _objects() -> list[ObjectFile]:
    names = sorted(path.name.removesuffix(".bpf.c") for path in SOURCES.glob("*.bpf.c"))
    return [_object(name, order) for name in names for order in _ORDERS]


def _object(name: str, order: str) -> ObjectFile:
    parsed = ObjectFile.parse(compiled(name, target=order).read_bytes())
    assert parsed is not None
    return parsed.without_debug_info()


def _section(parsed: ObjectFile, name: str) -> bytes:
    return next((bytes(part.data) for part in parsed.sections if part.name == name), b"")


def _elf() -> list[bytes]:
    return [one.build() for one in _objects()]


def _btf() -> list[bytes]:
    return [_section(one, ".BTF") for one in (*_objects(), *map(_core_target, _ORDERS))]


def _btf_ext() -> list[bytes]:
    return [pack_parts(_section(one, ".BTF.ext"), _section(one, ".BTF")) for one in _objects()]


def _core() -> list[bytes]:
    return [
        pack_parts(_object(name, order).build(), _section(_core_target(order), ".BTF"))
        for name in ("core_local", "core_load", "core_kernel")
        for order in _ORDERS
    ]


def _core_target(order: str) -> ObjectFile:
    return _object("core_target.c", order)


def _linker() -> list[bytes]:
    pairs = [("link_main", "link_parts"), ("functions", "data"), ("maps", "externs")]
    return [
        pack_parts(*(_object(name, order).build() for name in pair))
        for pair in pairs
        for order in _ORDERS
    ]


def _image() -> list[bytes]:
    """A shared library of this machine with versions of symbols, and BPF objects."""
    source, versions = HERE / "library.c", HERE / "library.map"
    content = source.read_bytes() + versions.read_bytes()
    made = cache_dir() / "objects" / f"library-{hashlib.sha256(content).hexdigest()[:20]}.so"
    if not made.exists():
        made.parent.mkdir(parents=True, exist_ok=True)
        partial = made.with_suffix(f".{os.getpid()}")
        command = ["cc", "-shared", "-fPIC", "-nostdlib", "-Wl,--build-id"]
        command += [f"-Wl,--version-script={versions}", str(source), "-o", str(partial)]
        subprocess.run(command, check=True)
        partial.rename(made)
    return [made.read_bytes(), *_elf()[:4]]


_MAKERS = {
    "elf": _elf,
    "btf": _btf,
    "btf_ext": _btf_ext,
    "core": _core,
    "linker": _linker,
    "image": _image,
}
