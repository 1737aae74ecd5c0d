"""Types of functions whose parameters are contexts by a tag, for kernels that go by types."""

from __future__ import annotations

import pytest

from ebpf.btf import Btf
from ebpf.btf import types as t
from ebpf.btf.build import BtfBuilder
from ebpf.btf.edit import BtfEditor
from ebpf.collection.tags import exception_callbacks, give_contexts
from ebpf.errors import RelocationError
from ebpf.spec import CollectionSpec, FunctionSpec, ProgramSpec, Relocation, RelocationKind
from ebpf.types import ProgramType

INT = t.Int(name="int", size=4, bits=32, encoding=t.IntEncoding.SIGNED)
U64 = t.Int(name="u64", size=8, bits=64)


class Object:
    """A program of `type` that calls the global function ``callee`` (int, POINTER TO `target`)."""

    def __init__(self, type: ProgramType, target: t.Type | None, qualified: bool = False) -> None:
        self.builder = builder = BtfBuilder()
        self.number = builder.add(INT)
        pointed = 0 if target is None else builder.add(target)
        if qualified:
            pointed = builder.add(t.Typedef(name="alias", type_id=pointed))
            pointed = builder.add(t.Const(type_id=pointed))
        pointer = builder.add(t.Pointer(type_id=pointed))
        if qualified:
            pointer = builder.add(t.Volatile(type_id=pointer))
        parameters = (t.Parameter("number", self.number), t.Parameter("context", pointer))
        self.prototype = builder.add(t.FuncProto(type_id=self.number, parameters=parameters))
        self.main = self.function("main")
        self.callee = self.function("callee")
        self.type = type

    def function(self, name: str, linkage: t.Linkage = t.Linkage.GLOBAL) -> int:
        return self.builder.add(t.Func(name=name, type_id=self.prototype, linkage=linkage))

    def tag(self, type_id: int, name: str = "arg:ctx", parameter: int = 1) -> None:
        self.builder.add(t.DeclTag(name=name, type_id=type_id, component_index=parameter))

    def spec(self) -> CollectionSpec:
        calls = (Relocation(0, RelocationKind.CALL, "callee"),)
        functions = {
            "main": FunctionSpec("main", "x", 0, bytes(16), relocations=calls, type_id=self.main),
            "callee": FunctionSpec("callee", ".text", 0, bytes(16), type_id=self.callee),
        }
        programs = {"main": ProgramSpec("main", "main", "x", type=self.type)}
        btf = self.builder.to_btf()
        return CollectionSpec(programs=programs, functions=functions, btf=btf)


def retyped(made: Object) -> tuple[Btf, int | None]:
    """The BTF afterwards, and the id of the function that stands for the callee."""
    spec = made.spec()
    assert spec.btf is not None
    editor = BtfEditor(spec.btf)
    types = give_contexts(spec, editor, {})
    assert set(types) <= {(made.type, made.callee)}
    return Btf(editor.to_bytes()), types.get((made.type, made.callee))


def parameters(btf: Btf, type_id: int) -> tuple[t.Parameter, ...]:
    function = btf.type(type_id)
    assert isinstance(function, t.Func)
    prototype = btf.type(function.type_id)
    assert isinstance(prototype, t.FuncProto)
    return prototype.parameters


@pytest.mark.parametrize("qualified", [False, True])
@pytest.mark.parametrize(
    ("type", "target", "context"),
    [
        (ProgramType.XDP, None, "xdp_md"),
        (ProgramType.SCHED_CLS, None, "__sk_buff"),
        (ProgramType.KPROBE, t.Struct(name="pt_regs", size=8), "bpf_user_pt_regs_t"),
        (ProgramType.PERF_EVENT, t.Struct(name="user_pt_regs", size=8), "bpf_perf_event_data"),
        (ProgramType.RAW_TRACEPOINT, U64, "bpf_raw_tracepoint_args"),
    ],
)
def test_the_parameter_points_to_what_the_verifier_knows(
    type: ProgramType, target: t.Type | None, context: str, qualified: bool
) -> None:
    """Another struct, or another parameter changed, and old kernels refuse the program."""
    made = Object(type, target, qualified)
    made.tag(made.callee)
    btf, type_id = retyped(made)
    assert type_id is not None
    before, after = parameters(btf, made.callee), parameters(btf, type_id)
    assert after[0] == before[0]
    assert after[1].name == before[1].name
    pointer = btf.type(after[1].type_id)
    assert isinstance(pointer, t.Pointer)
    struct = btf.type(pointer.type_id)
    assert isinstance(struct, t.Struct)
    assert struct.name == context
    # What was there stays, for programs of other types.
    assert btf.type(made.callee).name == btf.type(type_id).name == "callee"


