"""What declaration tags in an object's BTF say of its functions.

``exception_callback:NAME`` on a program names the function that is called when it throws
(bpf_throw, Linux 6.7). ``arg:ctx`` on a parameter says that it is the program's context
(``__arg_ctx``); kernels before 6.8, which know a context by the struct that it points to, get a
type of the function in which it does.
"""

from __future__ import annotations

from ebpf.btf import Kind
from ebpf.btf import types as t
from ebpf.btf.btf import MAX_RESOLVE_DEPTH
from ebpf.collection.image import function_names
from ebpf.errors import BtfError, RelocationError
from ebpf.plain import NamedTuple
from ebpf.types import ProgramType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ebpf.btf import Btf
    from ebpf.btf.edit import BtfEditor
    from ebpf.spec import CollectionSpec

_CALLBACK = "exception_callback:"
_CONTEXT = "arg:ctx"

# The struct by which the verifier knows the context, of the types that have one
# (include/linux/bpf_types.h).
_CONTEXTS = {
    ProgramType.CGROUP_DEVICE: "bpf_cgroup_dev_ctx",
    ProgramType.CGROUP_SKB: "__sk_buff",
    ProgramType.CGROUP_SOCK: "bpf_sock",
    ProgramType.CGROUP_SOCK_ADDR: "bpf_sock_addr",
    ProgramType.CGROUP_SOCKOPT: "bpf_sockopt",
    ProgramType.CGROUP_SYSCTL: "bpf_sysctl",
    ProgramType.FLOW_DISSECTOR: "__sk_buff",
    ProgramType.KPROBE: "bpf_user_pt_regs_t",
    ProgramType.LWT_IN: "__sk_buff",
    ProgramType.LWT_OUT: "__sk_buff",
    ProgramType.LWT_SEG6LOCAL: "__sk_buff",
    ProgramType.LWT_XMIT: "__sk_buff",
    ProgramType.NETFILTER: "bpf_nf_ctx",
    ProgramType.PERF_EVENT: "bpf_perf_event_data",
    ProgramType.RAW_TRACEPOINT: "bpf_raw_tracepoint_args",
    ProgramType.RAW_TRACEPOINT_WRITABLE: "bpf_raw_tracepoint_args",
    ProgramType.SCHED_ACT: "__sk_buff",
    ProgramType.SCHED_CLS: "__sk_buff",
    ProgramType.SK_LOOKUP: "bpf_sk_lookup",
    ProgramType.SK_MSG: "sk_msg_md",
    ProgramType.SK_REUSEPORT: "sk_reuseport_md",
    ProgramType.SK_SKB: "__sk_buff",
    ProgramType.SOCKET_FILTER: "__sk_buff",
    ProgramType.SOCK_OPS: "bpf_sock_ops",
    ProgramType.XDP: "xdp_md",
}

# What bpf_user_pt_regs_t is on one machine or another.
_REGISTERS = frozenset({"pt_regs", "user_pt_regs", "user_regs_struct"})
_OF_REGISTERS = (ProgramType.KPROBE, ProgramType.PERF_EVENT)
_OF_WORDS = (ProgramType.RAW_TRACEPOINT, ProgramType.RAW_TRACEPOINT_WRITABLE)

#: {(program type, type id of a Func): type id of the Func to load it with}
FunctionTypes = dict[tuple[ProgramType, int], int]


class Tags(NamedTuple):
    """``callbacks`` are the functions to be called when a program throws, by the type id of the
    program's function; ``types`` is what `give_contexts` made."""

    callbacks: dict[int, str]
    types: FunctionTypes


def exception_callbacks(spec: CollectionSpec) -> dict[int, str]:
    """The functions to be called when the programs that are loaded throw, by their type ids.

    Raises RelocationError for one that the object does not have, or that is not global: the
    verifier looks for no other.
    """
    found: dict[int, str] = {}
    loaded = {spec.functions[p.function].type_id for p in spec.programs.values() if p.autoload}
    for name in spec.btf.strings.starting(_CALLBACK) if spec.btf else ():
        assert spec.btf is not None
        for tag in spec.btf.find_all(name, Kind.DECL_TAG):
            assert isinstance(tag, t.DeclTag)
            if tag.component_index < 0 and tag.type_id in loaded:
                callback = name.removeprefix(_CALLBACK)
                _check_callback(spec.btf.type(tag.type_id).name, callback, spec)
                found[tag.type_id] = callback
    return found


