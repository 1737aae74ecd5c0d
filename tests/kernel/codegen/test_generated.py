"""Generated modules, loaded: their classes are what maps, variables and rings give and take."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from ebpf import RingBuffer
from ebpf.cli import main
from tests.objects import compiled


@pytest.fixture
def tracer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module for tests/bpf/generated.bpf.c."""
    path = tmp_path / "tracer.py"
    assert main(["gen", str(compiled("generated")), "-o", str(path)]) == 0
    spec = importlib.util.spec_from_file_location("tracer", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "tracer", module)
    spec.loader.exec_module(module)
    return module


def test_the_program_and_the_classes_agree(tracer: ModuleType) -> None:
    """What Python writes the program would not read, or the other way round."""
    spec = tracer.spec()
    tracer.Variables(spec).lowest = 5
    key = tracer.Key(pid=7, kind=3)
    usage = tracer.Usage(1, 2, b"cat", key, (1, 2, 3), True, 443, 1 << 40)
    with tracer.Objects.load(spec) as objects:
        objects.maps.uses[key] = usage
        objects.maps.marks[0] = tracer.Flags(low=2, whole=3)
        objects.variables.number = tracer.Number(whole=6)
        with RingBuffer(objects.maps.events) as ring:
            assert objects.programs.run.test_run().return_value == 5
            assert ring.read() == tracer.Event(number=42, name=b"an event")
        counted = tracer.Usage(2, 2, b"cat", key, (1, 2, 3), True, 443, 1 << 40)
        assert dict(objects.maps.uses.items()) == {key: counted}
        seen = objects.variables
        assert (seen.latest, seen.recent[1], seen.packed.four) == (counted, key, 4)
        assert objects.maps.totals[0].sum() == 5
        marks = objects.maps.marks[0]
        assert (marks.low, marks.high, marks.whole) == (2, 9, 3)
        assert (seen.bits.high, seen.number.whole) == (9, (1 << 32) + 6)
        assert isinstance(marks, tracer.Flags)
        seen.recent = (key, tracer.Key(8, 9))
        assert seen["recent"].value[1].pid == 8


def test_members_are_found_by_name_too(tracer: ModuleType) -> None:
    """A map that Python cannot name as an attribute would be out of reach, and one that was not
    loaded would be a KeyError out of nowhere."""
    spec = tracer.spec()
    spec.programs["run"].autoload = False
    with tracer.Objects.load(spec) as objects:
        assert objects.maps["uses"] is objects.maps.uses
        assert set(objects.maps) >= {"uses", "totals", "marks", "events"}
        assert list(objects.programs) == []
        with pytest.raises(AttributeError, match="no program 'run' was loaded; there are: none"):
            objects.programs.run  # noqa: B018
