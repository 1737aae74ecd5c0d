"""BTF as C: every definition after those that it needs, as ``bpftool btf dump ... format c``.

C wants a type's name declared before it is mentioned and, where its size matters, the type
complete. So what a definition needs is collected as pairs (type id, complete?) and written
first; a struct that is needed only by name gets ``struct name;``, which also ends the circles.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum

from ebpf.btf import types as t
from ebpf.btf.btf import Btf
from ebpf.btf.c_names import identifier
from ebpf.btf.c_text import CText
from ebpf.btf.raw import info_kind
from ebpf.btf.words import INFO, is_known, own_words, references
from ebpf.errors import BtfError

# A type id, and whether the type must be complete and not only declared.
Need = tuple[int, bool]

_COMPOSITES = (t.Struct, t.Union)
_ENUMS = (t.Enum, t.Enum64)
_LEFT_OUT = frozenset({t.Kind.FUNC, t.Kind.VAR, t.Kind.DATASEC, t.Kind.DECL_TAG})
# In the characters that CText counts: many types may mention one long chain of others.
_MENTION = 8
# The compiler has it built in, and other compilers have another one.
_BUILTIN = "__builtin_va_list"
# What pahole tags the functions with that programs may call.
_KFUNC = "bpf_kfunc"
# As bpf/bpf_helpers.h has them, which is included later.
_KSYM = """\
#ifndef BPF_NO_KFUNC_PROTOTYPES
#ifndef __ksym
#define __ksym __attribute__((section(".ksyms")))
#endif
#ifndef __weak
#define __weak __attribute__((weak))
#endif

