"""The text of a module."""

from __future__ import annotations

import json
import re
import textwrap
import zlib
from base64 import b64encode

from ebpf import generated
from ebpf.btf import types as t
from ebpf.codegen.names import CODECS, MAPS, is_plain, quoted
from ebpf.codegen.records import Records, Spelling
from ebpf.elf.strip import without_debug
from ebpf.errors import BtfError, CodecError
from ebpf.maps import Map
from ebpf.maps.base import CLASS_OF
from ebpf.maps.objects import OBJECT_KEYS, PER_CPU
from ebpf.spec import CollectionSpec
from ebpf.types import MapType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ebpf.spec import MapSpec, VariableSpec

# Which of key and value a class of maps is generic in.
_PARAMETERS = {
    "HashMap": "KV",
    "LpmTrieMap": "KV",
    "ArrayMap": "V",
    "StackTraceMap": "V",
    "StorageMap": "V",
    "QueueMap": "V",
    "BloomFilterMap": "V",
    "DescriptorArray": "",
    "ArenaMap": "",
}
_BYTES = Spelling("bytes", "", 0, 1)
_ANY = Spelling("Any", "", 0, 1)
_WIDTH = 96
# As import sorters order them.
_TOP = (*sorted([*MAPS, "CollectionSpec", "Program"]), "generated")


def generate(data: bytes, *, name: str, file: str, types: Iterable[str] = ()) -> str:
    """A Python module with the object file `data` in it, less its DWARF, which no loader reads.

    Args:
        name: the spec's, as for `CollectionSpec.from_bytes`.
        file: what the module's docstring calls the object.
        types: structs and unions, such as ``"event"``, that get a class although no map and no
            variable has them: the records of a ring buffer.

    Raises:
        FormatError: `data` is no object that can be read.
        BtfError: the object has no BTF, or no such type.
    """
    spec = CollectionSpec.from_bytes(data, name=name)
    if spec.btf is None:
        raise BtfError(f"{file} has no BTF, which says the types; compile it with -g")
    # In the class of the variables one that is called as a struct's class would hide it.
    writer = _Module(spec, Records(spec.btf, taken=[*spec.maps, *spec.variables]))
    writer.add_types(types)
    parts = [writer.maps(), writer.programs(), writer.variables(), _OBJECTS]
    start = [_SPEC.format(name=json.dumps(name))]
    # Read once for all of them, at import.
    start += ["_SPEC = spec()"] if writer.records.has_records else []
    body = "\n\n\n".join([*start, *writer.records.texts, *parts])
    compiled = f'_OBJECT = """\n{_wrapped(without_debug(data))}\n"""'
    return f"{_HEAD.format(file=quoted(file))}{_imports(body)}\n{compiled}\n\n\n{body}\n"


_HEAD = '''"""Made from {file} by ``python -m ebpf gen``: what is changed here is lost.

::

    prepared = spec()
    Variables(prepared).NAME = 1  # before it is loaded
    with Objects.load(prepared) as objects:
        objects.attach()
        objects.maps.NAME, objects.programs.NAME, objects.variables.NAME
"""

from __future__ import annotations

'''

_SPEC = '''\
def spec() -> CollectionSpec:
    """The object as it was compiled; each call makes one that can be changed for itself."""
    return CollectionSpec.from_bytes(unpacked(_OBJECT), name={name})'''

_OBJECTS = '''\
class Objects(generated.Objects):
    """The maps, programs and variables, loaded: ``Objects.load(spec())``."""

    maps: Maps
    programs: Programs
    variables: Variables

    _MAPS = Maps
    _PROGRAMS = Programs
    _VARIABLES = Variables'''


def _wrapped(data: bytes) -> str:
    return "\n".join(textwrap.wrap(b64encode(zlib.compress(data, 9)).decode(), _WIDTH))


