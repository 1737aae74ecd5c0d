"""What is done with an input: everything that a program can ask of a file it was given.

Each target takes bytes and returns nothing. FormatError is an answer where the documentation
allows it, and it must say which section and where; anything else that comes out is a bug.
"""

from __future__ import annotations

import contextlib
import json
import re
import warnings
from collections.abc import Callable
from itertools import chain

from ebpf.btf import Btf
from ebpf.btf import types as t
from ebpf.btf.c import to_header
from ebpf.btf.core import Relocator
from ebpf.btf.dedup import dedup
from ebpf.btf.edit import BtfEditor
from ebpf.btf.ext import BtfExt
from ebpf.btf.json import to_json
from ebpf.btf.sanitize import Feature, sanitize
from ebpf.cli.object_json import as_json
from ebpf.cli.object_text import as_text
from ebpf.codec.btf import from_btf
from ebpf.elf.image import ElfImage
from ebpf.elf.linker import link
from ebpf.elf.symbols import FunctionIndex, find_symbols, symbol_offset, symbol_tables
from ebpf.errors import BtfError, ElfError, FormatError
from ebpf.spec import CollectionSpec, VariableSpec
from tests.fuzz.structure import unpack_parts

Target = Callable[[bytes], None]

# Every message of a reader begins with one of these.
_PLACE = re.compile(
    r"ELF (header|file|section)"
    r"|BTF (header|(type|string|layout) section|section '|type \d+|kind \d+|has no)"
    r"|\.BTF\.ext (header|\w+)"
    r"|CO-RE relocation of .* at instruction \d+"
    r"|(extern|map|program|variable|section) '"
)
# Values are made of the bytes of variables, and zeros take no bytes in a file.
_LARGEST_VALUE = 1 << 16
# Questions that take a pass over all types each are asked so often.
_QUESTIONS = 16


class NoPlace(AssertionError):
    """A message that does not say where in the file it is wrong."""


def _answer(question: Callable[..., object], *arguments: object) -> None:
    """Asks; a FormatError is an answer too."""
    with contextlib.suppress(FormatError):
        question(*arguments)


def run_elf(data: bytes) -> None:
    """An object file, and all that its spec can be asked without a kernel."""
    spec = _object(data)
    if spec is None:
        return
    repr(spec)
    _answer(spec.check)
    copied = spec.copy()
    small = [one for one in copied.variables.values() if one.size <= _LARGEST_VALUE]
    for variable in small[:_QUESTIONS]:
        _answer(_assign, variable)
    for one in (*spec.functions.values(), *spec.maps.values(), *spec.externs.values()):
        repr(one)
    # Names of one function share its lines, of which both may be many.
    for function in {id(one.line_records): one for one in spec.functions.values()}.values():
        function.line_info()
    _answer(as_text, spec, True)
    _answer(_dump, spec)
    if spec.btf is not None:
        _answer(_fix_up, spec, spec.btf)


def _object(data: bytes) -> CollectionSpec | None:
    try:
        # A file may be readable and yet a reason to warn.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            return CollectionSpec.from_bytes(data, name="fuzzed")
    except FormatError as error:
        if not _PLACE.match(str(error)):
            raise NoPlace(str(error)) from error
        return None


def _assign(variable: VariableSpec) -> None:
    variable.value = variable.value


def _dump(spec: CollectionSpec) -> None:
    json.dumps(as_json(spec, relocations=True))


def _fix_up(spec: CollectionSpec, btf: Btf) -> None:
    spec.btf_fixups.apply(btf).to_bytes()


def run_btf(data: bytes) -> None:
    """BTF: each type, all questions, all outputs; and the same bytes as BTF of a module."""
    for base in (None, _BASE):
        btf = _btf(data, base)
        if btf is not None:
            _read_types(btf)
            _answer(to_json, btf)
            _answer(to_header, btf)
            _answer(_deduplicate, btf)
            _answer(_copy, btf)
            _answer(sanitize, btf, Feature)


def _btf(data: bytes, base: Btf | None = None) -> Btf | None:
    try:
        return Btf(data, base=base)
    except BtfError as error:
        if not _PLACE.match(str(error)):
            raise NoPlace(str(error)) from error
        return None


def _read_types(btf: Btf) -> None:
    asked = 0
    for type_id in range(btf.start_id, btf.end_id):
        try:
            found = btf.type(type_id)
        except BtfError:
            continue
        _answer(btf.sizeof, type_id)
        _answer(btf.resolve, type_id)
        if asked < _QUESTIONS and found.name:
            asked += 1
            _ask(btf, found)


