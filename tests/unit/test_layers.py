"""The layers that src/ebpf/__init__.py states, read off the imports themselves."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ebpf

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "ebpf"

# From the bottom up: a module may import from its own layer and those before it.
LAYERS = [
    {
        *("errors", "types", "generic", "plain", "patterns", "opcodes", "embed"),
        *("codec", "asm", "btf", "elf", "spec"),
    },
    {"_ffi"},
    {"_sys"},
    {"info", "tracefs", "kallsyms", "kernel_btf", "kconfig", "features", "pin", "net"},
    {"token"},
    {"maps", "links", "queries", "symbols", "verifier"},
    {"programs", "reader", "ringbuf", "perfbuf", "output"},
    {"collection"},
    {""},  # ebpf itself
    {"compile", "generated", "codegen"},
    {"build"},
    {"cli", "__main__"},
]
PURE = LAYERS[0]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}

# CollectionSpec.load() is where a Spec meets the kernel: it imports the loader when it is called.
EXCEPTIONS = {("spec", "collection")}


def part(module: str) -> str:
    """The part of the package that a module belongs to: "ebpf.maps.hash" -> "maps"."""
    return [*module.split("."), ""][1]


def imported(path: Path) -> set[str]:
    """The parts of ebpf that a file imports, anywhere in it, except for type checkers only."""
    found = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {part(name.name) for name in node.names if name.name.startswith("ebpf.")}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import in line {node.lineno}"
            if node.module == "ebpf":
                found |= {name.name if name.name in LEVEL else "" for name in node.names}
            elif (node.module or "").startswith("ebpf."):
                found.add(part(node.module or ""))
    return found


FILES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_down(path: Path) -> None:
    """An import upwards would make a cycle, or pull the kernel into pure code."""
    own = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    own = "" if own == "__init__" else own
    for other in imported(path) - {own}:
        assert LEVEL[other] <= LEVEL[own] or (own, other) in EXCEPTIONS, f"{own} imports {other}"


def test_only_sys_imports_the_extension() -> None:
    """The extension's pointers stay in one folder."""
    users = {path.relative_to(SOURCE).parts[0] for path in FILES if "_ffi" in imported(path)}
    assert users == {"_sys"}


def test_pure_modules_import_nothing_of_the_kernel() -> None:
    """Pure parts are tested and fuzzed without root, extension or kernel."""
    for path in FILES:
        if path.relative_to(SOURCE).parts[0].removesuffix(".py") in PURE:
            own = path.relative_to(SOURCE).parts[0].removesuffix(".py")
            upwards = {other for name, other in EXCEPTIONS if name == own}
            assert imported(path) <= PURE | upwards, path


def test_pyproject_lists_every_package() -> None:
    """A package that is not listed is missing from the wheel."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    match = re.search(r"^packages = (\[.*?^\])", text, re.MULTILINE | re.DOTALL)
    assert match is not None
    listed = set(ast.literal_eval(match[1]))
    present = {
        ".".join(path.parent.relative_to(SOURCE.parent).parts) for path in SOURCE.rglob("*.py")
    }
    assert listed == present | {"ebpf.include.ebpf", "ebpf.compile.include.bpf"}


# What `import ebpf` takes is on the start-up path of every tool; these cost 1 to 80 ms each.
HEAVY = {
    *("typing", "dataclasses", "inspect", "pathlib", "asyncio", "selectors", "pickle", "re"),
    *("difflib", "argparse", "numpy", "cffi", "json", "subprocess", "urllib", "ctypes"),
    *("threading", "contextlib", "weakref", "tempfile", "logging", "email", "importlib.metadata"),
    *("ebpf.asm", "ebpf.features", "ebpf.cli", "ebpf.elf.linker", "ebpf.btf.dedup", "ebpf.btf.c"),
}


def loaded_by(statement: str) -> set[str]:
    """The modules that `statement` imports, in an interpreter that has imported nothing for the
    way in which the package is installed."""
    pytest.importorskip("ebpf._ffi", reason="the extension is not built", exc_type=ImportError)
    backend = importlib.util.find_spec("_cffi_backend")
    assert backend is not None
    assert backend.origin is not None
    folders = [str(Path(ebpf.__file__).parents[1]), str(Path(backend.origin).parent)]
    code = f"import sys; sys.path += {folders}; {statement}; print(*sys.modules)"
    return set(subprocess.check_output([sys.executable, "-ISc", code], text=True).split())


def test_import_pulls_in_nothing_heavy() -> None:
    """A tool that starts pays for what it does not use."""
    unused = {"ebpf.btf", "ebpf.spec", "ebpf.kernel_btf", "ebpf.collection", "ebpf.elf"}
    assert (HEAVY | unused) & loaded_by("import ebpf") == set()


def test_the_loader_pulls_in_nothing_heavy() -> None:
    """The first event of a tool that loads an object comes later than it could."""
    # The verifier's log is read with it, perhaps when no descriptor is left to import it with.
    needed = {"re"}
    loaded = loaded_by("import ebpf, ebpf.collection, ebpf.elf.object")
    assert (HEAVY - needed) & loaded == set()


def test_names_in_the_documents_need_no_other_import() -> None:
    """What a document calls `ebpf.kernel_btf.release` is an AttributeError after `import ebpf`."""
    pytest.importorskip("ebpf._ffi", reason="the extension is not built", exc_type=ImportError)
    documents = [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]
    text = "".join(path.read_text(encoding="utf-8") for path in documents)
    names = sorted(set(re.findall(r"`ebpf\.((?:\w+\.)*\w+)", text)))
    assert len(names) > 5
    for own in names:
        # One at a time: what one imports, another must not live on.
        code = f"import ebpf, operator; operator.attrgetter({own!r})(ebpf)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_every_public_name_comes_on_first_use() -> None:
    """A name that is listed, and imported when it is asked for, is missing from its module."""
    pytest.importorskip("ebpf._ffi", reason="the extension is not built", exc_type=ImportError)
    assert [name for name in ebpf.__all__ if getattr(ebpf, name, None) is None] == []
    assert set(ebpf.__all__) <= set(dir(ebpf))