@pytest.mark.parametrize(
    ("type", "target"),
    [
        # It is one by its type.
        (ProgramType.XDP, t.Struct(name="xdp_md", size=4)),
        (ProgramType.KPROBE, t.Typedef(name="bpf_user_pt_regs_t", type_id=1)),
        # Nothing that any kernel takes for one.
        (ProgramType.XDP, t.Struct(name="other", size=4)),
        (ProgramType.XDP, U64),
        (ProgramType.XDP, t.Struct(name="pt_regs", size=8)),
        (ProgramType.RAW_TRACEPOINT, INT),
        # Programs whose context has no name.
        (ProgramType.TRACING, None),
    ],
)
def test_other_parameters_stay_as_they_are(type: ProgramType, target: t.Type | None) -> None:
    """A kernel that knows tags refuses them, too, and should say the same of them."""
    made = Object(type, target)
    made.tag(made.callee)
    btf, type_id = retyped(made)
    assert type_id is None
    assert btf.end_id == made.builder.next_id


def test_only_what_is_tagged_and_global() -> None:
    """The verifier goes by the values that a static function gets, and by tags of parameters."""
    static = Object(ProgramType.XDP, None)
    static.callee = static.function("callee", t.Linkage.STATIC)
    static.tag(static.callee)
    other_tag = Object(ProgramType.XDP, None)
    other_tag.tag(other_tag.callee, "arg:nonnull")
    beyond = Object(ProgramType.XDP, None)
    beyond.tag(beyond.callee, parameter=2)
    number = Object(ProgramType.XDP, None)
    number.tag(number.callee, parameter=0)
    for made in (static, other_tag, beyond, number):
        assert retyped(made)[1] is None


def test_functions_of_programs_that_are_left_out_stay() -> None:
    """Types that nobody uses are memory of the kernel's."""
    made = Object(ProgramType.XDP, None)
    made.tag(made.callee)
    spec = made.spec()
    spec.programs["main"].autoload = False
    assert spec.btf is not None
    assert give_contexts(spec, BtfEditor(spec.btf), {}) == {}


def test_one_function_of_programs_of_two_types() -> None:
    """Each type has a context of its own."""
    made = Object(ProgramType.XDP, None)
    made.tag(made.callee)
    spec = made.spec()
    spec.programs["other"] = ProgramSpec("other", "main", "y", type=ProgramType.SCHED_CLS)
    assert spec.btf is not None
    types = give_contexts(spec, BtfEditor(spec.btf), {})
    assert set(types) == {
        (ProgramType.XDP, made.callee),
        (ProgramType.SCHED_CLS, made.callee),
    }
    assert len(set(types.values())) == 2


def test_callbacks_for_exceptions() -> None:
    """One of a program that is left out is not needed; a static one is none to the verifier."""
    made = Object(ProgramType.XDP, None)
    made.tag(made.main, "exception_callback:callee", -1)
    made.tag(made.callee, "exception_callback:nobody", -1)
    made.tag(made.main, "exception_callback:of_a_parameter", 0)
    spec = made.spec()
    assert exception_callbacks(spec) == {made.main: "callee"}
    spec.functions["callee"].linkage = t.Linkage.STATIC
    with pytest.raises(RelocationError, match="has to be a global function"):
        exception_callbacks(spec)
    del spec.functions["callee"]
    with pytest.raises(RelocationError, match="no function 'callee'"):
        exception_callbacks(spec)
    spec.programs["main"].autoload = False
    assert exception_callbacks(spec) == {}