def _imports(body: str) -> str:
    """The imports of the names that `body` uses, sorted."""

    def used(names: Iterable[str]) -> str:
        return ", ".join(name for name in names if re.search(rf"\b{name}\b", body))

    lines = []
    for module, names in (
        ("dataclasses", ("dataclass", "field")),
        ("typing", ("TYPE_CHECKING", "Annotated", "Any")),
    ):
        if found := used(names):
            lines.append(f"from {module} import {found}")
    groups = ["\n".join(lines)] if lines else []
    lines = [f"from ebpf import {used(_TOP)}"]
    if found := used(CODECS):
        lines.append(f"from ebpf.codec import {found}")
    lines.append(f"from ebpf.generated import {used(['Record', 'Value', 'record', 'unpacked'])}")
    return "\n\n".join([*groups, "\n".join(lines)]) + "\n"


class _Module:
    """Writes the classes of one module; those for structs gather in `records`."""

    def __init__(self, spec: CollectionSpec, records: Records) -> None:
        assert spec.btf is not None
        self.spec, self.btf, self.records = spec, spec.btf, records

    def add_types(self, names: Iterable[str]) -> None:
        """Classes for structs by name, and for those that variables point to."""
        for name in names:
            tag = re.sub(r"^(struct|union) ", "", name)
            found = [one for one in self.btf.find_all(tag) if _has_fields(self.btf.resolve(one.id))]
            if not found:
                raise BtfError(f"the object has no struct or union {tag!r}")
            self.records.spell(found[0].id)
        for variable in self.spec.variables.values():
            target = self.btf.resolve(variable.type_id)
            if isinstance(target, t.Var):
                target = self.btf.resolve(target.type_id)
            if isinstance(target, t.Pointer):
                pointed = self.btf.resolve(target.type_id)
                if isinstance(pointed, (t.Struct, t.Union)) and self.records.c_name(pointed):
                    self._spelling(pointed.id)

    def maps(self) -> str:
        lines, codecs = [], []
        for name, spec in self.spec.maps.items():
            if spec.data or not _usable(name, generated.Maps):
                continue
            key, value = self._key(spec), self._spelling(spec.value_type_id)
            lines.append(f"    {name}: {_map_type(spec.type, key.plain, value.plain)}")
            if key.custom or value.custom:
                codecs.append(f'        "{name}": ({key.codec}, {value.codec}),')
        table = ["", "    _CODECS = {", *codecs, "    }"] if codecs else []
        return _class("Maps", "The maps", [*lines, *table])

    def _key(self, spec: MapSpec) -> Spelling:
        return _ANY if spec.type in OBJECT_KEYS else self._spelling(spec.key_type_id)

    def programs(self) -> str:
        names = [name for name in self.spec.programs if _usable(name, generated.Programs)]
        return _class("Programs", "The programs", [f"    {name}: Program" for name in names])

    def variables(self) -> str:
        lines = []
        for name, variable in self.spec.variables.items():
            if not _usable(name, generated.Variables):
                continue
            spelling = self._variable(variable)
            kind = f", {spelling.codec}" if spelling.custom else ""
            lines.append(f'    {name} = Value[{spelling.plain}]("{name}"{kind})')
        return _class("Variables", "The variables, of a spec or of loaded objects", lines)

    def _variable(self, variable: VariableSpec) -> Spelling:
        found = self._spelling(variable.type_id)
        # A struct whose flexible array has elements is larger than its type.
        return found if not found.custom or found.size == variable.size else _ANY

    def _spelling(self, type_id: int) -> Spelling:
        if not type_id:
            return _BYTES
        try:
            return self.records.spell(type_id)
        except CodecError:
            return _ANY


def _map_type(type: MapType, key: str, value: str) -> str:
    name = CLASS_OF.get(type, Map).__name__
    if name not in _PARAMETERS:
        return "Map[Any, Any]"
    if type in PER_CPU:
        value = f"CpuValues[{value}]"
    given = [{"K": key, "V": value}[one] for one in _PARAMETERS[name]]
    return f"{name}[{', '.join(given)}]" if given else name


def _has_fields(type: t.Type) -> bool:
    return isinstance(type, (t.Struct, t.Union))


def _usable(name: str, base: type[Mapping[str, object]]) -> bool:
    return is_plain(name) and not hasattr(base, name) and not name.startswith("_")


def _class(name: str, meaning: str, lines: list[str]) -> str:
    return "\n".join(
        [f"class {name}(generated.{name}):", f'    """{meaning}."""', "", *lines]
    ).rstrip()
