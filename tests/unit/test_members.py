"""Values of a wrong type in a Spec: refused where they are assigned, with what to write."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from ebpf.spec import CollectionSpec, MapSpec, ProgramSpec, VariableSpec
from ebpf.types import MapFlags, MapType, ProgramFlags, ProgramType


def sample() -> Any:
    events = MapSpec("events", MapType.RINGBUF, max_entries=4096)
    program = ProgramSpec("trace", "trace", "kprobe/x", ProgramType.KPROBE)
    lowest = VariableSpec("lowest", ".data", 0, 4, events)
    spec = CollectionSpec("s", {"trace": program}, {"events": events})
    spec.variables["lowest"] = lowest
    return spec


@pytest.mark.parametrize(
    ("member", "value", "says"),
    [
        ("type", "hash", "MapSpec.type: 'hash' is not MapType; write MapType.HASH"),
        ("type", 1, "MapSpec.type: 1 is not MapType; write MapType.HASH"),
        ("max_entries", "64K", "MapSpec.max_entries: '64K' is not int"),
        ("flags", "NO_PREALLOC", "MapSpec.flags: 'NO_PREALLOC' is not MapFlags; write MapFlags."),
        ("autocreate", "no", "MapSpec.autocreate: 'no' is not bool"),
        ("inner", 3, "MapSpec.inner: 3 is not MapSpec or None"),
    ],
)
def test_members_of_a_map(member: str, value: object, says: str) -> None:
    """The mistake is told at load, by an AttributeError inside of this library."""
    spec = sample().maps["events"]
    before = getattr(spec, member)
    with pytest.raises(TypeError) as caught:
        setattr(spec, member, value)
    assert str(caught.value).startswith(says)
    assert getattr(spec, member) == before


def test_members_of_a_program() -> None:
    """As for maps; kprobe is a member of ProgramType under another case."""
    spec = sample().programs["trace"]
    with pytest.raises(TypeError, match=r"^ProgramSpec.type: .* write ProgramType.KPROBE$"):
        spec.type = "kprobe"
    with pytest.raises(TypeError, match=r"^ProgramSpec.attach_type: 'x' is not AttachType or None"):
        spec.attach_type = "x"
    with pytest.raises(TypeError, match=r"^CollectionSpec.license: b'GPL' is not str$"):
        sample().license = b"GPL"


def test_numbers_become_flags() -> None:
    """A number as C has it is refused, or stays one that does not know its releases."""
    spec = sample()
    spec.maps["events"].flags = 1
    spec.programs["trace"].flags = 1 << 4
    assert spec.maps["events"].flags is MapFlags.NO_PREALLOC
    assert spec.programs["trace"].flags is ProgramFlags.SLEEPABLE


def test_specs_of_another_kind() -> None:
    """A forgotten .value, or a map in place of its spec, is accepted and breaks load."""
    spec = sample()
    with pytest.raises(TypeError, match=r"set by spec.variables\['lowest'\].value$"):
        spec.variables["lowest"] = 3
    with pytest.raises(TypeError, match=r"spec.load\(maps={'events': map}\)$"):
        spec.maps["events"] = object
    with pytest.raises(TypeError, match=r"not a ProgramSpec; change the members of"):
        spec.programs.update(trace=spec.maps["events"])
    with pytest.raises(TypeError, match=r"not a MapSpec"):
        spec.maps |= {"events": 1}
    with pytest.raises(TypeError, match=r"not a MapSpec"):
        spec.maps.setdefault("other")
    with pytest.raises(TypeError, match=r"not a MapSpec"):
        spec.maps = {"events": 1}
    assert spec == sample()


def test_names_that_are_not_there() -> None:
    """A bare KeyError leaves one to look up the names."""
    spec = sample()
    with pytest.raises(KeyError, match="no variable 'typo'; there are: lowest"):
        spec.variables["typo"]
    with pytest.raises(KeyError, match="no map 'typo'; there are: events"):
        spec.maps["typo"]
    assert spec.maps.get("typo") is None
    many = {f"counter_{i}": MapSpec("m", MapType.HASH) for i in range(100)}
    with pytest.raises(KeyError, match=r"no map 'countr_42'; near it: counter_42"):
        CollectionSpec(maps=many).maps["countr_42"]


def test_a_path_for_the_bytes() -> None:
    """Python says only that a string has no encoding."""
    path: Any = "x.o"
    with pytest.raises(TypeError, match=r"^data: 'x.o' is a str, not bytes; .* from_file$"):
        CollectionSpec.from_bytes(path)


def test_a_variable_shows_its_value() -> None:
    """What a variable starts with takes another look."""
    data = MapSpec(".data", MapType.ARRAY, 4, 100, 1, contents=bytearray(b"ab" + bytes(98)))
    assert repr(VariableSpec("v", ".data", 0, 2, data)).endswith("size=2, value=b'ab')")
    assert "value" not in repr(VariableSpec("v", ".data", 0, 100, data))
    assert "value" not in repr(VariableSpec("v", ".data", 99, 2, data))


def test_copies_stay_checked() -> None:
    """A copy of a Spec takes what the Spec refuses, or cannot be made."""
    for made in (
        sample().copy(),
        copy.deepcopy(sample()),
        pickle.loads(pickle.dumps(sample())),
    ):
        with pytest.raises(TypeError, match="not a VariableSpec"):
            made.variables["lowest"] = 3
        assert made == sample()
