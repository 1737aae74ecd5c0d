"""Functions as C declares them, to BTF: ``"static u32 hash(struct __sk_buff *skb, u32 seed)"``.

What the verifier makes of the parameters of a global function (Linux 5.6): a pointer to the
context of the program's type is the context, a pointer to anything else is memory of its size or
NULL, and everything else a number.
"""

from __future__ import annotations

from ebpf.asm.contexts import CONTEXTS
from ebpf.asm.excerpt import Excerpt
from ebpf.btf import types as t
from ebpf.errors import AsmError
from ebpf.patterns import Pattern
from ebpf.plain import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ebpf.asm.structs import BtfSource
    from ebpf.btf.build import BtfBuilder

_DECLARATION = Pattern(r"(?a)\s*(static\s+)?(.*?)\b([A-Za-z_]\w*)\s*\(([^()]*)\)\s*;?\s*")
_PARAMETER = Pattern(r"(?a)(.*?)\b([A-Za-z_]\w*)")
_SPACE = Pattern(r"\s+")

_SIGNED = t.IntEncoding.SIGNED
_MOST = 5


def _numbers() -> dict[str, t.Int]:
    found = {
        "char": t.Int(name="char", size=1, bits=8, encoding=_SIGNED),
        "bool": t.Int(name="_Bool", size=1, bits=8, encoding=t.IntEncoding.BOOL),
    }
    found["_Bool"] = found["bool"]
    for names, size in (
        (("short", "short int"), 2), (("int",), 4), (("long", "long int"), 8),
        (("long long", "long long int"), 8),
    ):  # fmt: skip
        for name in names:
            plain, unsigned = names[-1], f"unsigned {names[-1]}"
            found[name] = t.Int(name=plain, size=size, bits=8 * size, encoding=_SIGNED)
            found[f"unsigned {name}"] = t.Int(name=unsigned, size=size, bits=8 * size)
    found["unsigned char"] = t.Int(name="unsigned char", size=1, bits=8)
    found["signed char"] = found["char"]
    found["unsigned"] = found["unsigned int"]
    for size, whole in ((1, "char"), (2, "short"), (4, "int"), (8, "long long")):
        bits = 8 * size
        for form in ("u{}", "__u{}", "uint{}_t"):
            found[form.format(bits)] = found[f"unsigned {whole}"]
        for form in ("s{}", "__s{}", "int{}_t"):
            found[form.format(bits)] = found["signed char" if size == 1 else whole]
    return found


NUMBERS = _numbers()
_CONTEXT_NAMES = frozenset(CONTEXTS.values()) | {"bpf_raw_tracepoint_args"}


class Prototype(NamedTuple):
    """A function's declaration; types are C's, ``("struct __sk_buff *", "skb")``."""

    name: str
    returns: str = "int"
    parameters: tuple[tuple[str, str], ...] = ()
    static: bool = False
    declared: bool = True


def parse(text: str) -> Prototype:
    """A declaration, or the name alone of a function whose parameters nobody asks for.

    Raises:
        AsmError: it is neither.
    """
    if not isinstance(text, str):
        raise TypeError(f"prototype must be a str, not {type(text).__name__} {text!r}")
    if text.isidentifier() and text.isascii():
        return Prototype(text, declared=False)
    match = _DECLARATION.fullmatch(text)
    if match is None:
        raise AsmError(
            f"prototype {text!r} is neither a name nor a declaration such as"
            " 'int count(struct xdp_md *ctx, u32 by)'"
        )
    static, returns, name, inside = match.groups()
    inside = inside.strip()
    parameters = [] if inside in ("", "void") else inside.split(",")
    if len(parameters) > _MOST:
        raise AsmError(f"prototype {text!r}: {len(parameters)} parameters, and R1 to R5 for them")
    return Prototype(
        name,
        _type_text(returns, text) or "int",
        tuple(_parameter(parameter, text) for parameter in parameters),
        bool(static),
    )


