"""The functions of an object, the programs among them, and what their instructions refer to."""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from operator import attrgetter

from ebpf.btf.types import Linkage
from ebpf.elf import reader
from ebpf.elf.context import Context, Keys, Role
from ebpf.elf.reader import Rel, Section, Symbol
from ebpf.elf.sections import parse_section_name
from ebpf.errors import RelocationError
from ebpf.plain import dataclass
from ebpf.spec import INSTRUCTION_SIZE, FunctionSpec, ProgramSpec, Relocation, RelocationKind
from ebpf.types import ProgramFlags, ProgramType

_LDIMM64 = 0x18  # BPF_LD | BPF_IMM | BPF_DW
_CALL = 0x85  # BPF_JMP | BPF_CALL
_PSEUDO_CALL = 1
# R_BPF_64_64, R_BPF_64_ABS64, R_BPF_64_32; the two others occur in BTF and DWARF.
_RELOCATION_TYPES = (1, 2, 10)
_TABLE_ENTRY = 8


@dataclass(frozen=True)
class Function:
    """A function before its instructions are looked at."""

    symbol: Symbol
    section: Section
    key: str

    @property
    def start(self) -> int:
        return self.symbol.value

    @property
    def end(self) -> int:
        return self.symbol.value + self.symbol.size


def find_functions(context: Context) -> list[Function]:
    """Every function by its place in the file; notes them in ``function_at``."""
    found = []
    keys = Keys()
    for section in context.sections(Role.CODE):
        for symbol in _function_symbols(context, section):
            function = Function(symbol, section, keys.key(symbol.name))
            context.function_at.setdefault((section.index, symbol.value), function.key)
            found.append(function)
    return found


def _function_symbols(context: Context, section: Section) -> list[Symbol]:
    symbols = [s for s in context.symbols_in[section.index] if s.type == reader.STT_FUNC]
    if not symbols:
        symbols = _untyped_functions(context, section)
    symbols.sort(key=attrgetter("value", "size"))
    end, before = 0, None
    for symbol in symbols:
        problem = _misplaced(section, symbol)
        if problem:
            raise section.error(f"function {symbol.name!r}: {problem}", symbol.value)
        same = before and (before.value, before.size) == (symbol.value, symbol.size)
        if symbol.value < end and not same:
            raise section.error(
                f"function {symbol.name!r} begins inside of another one", symbol.value
            )
        end, before = symbol.value + symbol.size, symbol
    return symbols


def _untyped_functions(context: Context, section: Section) -> list[Symbol]:
    """clang before 8 gives functions neither a type nor a size: each ends where the next begins."""
    symbols = [
        s
        for s in context.symbols_in[section.index]
        if s.type == reader.STT_NOTYPE and s.exported and s.name
    ]
    symbols.sort(key=attrgetter("value"), reverse=True)
    found, end = [], section.size
    for symbol in symbols:
        found.append(symbol._replace(size=symbol.size or max(end - symbol.value, 0)))
        end = symbol.value
    return found


def _misplaced(section: Section, symbol: Symbol) -> str:
    if not symbol.name:
        return "has no name"
    if symbol.size == 0 or symbol.value % INSTRUCTION_SIZE or symbol.size % INSTRUCTION_SIZE:
        return f"{symbol.size} bytes; instructions have {INSTRUCTION_SIZE} each"
    if symbol.value + symbol.size > section.size:
        return f"{symbol.size} bytes do not fit the {section.size} bytes of the section"
    return ""


def add_programs(context: Context, functions: list[Function]) -> None:
    """Adds the programs: the functions that are not static, in any section but ``.text``."""
    keys = Keys()
    for function in functions:
        if function.section.name == ".text" or function.symbol.binding == reader.STB_LOCAL:
            continue
        name = parse_section_name(function.section.name)
        spec = ProgramSpec(function.symbol.name, function.key, name.name, autoload=name.autoload)
        definition = name.definition
        if definition is not None:
            spec.type = definition.type
            spec.attach_type = definition.attach_type
            spec.attach = definition.attach
            spec.target = name.target
            spec.flags = ProgramFlags(definition.flags)
            spec.btf_target = definition.btf_target
        else:
            spec.type = ProgramType.UNSPEC
        context.spec.programs[keys.key(function.symbol.name)] = spec


def add_functions(context: Context, functions: list[Function]) -> None:
    """Adds every function with its relocations; maps, data and externs must be known."""
    by_section: dict[int, list[Function]] = {}
    for function in functions:
        by_section.setdefault(function.section.index, []).append(function)
    for group in by_section.values():
        code = _Code(context, group[0].section, group)
        code.resolve()
        for function in group:
            spec = code.spec(function)
            context.spec.functions[function.key] = spec
            if spec.hidden and spec.type_id:
                context.spec.btf_fixups.linkages[spec.type_id] = Linkage.STATIC