def _ask(btf: Btf, found: t.Type) -> None:
    """By name, by field, as a codec."""
    kind = None if isinstance(found, t.Unknown) else found.kind
    with contextlib.suppress(BtfError):  # another type of that name may be malformed
        assert {one.name for one in btf.find_all(found.name, kind)} == {found.name}
    if isinstance(found, (t.Struct, t.Union)):
        layout = btf.layout(found.id)
        for member in found.members[:_QUESTIONS]:
            _answer(layout.field, member.name)
            _answer(layout.offsetof, f"{member.name}[1].x")
        _answer(layout.field, "no_such_name")
    with contextlib.suppress(FormatError):
        codec = from_btf(btf, found.id)
        if codec.size <= _LARGEST_VALUE:
            value = codec.unpack(bytes(codec.size))
            repr(value)
            codec.pack(value)


def _copy(btf: Btf) -> None:
    BtfEditor(btf).to_btf()


def _deduplicate(btf: Btf) -> None:
    """What comes out is well-formed, and has nothing left to drop."""
    made = dedup(btf).btf
    assert made.end_id <= btf.end_id
    for _ in made.types():
        pass


def run_btf_ext(data: bytes) -> None:
    """.BTF.ext and the BTF that it belongs to."""
    parts = unpack_parts(data, 2)
    btf = _btf(parts[1]) if parts else None
    if parts is None or btf is None:
        return
    try:
        ext = BtfExt(parts[0], btf)
    except BtfError as error:
        if not _PLACE.match(str(error)):
            raise NoPlace(str(error)) from error
        return
    repr(ext)
    for section in ext.sections.values():
        repr(section)
        _answer(getattr, section, "functions")
        _answer(getattr, section, "relocations")
        _answer(section.line_at, 64)
        with contextlib.suppress(FormatError):
            for line in section.lines:
                _answer(getattr, line, "file_name")
                _answer(getattr, line, "line_text")


def run_core(data: bytes) -> None:
    """An object, relocated to the types of a small BTF, which may be damaged as well."""
    parts = unpack_parts(data, 2)
    target = _btf(parts[1]) if parts else None
    spec = _object(parts[0]) if parts else None
    if target is None or spec is None or spec.btf is None:
        return
    relocator = Relocator(spec.btf, [target])
    for function in spec.functions.values():
        code = bytearray(function.code)
        for relocation in function.core_relocations:
            try:
                relocator.apply(code, relocation, relocation.insn_offset // 8)
                relocator.explain(relocation, function.name)
            except FormatError as error:
                if not _PLACE.match(str(error)):
                    raise NoPlace(str(error)) from error


def run_linker(data: bytes) -> None:
    """Two objects linked, and what comes out of it read again."""
    parts = unpack_parts(data, 2)
    if parts is None:
        return
    try:
        linked = link([("first.o", parts[0]), ("second.o", parts[1])])
    except FormatError as error:
        if not re.search(r"first\.o|second\.o", str(error)):
            raise NoPlace(str(error)) from error
        return
    _object(linked)


def run_image(data: bytes) -> None:
    """An executable or library, and the symbols in it."""
    try:
        image = ElfImage(data)
    except ElfError:
        return
    for fact in ("sections", "segments", "build_id", "debug_link"):
        _answer(getattr, image, fact)
    _answer(image.file_offset, 0x1000)
    _answer(image.address, 0x1000)
    _answer(_read_symbols, image)


def _read_symbols(image: ElfImage) -> None:
    for number, symbol in enumerate(chain.from_iterable(symbol_tables(image))):
        _answer(symbol_offset, image, symbol)
        if number < _QUESTIONS:
            _answer(find_symbols, image, symbol.name)
    index = FunctionIndex(symbol_tables(image))
    for address in range(0, 1 << 14, 64):
        _answer(index.find, address)


TARGETS: dict[str, Target] = {
    "elf": run_elf,
    "btf": run_btf,
    "btf_ext": run_btf_ext,
    "core": run_core,
    "linker": run_linker,
    "image": run_image,
}

# int, and struct s { int a; }, which split BTF can refer to.
_BASE = Btf(
    bytes.fromhex(
        "9feb010018000000" + "00000000" + "28000000" + "28000000" + "09000000"
        "01000000" + "00000001" + "04000000" + "20000001"
        "05000000" + "01000004" + "04000000" + "07000000" + "01000000" + "00000000"
    )
    + b"\0int\0s\0a\0"
)