def _parameter(text: str, whole: str) -> tuple[str, str]:
    match = _PARAMETER.fullmatch(text.strip())
    kind = _type_text(match[1], whole) if match else ""
    if match is None or not kind:
        array = "; an array is passed as a pointer" if "[" in text else ""
        raise AsmError(f"prototype {whole!r}: {text.strip()!r} is not a type and a name{array}")
    return kind, match[2]


def _type_text(text: str, whole: str) -> str:
    """`text` with one blank between its words and in front of its stars."""
    words = [word for word in _SPACE.sub(" ", text.replace("*", " * ")).split() if word != "const"]
    if "*" in words and set(words[words.index("*") :]) != {"*"}:
        raise AsmError(f"prototype {whole!r}: {text.strip()!r} is no type")
    return " ".join(words)


def add_prototype(builder: BtfBuilder, prototype: Prototype, source: BtfSource | None) -> int:
    """The FuncProto of `prototype` in `builder`; structs, enums and typedefs come from `source`.

    Raises:
        AsmError: a type is unknown.
    """
    returns = _add_type(builder, prototype.returns, source, prototype.name)
    parameters = tuple(
        t.Parameter(name, _add_type(builder, kind, source, prototype.name))
        for kind, name in prototype.parameters
    )
    return builder.add_once(t.FuncProto(type_id=returns, parameters=parameters))


def add_scalar(builder: BtfBuilder, text: str, what: str) -> int:
    """A number or a pointer, to anything, in `builder`. Raises AsmError; `what` has the type."""
    kind = _type_text(text, text)
    if kind.endswith("*"):
        return builder.add_once(t.Pointer(type_id=0))
    if kind not in NUMBERS:
        raise AsmError(f"{what}: {text!r} is no number such as u32 or long, and no pointer")
    return builder.add_once(NUMBERS[kind])


def _add_type(builder: BtfBuilder, text: str, source: BtfSource | None, function: str) -> int:
    base, star, more = text.partition(" *")
    if base == "void":
        made = 0
    elif base in NUMBERS:
        made = builder.add_once(NUMBERS[base])
    elif base.startswith(("struct ", "union ")):
        made = _add_struct(builder, base, source, function)
    else:
        made = _add_named(builder, base, source, function)
    for _ in range((star + more).count("*")):
        made = builder.add_once(t.Pointer(type_id=made))
    return made


def _add_struct(builder: BtfBuilder, text: str, source: BtfSource | None, function: str) -> int:
    word, _, name = text.partition(" ")
    kind = {"struct": t.Kind.STRUCT, "union": t.Kind.UNION}[word]
    size = _size(kind, name, source, function)
    make = t.Struct if kind is t.Kind.STRUCT else t.Union
    return builder.add_once(make(name=name, size=size))


def _add_named(builder: BtfBuilder, text: str, source: BtfSource | None, function: str) -> int:
    """A typedef, or an enum, as `source` has it."""
    btf = source() if callable(source) else source
    word, _, name = text.partition(" ")
    kinds = (t.Kind.ENUM, t.Kind.ENUM64) if word == "enum" else (t.Kind.TYPEDEF,)
    found = [one for kind in kinds for one in btf.find_all(name or text, kind)] if btf else []
    if btf and found:
        return Excerpt(builder).add(btf, found[0].id)
    raise AsmError(
        f"function {function}: unknown type {text!r}; known are {', '.join(sorted(NUMBERS))},"
        " void, 'struct NAME', pointers, and the enums and typedefs of the BTF in btf="
    )


def _size(kind: t.Kind, name: str, source: BtfSource | None, function: str) -> int:
    btf = source() if callable(source) else source
    found = btf.find_all(name, kind) if btf else []
    if found:
        assert isinstance(found[0], (t.Struct, t.Union))
        return found[0].size
    if name in _CONTEXT_NAMES:
        # The verifier knows it by its name.
        return 0
    raise AsmError(
        f"function {function}: {kind.name.lower()} {name} is in no BTF; pass"
        " btf=ebpf.kernel_btf.kernel_btf, or BTF that has it"
    )