"""


def to_c(btf: Btf, ids: Iterable[int] | None = None) -> str:
    """The types `ids` and all that they need as C, or all of `btf`'s own types.

    Structs, unions, enums and typedefs get definitions, of which a compiler for the same pointer
    size makes the sizes and offsets that BTF has, with padding, ``packed`` and ``mode``
    attributes where needed. Variables and functions are left out. A second type of a name
    becomes ``name___2``, and so on; what C cannot have in a name becomes ``_``. Types of other
    kinds in `ids` contribute what they refer to.

    Structs that hold other named ones without a member name, which newer kernels have, need a
    compiler's ``-fms-extensions``. Raises BtfError for types that C cannot express.
    """
    return _Writer(btf).definitions(_definitions(btf) if ids is None else ids)


def to_header(btf: Btf, guard: str = "__VMLINUX_H__") -> str:
    """All of `btf` as a header for BPF programs, whose accesses then are CO-RE relocatable.

    With the kfuncs that it names (kernels built with pahole 1.27 or newer), as weak kernel
    symbols; a program that declares its own defines BPF_NO_KFUNC_PROTOTYPES.
    """
    writer = _Writer(btf)
    return (
        f"#ifndef {guard}\n#define {guard}\n\n"
        "#ifndef BPF_NO_PRESERVE_ACCESS_INDEX\n"
        "#pragma clang attribute push (__attribute__((preserve_access_index)), "
        "apply_to = record)\n#endif\n\n"
        f"{writer.definitions(_definitions(btf))}"
        "#ifndef BPF_NO_PRESERVE_ACCESS_INDEX\n#pragma clang attribute pop\n#endif\n\n"
        f"{_KSYM}{writer.kfuncs()}#endif\n\n"
        f"#endif /* {guard} */\n"
    )


def _definitions(btf: Btf) -> list[int]:
    """The types that C can have, but not anonymous enums that others mention: those are
    written where they are used."""
    found: list[int] = []
    mentioned: set[int] = set()
    for type_id, words in enumerate(own_words(btf), btf.start_id):
        if not is_known(words):
            continue
        mentioned.update(references(words))
        if info_kind(words[INFO]) not in _LEFT_OUT:
            found.append(type_id)
    return [one for one in found if one not in mentioned or not _anonymous_enum(btf.type(one))]


def _anonymous_enum(type: t.Type) -> bool:
    return isinstance(type, _ENUMS) and not type.name


class _State(Enum):
    OPEN = 1
    DONE = 2


class _Writer:
    def __init__(self, btf: Btf) -> None:
        self.btf = btf
        self.text = CText(btf)
        self.output: list[str] = []
        self._state: dict[Need, _State] = {}
        # What types without a name mentioned, which is written.
        self._mentioned: set[Need] = set()

    def definitions(self, ids: Iterable[int]) -> str:
        """The types `ids` and what they need, each once."""
        for type_id in ids:
            self.write(type_id)
        return "".join(f"{text};\n\n" for text in self.output)

    def kfuncs(self) -> str:
        """A declaration for each function that is tagged as a kfunc; the types are written."""
        declared: dict[str, str] = {}
        for type_id, words in enumerate(own_words(self.btf), self.btf.start_id):
            if info_kind(words[INFO]) != t.Kind.DECL_TAG:
                continue
            tag = self.btf.type(type_id)
            if not isinstance(tag, t.DeclTag) or tag.name != _KFUNC:
                continue
            function = self.btf.type(tag.type_id)
            if isinstance(function, t.Func):
                name = identifier(function.name)
                text = self.text.declare(function.type_id, name)
                declared.setdefault(name, f"extern {text} __weak __ksym;\n\n")
        return "".join(declared.values())

    def write(self, type_id: int) -> None:
        """Writes the definition of a type after all that it needs."""
        type = self.btf.type(type_id)
        if type.kind in _LEFT_OUT or isinstance(type, t.Unknown):
            return
        if isinstance(type, (*_COMPOSITES, t.Typedef, t.Fwd, *_ENUMS)):
            first = [(type_id, True)] if type.name or isinstance(type, _ENUMS) else []
        else:
            first = []
            self._collect(type_id, False, first, self._mentioned)
        for need in first:
            self._satisfy(need)

    def _satisfy(self, wanted: Need) -> None:
        """Depth first, with a stack of its own: chains of definitions are long."""
        path: list[tuple[Need, Iterator[Need]]] = []
        self._enter(wanted, path)
        while path:
            need, further = path[-1]
            following = next(further, None)
            if following is not None:
                self._enter(following, path)
                continue
            path.pop()
            self._state[need] = _State.DONE
            self._emit(need)

    def _enter(self, need: Need, path: list[tuple[Need, Iterator[Need]]]) -> None:
        state = self._state.get(need)
        if state is _State.DONE:
            return
        type_id, complete = need
        type = self.btf.type(type_id)
        if isinstance(type, _COMPOSITES) and not complete:
            # A struct's own name is known inside it.
            known = self._state.get((type_id, True)) is _State.DONE
            if not known and not (path and path[-1][0] == (type_id, True)):
                self.output.append(self.text.forward(type))
                self._state[need] = _State.DONE
            return
        if state is _State.OPEN:
            raise BtfError(f"BTF type {type_id}, {type.name!r}, needs itself: C has no such type")
        self._state[need] = _State.OPEN
        path.append((need, iter(self._first(type, complete))))

    def _first(self, type: t.Type, complete: bool) -> list[Need]:
        """What must be written before `type`."""
        if isinstance(type, t.Typedef):
            declared = self._needs_of(type.type_id, False)
            if not complete:
                return declared
            return [(type.id, False), *self._needs_of(type.type_id, True)]
        if isinstance(type, _COMPOSITES):
            return self._members(type)
        return []

    def _emit(self, need: Need) -> None:
        type = self.btf.type(need[0])
        if isinstance(type, t.Typedef) and (need[1] or type.name == _BUILTIN):
            return  # written when it was declared
        self.output.append(self.text.define(type))

    def _members(self, composite: t.Struct | t.Union) -> list[Need]:
        needs: list[Need] = []
        seen: set[Need] = set()
        self.text.make_room(composite, len(composite.members))
        for member in composite.members:
            if (member.type_id, True) not in seen:
                self._collect(member.type_id, True, needs, seen)
        return needs

    def _needs_of(self, type_id: int, complete: bool) -> list[Need]:
        needs: list[Need] = []
        self._collect(type_id, complete, needs, set())
        return needs

    def _collect(self, type_id: int, complete: bool, needs: list[Need], seen: set[Need]) -> None:
        """Adds to `needs` what mentioning `type_id` needs; `seen` was mentioned before."""
        pending = [(type_id, complete)]
        while pending:
            mention = pending.pop()
            if mention in seen:
                continue
            seen.add(mention)
            current, complete = mention
            type = self.btf.type(current)
            self.text.spend(type, _MENTION)
            if isinstance(type, t.Pointer):
                pending.append((type.type_id, False))
            elif isinstance(type, t.Array):
                pending.append((type.type_id, True))
            elif isinstance(type, (t.Const, t.Volatile, t.Restrict, t.TypeTag)):
                pending.append((type.type_id, complete))
            elif isinstance(type, t.FuncProto):
                mentioned = [type.type_id, *(item.type_id for item in type.parameters)]
                pending.extend((one, False) for one in reversed(mentioned))
            elif isinstance(type, _COMPOSITES) and not type.name:
                pending.extend((item.type_id, True) for item in reversed(type.members))
            elif isinstance(type, (*_COMPOSITES, t.Typedef)):
                needs.append((current, complete))
            elif isinstance(type, (t.Fwd, *_ENUMS)) and type.name:
                needs.append((current, True))
