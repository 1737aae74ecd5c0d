"""Externs: what the object uses of the kernel, by the sections ``.kconfig`` and ``.ksyms``.

Neither section is in the file. Their variables and functions are undefined symbols, and a
DATASEC of the BTF says to which of the two they belong.
"""

from __future__ import annotations

from ebpf.btf import Btf
from ebpf.btf import types as t
from ebpf.codec.layout import align_up
from ebpf.elf.context import Context
from ebpf.elf.reader import STB_WEAK, STT_FUNC, STT_NOTYPE, STT_OBJECT, Symbol
from ebpf.errors import BtfError, ElfError
from ebpf.spec import ExternKind, ExternSpec, KconfigType, MapSpec
from ebpf.types import MapFlags, MapType

KCONFIG_SECTION, KSYMS_SECTION = ".kconfig", ".ksyms"
_MAXIMUM_SIZE = 0xFFFFFFFF


def read_externs(context: Context) -> None:
    """Adds every extern, and the map ``.kconfig`` where there are kernel options among them."""
    declared = {**_declared(context, KCONFIG_SECTION), **_declared(context, KSYMS_SECTION)}
    externs = context.spec.externs
    for symbol in context.elf.symbols:
        if not _is_extern(symbol):
            continue
        section, entry = declared.get(symbol.name, ("", None))
        known = externs.get(symbol.name)
        if known is None:
            externs[symbol.name] = _extern(context, symbol, section, entry)
        else:
            known.weak = known.weak and symbol.binding == STB_WEAK
        context.extern_of[symbol.number] = symbol.name
    if any(extern.kind is ExternKind.KCONFIG for extern in externs.values()):
        _lay_out_kconfig(context)
    used = {extern.kind for extern in externs.values()}
    if context.btf and used & {ExternKind.KSYM, ExternKind.TYPED_KSYM, ExternKind.KFUNC}:
        context.spec.btf_fixups.externs.append(context.btf.sections[KSYMS_SECTION].id)


def _is_extern(symbol: Symbol) -> bool:
    kinds = (STT_NOTYPE, STT_OBJECT, STT_FUNC)
    undefined = symbol.section == 0 and symbol.exported and symbol.type in kinds
    return undefined and bool(symbol.name)


def _declared(context: Context, name: str) -> dict[str, tuple[str, t.Type | None]]:
    """What the DATASEC `name` declares, by name."""
    datasec = context.btf.sections.get(name) if context.btf else None
    if datasec is None or context.btf is None:
        return {}
    entries = (context.btf.btf.type(variable.type_id) for variable in datasec.variables)
    return {entry.name: (name, entry) for entry in entries}


def _extern(context: Context, symbol: Symbol, section: str, entry: t.Type | None) -> ExternSpec:
    weak = symbol.binding == STB_WEAK
    if entry is None or context.btf is None:
        return ExternSpec(symbol.name, ExternKind.UNDEFINED, weak)
    if not isinstance(entry, (t.Var, t.Func)):
        raise BtfError(f"BTF section {section!r}: {symbol.name!r} is {entry.kind.name}")
    spec = ExternSpec(symbol.name, ExternKind.KFUNC, weak, entry.id, entry.type_id)
    if section == KCONFIG_SECTION:
        spec.kind = ExternKind.KCONFIG
        _describe_option(context.btf.btf, spec, entry)
    elif isinstance(entry, t.Var):
        untyped = isinstance(context.btf.btf.resolve(entry.type_id), t.Void)
        spec.kind = ExternKind.KSYM if untyped else ExternKind.TYPED_KSYM
    return spec


def _describe_option(btf: Btf, spec: ExternSpec, entry: t.Var | t.Func) -> None:
    target = btf.resolve(entry.type_id)
    spec.kconfig = _kconfig_type(btf, target)
    if isinstance(entry, t.Func) or spec.kconfig is None:
        raise BtfError(
            f"extern {spec.name!r} in {KCONFIG_SECTION}: an option is a bool, a char, an integer, "
            f"an enum libbpf_tristate or an array of char, not {target.kind.name} {target.name!r}"
        )
    spec.size = btf.sizeof(entry.type_id)
    integer = spec.kconfig in (KconfigType.INT, KconfigType.CHAR)
    spec.signed = integer and isinstance(target, t.Int) and target.signed


def _kconfig_type(btf: Btf, target: t.Type) -> KconfigType | None:
    if isinstance(target, t.Int):
        if target.encoding & t.IntEncoding.BOOL:
            return KconfigType.BOOL if target.size == 1 else None
        if target.size == 1:
            return KconfigType.CHAR
        return KconfigType.INT if target.size in (2, 4, 8) else None
    if isinstance(target, t.Enum64) or (isinstance(target, t.Enum) and target.size == 4):
        return KconfigType.TRISTATE if target.name == "libbpf_tristate" else None
    if isinstance(target, t.Array) and target.length:
        element = btf.resolve(target.type_id)
        plain = not isinstance(element, t.Array)
        if plain and _kconfig_type(btf, element) is KconfigType.CHAR:
            return KconfigType.TEXT
    return None


def _lay_out_kconfig(context: Context) -> None:
    """Places the options as libbpf does: by alignment, widest first, then by size and name."""
    assert context.btf is not None
    datasec = context.btf.sections[KCONFIG_SECTION]
    options = [e for e in context.spec.externs.values() if e.kind is ExternKind.KCONFIG]
    options.sort(key=lambda option: (-_alignment(option), option.size, option.name.encode()))
    end = 0
    for option in options:
        option.offset = align_up(end, _alignment(option))
        end = option.offset + option.size
    if end > _MAXIMUM_SIZE:
        raise ElfError(f"BTF section {KCONFIG_SECTION!r}: {end} bytes of options")
    fixups = context.spec.btf_fixups
    fixups.sections[datasec.id] = (end, {option.btf_id: option.offset for option in options})
    fixups.linkages.update({option.btf_id: t.Linkage.GLOBAL for option in options})
    key = context.map_keys.key(KCONFIG_SECTION)
    context.spec.maps[key] = MapSpec(
        name=KCONFIG_SECTION,
        type=MapType.ARRAY,
        key_size=4,
        value_size=end,
        max_entries=1,
        flags=MapFlags.RDONLY_PROG | MapFlags.MMAPABLE,
        value_type_id=datasec.id,
        data=True,
        frozen=True,
        section=KCONFIG_SECTION,
        object_name=context.spec.name,
    )


def _alignment(option: ExternSpec) -> int:
    return 1 if option.kconfig is KconfigType.TEXT else min(option.size, 8)
