"""Names for C: identifiers, each used for one thing only."""

from __future__ import annotations

from ebpf.btf import types as t
from ebpf.patterns import Pattern

_KEYWORDS = """
    auto break case char const continue default do double else enum extern float for goto if
    inline int long register restrict return short signed sizeof static struct switch typedef
    union unsigned void volatile while asm typeof
"""
# Words that name a type by themselves or together; the rest of the names that producers give to
# integers and floats are names of other languages.
_TYPE_WORDS = """
    char short int long signed unsigned _Bool __int128 float double _Complex __complex__ complex
    _Float16 _Float32 _Float64 _Float32x _Float64x _Float128 __float128 __fp16 __bf16
"""
_RESERVED = frozenset(_KEYWORDS.split())
_NATIVE = frozenset(_TYPE_WORDS.split())
_NO_WORD = Pattern(r"(?a)\W")
_INTS = {1: "char", 2: "short", 4: "int", 8: "long long", 16: "__int128"}
_FLOATS = {2: "_Float16", 4: "float", 8: "double", 16: "long double"}


def identifier(name: str) -> str:
    """`name` as C can have it: other characters become ``_``, a keyword gets one at its end."""
    if name.isidentifier() and name.isascii():
        return f"{name}_" if name in _RESERVED else name
    plain = _NO_WORD.sub("_", name)
    return f"_{plain}" if plain[:1].isdigit() else plain


def scalar(type: t.Int | t.Float) -> str:
    """The C type that is `type`, by its name if C has that, else by its size and sign."""
    words = type.name.split()
    if words and _NATIVE.issuperset(words):
        return type.name
    if isinstance(type, t.Float):
        return _FLOATS.get(type.size, "long double")
    if type.encoding & t.IntEncoding.BOOL and type.size == 1:
        return "_Bool"
    sign = "signed" if type.signed else "unsigned"
    return f"{sign} {_INTS.get(type.size, 'int')}"


class Names:
    """Hands out tags and ordinary identifiers; what is taken gets ``___2``, ``___3``, ..."""

    def __init__(self) -> None:
        # tag -> its keyword, and the type id of its definition, None while only declared
        self._tags: dict[str, tuple[str, int | None]] = {}
        self._ordinary: set[str] = set()
        self._known: dict[int, str] = {}
        self._tries: dict[str, int] = {}
        self._tag_tries: dict[tuple[str, str, bool], int] = {}

    def tag(self, type: t.Type, keyword: str, defines: bool) -> str:
        """The tag of a struct, union or enum; a declaration shares that of a definition."""
        known = self._known.get(type.id)
        if known is None:
            known = self._known[type.id] = self._new_tag(type, keyword, defines)
        return known

    def _new_tag(self, type: t.Type, keyword: str, defines: bool) -> str:
        plain = candidate = identifier(type.name)
        tried = (plain, keyword, defines)
        # What could not be shared cannot be later: it has its definition.
        count = self._tag_tries.get(tried, 1)
        if count > 1:
            candidate = f"{plain}___{count}"
        while candidate in self._tags:
            other, owner = self._tags[candidate]
            if other == keyword and (owner is None or not defines):
                break
            count += 1
            candidate = f"{plain}___{count}"
        self._tag_tries[tried] = count
        if defines or candidate not in self._tags:
            self._tags[candidate] = (keyword, type.id if defines else None)
        return candidate

    def typedef(self, type: t.Typedef) -> str:
        known = self._known.get(type.id)
        if known is None:
            known = self._known[type.id] = self.ordinary(type.name)
        return known

    def ordinary(self, name: str) -> str:
        """A name for one more typedef or enumerator."""
        plain = candidate = identifier(name)
        count = self._tries.get(plain, 1)
        while candidate in self._ordinary:
            count += 1
            candidate = f"{plain}___{count}"
        self._tries[plain] = count
        self._ordinary.add(candidate)
        return candidate