def _check_callback(program: str, name: str, spec: CollectionSpec) -> None:
    function = spec.functions.get(name)
    if function is None:
        raise RelocationError(
            f"program {program!r}: the object has no function {name!r}, its exception callback"
        )
    if function.linkage != t.Linkage.GLOBAL or function.hidden:
        raise RelocationError(
            f"program {program!r}: its exception callback {name!r} has to be a global function,"
            " neither static nor hidden"
        )


def tags_contexts(btf: Btf) -> bool:
    """Whether any parameter is tagged as a context."""
    return bool(btf.find_all(_CONTEXT, Kind.DECL_TAG))


def give_contexts(
    spec: CollectionSpec, editor: BtfEditor, callbacks: dict[int, str]
) -> FunctionTypes:
    """Adds the types that functions with tagged parameters need on kernels before 6.8.

    One function may serve programs of several types, each with a context of its own.
    """
    tagged = _tagged(spec.btf) if spec.btf else {}
    made: FunctionTypes = {}
    if not tagged:
        return made
    for program in spec.programs.values():
        context = _CONTEXTS.get(program.type)
        if context is None or not program.autoload:
            continue
        for name in function_names(spec, program, callbacks):
            type_id = spec.functions[name].type_id
            if type_id not in tagged or (program.type, type_id) in made:
                continue
            retyped = _retyped(editor, program.type, context, type_id, tagged[type_id])
            if retyped:
                made[program.type, type_id] = retyped
    return made


def _tagged(btf: Btf) -> dict[int, list[int]]:
    """The indexes of the parameters that are tagged, by the type id of their function."""
    found: dict[int, list[int]] = {}
    for tag in btf.find_all(_CONTEXT, Kind.DECL_TAG):
        assert isinstance(tag, t.DeclTag)
        found.setdefault(tag.type_id, []).append(tag.component_index)
    return found


def _retyped(
    editor: BtfEditor, program: ProgramType, context: str, type_id: int, indexes: list[int]
) -> int:
    """A Func like `type_id` whose parameters `indexes` are contexts; 0 where that is so already."""
    function = editor.type(type_id)
    if not isinstance(function, t.Func) or function.linkage != t.Linkage.GLOBAL:
        return 0
    prototype = editor.type(function.type_id)
    assert isinstance(prototype, t.FuncProto)
    parameters = list(prototype.parameters)
    changed = [
        index
        for index in indexes
        if 0 <= index < len(parameters)
        and _stands_for_context(editor, program, parameters[index].type_id)
    ]
    if not changed:
        return 0
    pointer = editor.add_once(t.Pointer(type_id=editor.add_once(t.Struct(name=context, size=0))))
    for index in changed:
        parameters[index] = parameters[index]._replace(type_id=pointer)
    signature = editor.add(t.FuncProto(type_id=prototype.type_id, parameters=tuple(parameters)))
    # Without the tag, which kernels that know it would judge the other type by.
    return editor.add(t.Func(name=function.name, type_id=signature, linkage=function.linkage))


def _stands_for_context(editor: BtfEditor, program: ProgramType, type_id: int) -> bool:
    """Whether a parameter of this type is one that newer kernels take for the context by its tag,
    and older ones do not by its type. Any other is left for the verifier to refuse."""
    *_, pointer = _behind(editor, type_id)
    if not isinstance(pointer, t.Pointer):
        return False
    chain = list(_behind(editor, pointer.type_id))
    target = chain[-1]
    if program in _OF_REGISTERS:
        # The kernel's own name for it, a typedef of another struct on each machine.
        if any(one.name == "bpf_user_pt_regs_t" for one in chain):
            return False
        if isinstance(target, t.Struct) and target.name in _REGISTERS:
            return True
    if isinstance(target, t.Int):
        return program in _OF_WORDS and target.size == 8
    return isinstance(target, t.Void)


def _behind(editor: BtfEditor, type_id: int) -> Iterator[t.Type]:
    """The type and those that it is a typedef or a qualifier of, in their order."""
    for _ in range(MAX_RESOLVE_DEPTH):
        found = editor.type(type_id)
        yield found
        if not isinstance(found, t.MODIFIERS):
            return
        type_id = found.type_id
    raise BtfError(f"BTF type {type_id} leads through more than {MAX_RESOLVE_DEPTH} types")