class _Code:
    """One executable section and the relocations in it, by the slot in the section."""

    def __init__(self, context: Context, section: Section, functions: list[Function]) -> None:
        self.context = context
        self.section = section
        self.functions = functions
        self.found: dict[int, Relocation] = {}
        self.shared: dict[tuple[int, int], FunctionSpec] = {}
        self.tables: dict[tuple[int, int], tuple[int, ...]] = {}
        self.data = context.elf.data(section)
        self.starts = [function.start for function in functions]
        self.ends = [function.end for function in functions]
        self.imm = struct.Struct(context.elf.order + "i")
        self.swapped = context.elf.order == ">"

    def resolve(self) -> None:
        for rel in self.context.relocations.get(self.section.index, ()):
            self._resolve_one(rel)
        self._find_local_calls()
        self.slots = sorted(self.found)

    def spec(self, function: Function) -> FunctionSpec:
        symbol = function.symbol
        local = symbol.binding == reader.STB_LOCAL
        functions = self.context.btf.functions if self.context.btf else {}
        # Two names of one function share what they have in common.
        alias = self.shared.get((function.start, function.end))
        if alias is not None:
            code, relocations = alias.code, alias.relocations
        else:
            first = bisect_left(self.slots, function.start // INSTRUCTION_SIZE)
            last = bisect_left(self.slots, function.end // INSTRUCTION_SIZE)
            relocations = tuple(self.found[slot] for slot in self.slots[first:last])
            code = bytes(self.data[function.start : function.end])
        made = FunctionSpec(
            name=symbol.name,
            section=self.section.name,
            offset=function.start,
            code=code,
            linkage=Linkage.STATIC if local else Linkage.GLOBAL,
            weak=symbol.binding == reader.STB_WEAK,
            hidden=not local and symbol.hidden,
            relocations=relocations,
            type_id=functions.get(symbol.name, 0),
            byte_order=self.context.elf.byte_order,
        )
        self.shared[function.start, function.end] = made
        return made

    def _function_of(self, offset: int) -> Function | None:
        """The function that has the instruction at `offset`."""
        position = bisect_right(self.starts, offset) - 1
        if position < 0 or offset >= self.ends[position]:
            return None
        return self.functions[position]

    def _resolve_one(self, rel: Rel) -> None:
        if rel.offset % INSTRUCTION_SIZE or rel.offset >= self.section.size:
            raise self._error(rel.offset, "a relocation at no instruction")
        function = self._function_of(rel.offset)
        if function is None:
            return  # what a linker leaves of a weak function that another file overrides
        slot = rel.offset // INSTRUCTION_SIZE
        symbol = self.context.elf.symbols[rel.symbol]
        if rel.type not in _RELOCATION_TYPES:
            raise self._error(rel.offset, f"relocation type {rel.type} in code", symbol)
        if slot in self.found:
            raise self._error(rel.offset, "a second relocation of one instruction", symbol)
        opcode = self.data[rel.offset]
        if opcode == _CALL:
            self.found[slot] = self._call(rel.offset, function, symbol)
        elif opcode == _LDIMM64 and rel.offset + 16 <= function.end:
            self.found[slot] = self._load(rel.offset, function, symbol)
        else:
            raise self._error(
                rel.offset, f"a relocation of opcode {opcode:#x}, neither call nor ldimm64", symbol
            )

    def _call(self, offset: int, function: Function, symbol: Symbol) -> Relocation:
        slot = (offset - function.start) // INSTRUCTION_SIZE
        extern = self.context.extern_of.get(symbol.number)
        if extern is not None:
            return Relocation(slot, RelocationKind.EXTERN_CALL, extern)
        if self._source(offset) != _PSEUDO_CALL:
            raise self._error(offset, "the call of a function of the object is none", symbol)
        # A global function is called by its symbol and -1, a static one by its section and its
        # distance from there.
        target = symbol.value + (self._imm(offset) + 1) * INSTRUCTION_SIZE
        key = self._function_at(offset, symbol, target)
        return Relocation(slot, RelocationKind.CALL, key)

    def _load(self, offset: int, function: Function, symbol: Symbol) -> Relocation:
        slot = (offset - function.start) // INSTRUCTION_SIZE
        extern = self.context.extern_of.get(symbol.number)
        if extern is not None:
            return Relocation(slot, RelocationKind.EXTERN, extern)
        if symbol.special or not symbol.section:
            raise self._error(
                offset, f"in special section {symbol.section:#x}; is it not initialized?", symbol
            )
        target = symbol.value + self._imm(offset)
        role = self.context.roles[symbol.section]
        if role is Role.CODE:
            key = self._function_at(offset, symbol, target)
            return Relocation(slot, RelocationKind.FUNCTION, key)
        if role in (Role.MAPS, Role.LEGACY_MAPS):
            return Relocation(slot, RelocationKind.MAP, self._map_at(offset, symbol))
        if role in (Role.DATA, Role.ARENA):
            key = self.context.data_map[symbol.section]
            # The kernel takes the offset as 32 bits, and the compiler may count below 0.
            return Relocation(slot, RelocationKind.DATA, key, target & 0xFFFFFFFF)
        if role is Role.JUMP_TABLES:
            table = self._jump_table(offset, function, symbol)
            return Relocation(slot, RelocationKind.JUMP_TABLE, "", table=table)
        name = self.context.elf.sections[symbol.section].name
        raise self._error(offset, f"in section {name!r}, which has no maps, data or code", symbol)

    def _function_at(self, offset: int, symbol: Symbol, target: int) -> str:
        key = self.context.function_at.get((symbol.section, target))
        if key is None or symbol.special:
            where = f"{self.context.symbol_name(symbol)!r} offset {target:#x}"
            raise self._error(offset, f"no function begins at {where}", symbol)
        return key

    def _map_at(self, offset: int, symbol: Symbol) -> str:
        distance = self._imm(offset) if symbol.type == reader.STT_SECTION else 0
        key = self.context.map_at.get((symbol.section, symbol.value + distance))
        if key is None:
            raise self._error(
                offset, f"no map at offset {symbol.value + distance:#x}; is it static?", symbol
            )
        return key

    def _jump_table(self, offset: int, function: Function, symbol: Symbol) -> tuple[int, ...]:
        """The slots, counted from the start of `function`, that a table of offsets leads to."""
        key = symbol.number, function.start
        if key not in self.tables:
            self.tables[key] = self._read_jump_table(offset, function, symbol)
        return self.tables[key]

    def _read_jump_table(self, offset: int, function: Function, symbol: Symbol) -> tuple[int, ...]:
        section = self.context.elf.sections[symbol.section]
        data = self.context.elf.data(section)[symbol.value : symbol.value + symbol.size]
        misplaced = symbol.value % _TABLE_ENTRY or symbol.size % _TABLE_ENTRY
        if misplaced or not symbol.size or len(data) != symbol.size:
            raise self._error(offset, "no whole table in the section of jump tables", symbol)
        if not self.context.take_jump_table(symbol.size):
            raise self._error(offset, "jump tables of several functions overlap", symbol)
        table = []
        for (target,) in struct.iter_unpack(self.context.elf.order + "Q", data):
            if target % INSTRUCTION_SIZE or not function.start <= target < function.end:
                raise self._error(offset, f"leads to {target:#x}, outside of the function", symbol)
            table.append((target - function.start) // INSTRUCTION_SIZE)
        return tuple(table)

    def _find_local_calls(self) -> None:
        """Adds the calls within the section for which the assembler needed no relocation."""
        opcodes = bytes(self.data[::INSTRUCTION_SIZE])
        slot = opcodes.find(_CALL)
        while slot >= 0:
            offset = slot * INSTRUCTION_SIZE
            if slot not in self.found and self._source(offset) == _PSEUDO_CALL:
                function = self._function_of(offset)
                if function is not None:
                    self._add_local_call(slot, function)
            slot = opcodes.find(_CALL, slot + 1)

    def _add_local_call(self, slot: int, function: Function) -> None:
        offset = slot * INSTRUCTION_SIZE
        target = offset + (self._imm(offset) + 1) * INSTRUCTION_SIZE
        key = self.context.function_at.get((self.section.index, target))
        if key is None:
            raise self._error(offset, f"calls {target:#x}, where no function begins")
        first = function.start // INSTRUCTION_SIZE
        self.found[slot] = Relocation(slot - first, RelocationKind.CALL, key)

    def _source(self, offset: int) -> int:
        registers = self.data[offset + 1]
        return registers & 15 if self.swapped else registers >> 4

    def _imm(self, offset: int) -> int:
        value: int = self.imm.unpack_from(self.data, offset + 4)[0]
        return value

    def _error(self, offset: int, problem: str, symbol: Symbol | None = None) -> RelocationError:
        if symbol is not None:
            problem = f"{self.context.symbol_name(symbol)!r}: {problem}"
        return RelocationError(str(self.section.error(problem, offset)))
