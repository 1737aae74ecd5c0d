"""What help() says of the methods of a program, beside the functions that do their work."""

from __future__ import annotations

import inspect
import re

import pytest

pytest.importorskip("ebpf._ffi", reason="the extension is not built", exc_type=ImportError)

from ebpf import links
from ebpf.programs import Program

METHODS = [name for name in dir(Program) if name.startswith("attach_") and hasattr(links, name)]


def pieces(doc: str) -> list[str]:
    """Paragraphs and entries, without their line breaks."""
    parts = re.split(r"\n\n|\n(?= {4}[a-zA-Z_]\w*(?:, \w+)*: )", doc)
    return [" ".join(part.replace("`program`", "the program").split()) for part in parts]


@pytest.mark.parametrize("name", METHODS)
def test_a_method_says_what_its_function_says(name: str) -> None:
    """A list of "see the function" leaves out which errors to expect; two texts drift apart."""
    method, function = getattr(Program, name), getattr(links, name)
    own, whole = pieces(inspect.getdoc(method) or ""), pieces(inspect.getdoc(function) or "")
    lacking = inspect.signature(function).parameters.keys() - inspect.signature(method).parameters
    assert own == [piece for piece in whole if piece.partition(":")[0] not in lacking]


@pytest.mark.parametrize("name", METHODS)
def test_every_argument_is_explained(name: str) -> None:
    """Where the text refers to another method, that one explains it."""
    doc = inspect.getdoc(getattr(Program, name)) or ""
    for other in re.findall(r"(?:those\s+of|as\s+for)\s+`(attach_\w+)`", doc):
        doc += inspect.getdoc(getattr(Program, other)) or ""
    for parameter in list(inspect.signature(getattr(Program, name)).parameters)[1:]:
        assert re.search(rf"\b{parameter}\b", doc), parameter
