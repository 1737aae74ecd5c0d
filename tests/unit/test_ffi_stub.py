"""The stub of the extension: type checkers believe it, and nothing else compares it with C."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

STUB = Path(__file__).resolve().parents[2] / "src/ebpf/_ffi.pyi"


def members(name: str) -> dict[str, ast.stmt]:
    """What the stub declares in one of its classes."""
    tree = ast.parse(STUB.read_text())
    (found,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    declared: dict[str, ast.stmt] = {}
    for node in found.body:
        if isinstance(node, ast.FunctionDef):
            declared[node.name] = node
        elif isinstance(node, ast.AnnAssign):
            assert isinstance(node.target, ast.Name)
            declared[node.target.id] = node
    return declared


def test_functions_and_constants_are_those_of_the_core() -> None:
    """A call of a function that is gone, or with an argument too few, would pass mypy."""
    module = pytest.importorskip("ebpf._ffi", reason="the extension is not built")
    declared = members("_Lib")
    # The bits of perf events are looked up by name.
    bits = {name for name in dir(module.lib) if name.startswith("EBPF_PERF_BIT_")}
    assert set(declared) == set(dir(module.lib)) - bits
    for name, node in declared.items():
        value = getattr(module.lib, name)
        if isinstance(node, ast.FunctionDef):
            function = module.ffi.typeof(value)
            assert len(node.args.args) - 1 == len(function.args), name
            result = "None" if function.result.kind == "void" else "int"
            assert ast.unparse(node.returns or node) == result, name
        else:
            assert isinstance(value, int), name


def test_what_is_used_of_cffi_is_there() -> None:
    """A method that cffi does not have would be found by the user who gets there first."""
    module = pytest.importorskip("ebpf._ffi", reason="the extension is not built")
    assert set(members("_FFI")) <= set(dir(module.ffi))
