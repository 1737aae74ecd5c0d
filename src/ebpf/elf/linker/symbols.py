"""Global symbols by name: who defines each, and whether everyone means the same by it."""

from __future__ import annotations

from ebpf.btf import types as t
from ebpf.elf.linker.inputs import Entity, Input, blaming
from ebpf.elf.linker.match import Matcher, Mismatch
from ebpf.elf.reader import STB_GLOBAL, STB_LOCAL, STB_WEAK, STT_SECTION, STV_HIDDEN, Symbol
from ebpf.errors import BtfError, LinkError
from ebpf.plain import dataclass

_MAPS, _JUMP_TABLES = ".maps", ".jumptables"
_VISIBILITIES = (0, STV_HIDDEN)


@dataclass
class Global:
    """A symbol that objects share: its definition, or the first declaration where none has one.

    ``section`` is that of the definition, or for an extern the one that declares what provides
    it (``.ksyms``). An extern is ``weak`` if every object has it so, a definition by itself: libbpf
    makes it strong where another object declares it, and then refuses the strong definition that
    a third has. One hidden mention makes a symbol hidden. ``number`` and ``type_id`` are those of
    the output.
    """

    input: Input
    symbol: Symbol
    entity: Entity
    section: str
    weak_extern: bool
    visibility: int
    number: int = 0
    type_id: int = 0

    @property
    def defined(self) -> bool:
        return bool(self.symbol.section)

    @property
    def weak(self) -> bool:
        return self.symbol.binding == STB_WEAK if self.defined else self.weak_extern

    @property
    def offset(self) -> int:
        """Bytes from the start of its output section; 0 for an extern."""
        place = self.input.places.get(self.symbol.section)
        return place.offset + self.symbol.value if place else 0

    def take(self, other: Global) -> None:
        """Becomes what `other` is, but for what all objects contribute to."""
        self.input, self.symbol = other.input, other.symbol
        self.entity, self.section = other.entity, other.section


class SymbolTable:
    """Collects the symbols of one object after the other."""

    def __init__(self) -> None:
        self.globals: dict[str, Global] = {}
        self.locals: list[tuple[Input, Symbol]] = []
        self._matchers: dict[tuple[int, int], Matcher] = {}

    def add(self, input: Input) -> None:
        """Raises FormatError."""
        with blaming(input.label):
            symbols = input.elf.symbols[1:]
        for symbol in symbols:
            place = input.places.get(symbol.section)
            if symbol.section and not symbol.special and place is None:
                continue  # of a section that is left out
            _check(input, symbol)
            if symbol.binding == STB_LOCAL or _is_jump_table(input, symbol):
                self.locals.append((input, symbol))
            else:
                self._add_global(input, symbol)

    def shared(self, input: Input) -> dict[int, Global]:
        """{type id: symbol} of the variables and functions of `input` that have a symbol."""
        return {input.entities[name].type_id: self.globals[name] for name in input.linked}

    def _add_global(self, input: Input, symbol: Symbol) -> None:
        entity = input.entity(symbol)
        input.linked.setdefault(symbol.name, []).append(symbol.number)
        place = input.places.get(symbol.section)
        section = place.name if place else entity.section
        weak = symbol.binding == STB_WEAK
        new = Global(input, symbol, entity, section, weak, symbol.visibility)
        known = self.globals.setdefault(symbol.name, new)
        if known is new:
            return
        if known.defined and new.defined and STB_WEAK not in (known.symbol.binding, symbol.binding):
            raise LinkError(
                f"{symbol.name!r} is defined in {known.input.label} and in {input.label}; make "
                "one of them static or __weak, or declare it extern"
            )
        self._match_sections(known, new)
        self._match_types(known, new)
        known.weak_extern = known.weak_extern and weak
        known.visibility = max(known.visibility, symbol.visibility)
        if _prevails(new, known):
            known.take(new)

    def _match_sections(self, known: Global, new: Global) -> None:
        """What a declaration says of its section must be true; two definitions may differ.

        A function is called alike wherever it is, so one may stand in for a kernel's.
        """
        if (known.defined and new.defined) or known.section == new.section:
            return
        if t.Kind.FUNC in (known.entity.kind, new.entity.kind):
            return
        for one in (known, new):
            if not one.defined and one.section:
                other = new if one is known else known
                if not other.defined and not other.section:
                    continue
                there = f"in {other.section!r}" if other.section else "in no section"
                verb = "defined" if other.defined else "declared"
                raise LinkError(
                    f"{one.symbol.name!r} is declared in {one.section!r} by {one.input.label}, "
                    f"but {verb} {there} by {other.input.label}; give it one section, or two names"
                )

    def _match_types(self, known: Global, new: Global) -> None:
        assert known.input.btf is not None
        assert new.input.btf is not None
        key = (id(known.input), id(new.input))
        matcher = self._matchers.get(key)
        if matcher is None:
            matcher = Matcher(known.input.btf.btf, new.input.btf.btf)
            self._matchers[key] = matcher
        pair = known.entity.type_id, new.entity.type_id
        labels = f"{known.input.label} and {new.input.label}"
        try:
            with blaming(labels):
                if _MAPS in (known.section, new.section) and known.entity.kind == t.Kind.VAR:
                    matcher.match_maps(*pair)
                else:
                    matcher.match(*pair)
        except Mismatch as mismatch:
            raise LinkError(
                f"{new.symbol.name!r} differs between {labels}: {mismatch}; declare it alike, in "
                "a header that both include"
            ) from None
        except BtfError as error:
            raise BtfError(f"{labels}: {new.symbol.name!r}: {error}") from None


def _prevails(new: Global, known: Global) -> bool:
    """Whether `new` takes the place of `known`."""
    if new.defined:
        weak = known.symbol.binding == STB_WEAK
        return not known.defined or (weak and new.symbol.binding == STB_GLOBAL)
    return not known.defined and bool(new.section) and not known.section


def _is_jump_table(input: Input, symbol: Symbol) -> bool:
    """Tables of jumps are no variables, whatever their binding: each serves its own function."""
    place = input.places.get(symbol.section)
    return place is not None and place.name == _JUMP_TABLES


def _check(input: Input, symbol: Symbol) -> None:
    """Raises LinkError for a symbol that no compiler makes of C."""
    problem = _problem(symbol)
    if symbol.section in input.places and not symbol.special:
        size = input.elf.sections[symbol.section].size
        if symbol.value > size:
            problem = f"at offset {symbol.value:#x} of a section of {size} bytes"
    if problem:
        label = repr(symbol.name) if symbol.name else f"symbol {symbol.number}"
        raise LinkError(f"{input.label}: {label}: {problem}")


def _problem(symbol: Symbol) -> str:
    if symbol.binding == STB_LOCAL:
        if not symbol.section and symbol.name:
            return "a local symbol that nothing defines"
        moved = symbol.type == STT_SECTION and symbol.value
        return f"the symbol of a section, at offset {symbol.value:#x} of it" if moved else ""
    if symbol.binding not in (STB_GLOBAL, STB_WEAK):
        return f"binding {symbol.binding}; BPF objects have local, global and weak symbols"
    if symbol.visibility not in _VISIBILITIES:
        return f"visibility {symbol.visibility}; make it default (0) or hidden (2)"
    if symbol.special:
        where = f"in special section {symbol.section:#x}"
        return f"{where}; is it not initialized? compile with -fno-common"
    if not symbol.name or symbol.type == STT_SECTION:
        return "a global symbol that is none of a variable or function"
    return ""
