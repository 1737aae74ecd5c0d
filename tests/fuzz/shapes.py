"""Files made to cost more than their size, by the square or worse, if a reader is careless.

Mutations seldom make them: it takes many parts that all refer to one large one. Each shape takes
a number, and its file is about proportional to that.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable

from tests.fuzz.structure import pack_parts
from tests.unit.btf.blob import Blob
from tests.unit.elf.image import (
    FUNC,
    GLOBAL,
    LOCAL,
    NOBITS,
    NOTYPE,
    OBJECT,
    PROGBITS,
    RETURN_0,
    Image,
)

_WRITE = 3  # SHF_WRITE | SHF_ALLOC
_STATIC, _GLOBAL, _EXTERN = 0, 1, 2


def _ext(functions: bytes, lines: bytes, core: bytes = b"") -> bytes:
    """.BTF.ext of three parts, each a record size and the records' sections."""
    places, at = [], 0
    for part in (functions, lines, core):
        places += [at, len(part)]
        at += len(part)
    return struct.pack("<HBBI6I", 0xEB9F, 1, 0, 32, *places) + functions + lines + core


def _info(section: int, *records: tuple[int, ...]) -> bytes:
    words = [4 * len(records[0]), section, len(records), *(w for one in records for w in one)]
    return struct.pack(f"<{len(words)}I", *words)


def one_function_of_many_names(number: int) -> bytes:
    """Every alias has all lines and all CO-RE relocations of the function."""
    image, btf = Image(), Blob()
    section, access = btf.string("socket"), btf.string("0")
    pair = btf.struct("pair", 4, ("a", btf.integer(), 0))
    code = image.code("socket", RETURN_0 * 8)
    for alias in range(number):
        image.symbol(f"f{alias}", code, 0, len(RETURN_0) * 8)
    lines = [(0, section, section, 0)] * number
    core = [(0, pair, access, 8)] * number
    image.section(".BTF", PROGBITS, btf.build())
    image.section(".BTF.ext", PROGBITS, _ext(b"", _info(section, *lines), _info(section, *core)))
    return image.build()


def functions_of_one_long_name(number: int) -> bytes:
    """Each needs a key of its own, which is the name and a number."""
    image = Image()
    code = image.code(".text", RETURN_0 * number)
    image.symbol("f" * 16 * number, code, 0, len(RETURN_0), bind=LOCAL)
    (name,) = struct.unpack_from("<I", image.symbols, 24)
    for one in range(1, number):
        row = (name, LOCAL << 4 | FUNC, 0, code, one * len(RETURN_0), len(RETURN_0))
        image.symbols += struct.pack("<IBBHQQ", *row)
    return image.build()


def variables_of_one_long_name(number: int) -> bytes:
    image, btf = Image(), Blob()
    name, integer = btf.string("v" * 16 * number), btf.integer()
    words: list[int] = []
    for one in range(number):
        words += [btf.add("VAR", name, integer, _STATIC), 4 * one, 4]
    btf.add("DATASEC", ".bss", 4 * number, *words, vlen=number)
    image.section(".bss", NOBITS, flags=_WRITE, size=4 * number)
    image.section(".BTF", PROGBITS, btf.build())
    return image.build()


def templates_of_templates(number: int) -> bytes:
    """iproute2's maps of maps: each is the template of the next."""
    image = Image()
    rows = b"".join(
        struct.pack("<5I4I", 12, 4, 4, 1, 0, one + 1, 0, one, 0xFFFFFFFF) for one in range(number)
    )
    section = image.section("maps", PROGBITS, rows, flags=_WRITE)
    for one in range(number):
        image.symbol(f"m{one}", section, 36 * one, 36, OBJECT)
    return image.build()


def maps_of_one_long_name(number: int) -> bytes:
    image, btf = Image(), Blob()
    integer, name = btf.integer(), btf.string("m" * 16 * number)
    kind = btf.add("PTR", "", btf.array(integer, 1))
    definition = btf.struct("", 8, ("type", kind, 0))
    words: list[int] = []
    for _ in range(number):
        words += [btf.add("VAR", name, definition, _GLOBAL), 0, 8]
    btf.add("DATASEC", ".maps", 8, *words, vlen=number)
    section = image.section(".maps", PROGBITS, bytes(8), flags=_WRITE)
    image.symbol("m" * 16 * number, section, 0, 8, OBJECT)
    image.section(".BTF", PROGBITS, btf.build())
    return image.build()


def externs_of_one_signature(number: int) -> bytes:
    """The parameters of every function that an object takes from the kernel get names."""
    image, btf = Image(), Blob()
    integer = btf.integer()
    signature = btf.add("FUNC_PROTO", "", 0, *[0, integer] * number, vlen=number)
    words: list[int] = []
    for one in range(number):
        words += [btf.add("FUNC", f"k{one}", signature, vlen=_EXTERN), 0, 0]
        image.symbol(f"k{one}", 0, 0, 0, NOTYPE, GLOBAL)
    btf.add("DATASEC", ".ksyms", 0, *words, vlen=number)
    image.section(".BTF", PROGBITS, btf.build())
    return image.build()


def large_types_without_contents(number: int) -> bytes:
    """A variable of .bss, whose union has one struct of its whole size after the other."""
    image, btf = Image(), Blob()
    size = 1 << 16
    integer = btf.integer()
    end = 8 * (size - 4)
    inner = [btf.struct(f"s{one}", size, ("a", integer, end)) for one in range(number)]
    union = btf.struct(
        "u", size, *((f"m{one}", type_id, 0) for one, type_id in enumerate(inner)), kind="UNION"
    )
    variable = btf.add("VAR", "v", union, _STATIC)
    btf.add("DATASEC", ".bss", size, variable, 0, size, vlen=1)
    image.section(".bss", NOBITS, flags=_WRITE, size=size)
    image.section(".BTF", PROGBITS, btf.build())
    return image.build()


def members_of_types_of_one_long_name(number: int) -> bytes:
    """A variable, whose fields are of enums that all have one long name."""
    image, btf = Image(), Blob()
    name = btf.string("e" * 16 * number)
    members = []
    for one in range(number):
        enum = btf.add("ENUM", name, 4, btf.string(f"E{one}"), one, vlen=1)
        members.append((f"m{one}", enum, 32 * one))
    struct = btf.struct("s", 4 * number, *members)
    variable = btf.add("VAR", "v", struct, _STATIC)
    btf.add("DATASEC", ".bss", 4 * number, variable, 0, 4 * number, vlen=1)
    image.section(".bss", NOBITS, flags=_WRITE, size=4 * number)
    image.section(".BTF", PROGBITS, btf.build())
    return image.build()


def structs_of_one_name(number: int) -> bytes:
    """As C they need one name each; to find out that they differ takes pairs."""
    btf = Blob()
    name, integer = btf.string("s"), btf.integer()
    for one in range(number):
        array = btf.array(integer, one + 1)
        btf.add("STRUCT", name, 4 * one + 4, 0, array, 0, vlen=1)
    return btf.build()


def enums_of_one_name(number: int) -> bytes:
    btf = Blob()
    name = btf.string("e")
    for one in range(number):
        btf.add("ENUM", name, 4, name, one, vlen=1)
    return btf.build()


def types_of_one_long_name(number: int) -> bytes:
    """Each is printed with its name."""
    btf = Blob()
    name = btf.string("s" * 16 * number)
    for one in range(number):
        btf.add("TYPEDEF", name, btf.add("STRUCT", name, one + 1))
    return btf.build()


def members_of_one_long_name(number: int) -> bytes:
    btf = Blob()
    name, integer = btf.string("m" * 16 * number), btf.integer()
    words = [word for one in range(number) for word in (name, integer, 32 * one)]
    btf.add("STRUCT", "s", 4 * number, *words, vlen=number)
    return btf.build()


def signatures_in_signatures(number: int) -> bytes:
    """Functions that take two pointers to the next: 2**number ways lead to the last."""
    btf = Blob()
    last = btf.integer()
    for _ in range(number):
        signature = btf.add("FUNC_PROTO", "", 0, 0, last, 0, last, vlen=2)
        last = btf.add("PTR", "", signature)
    btf.add("TYPEDEF", "callback", last)
    return btf.build()


def signature_of_itself(number: int) -> bytes:
    """A function that takes a pointer to itself, which C cannot say without a name."""
    btf = Blob()
    for one in range(number):
        pointer = btf.add("PTR", "", 3 * one + 2)
        btf.add("FUNC_PROTO", "", 0, 0, pointer, vlen=1)
        btf.add("TYPEDEF", f"t{one}", pointer)
    return btf.build()


def structs_in_structs(number: int) -> bytes:
    """Anonymous ones that hold the next twice."""
    btf = Blob()
    last = btf.integer()
    for _ in range(number):
        last = btf.struct("", 4, ("", last, 0), ("", last, 0), kind="UNION")
    btf.struct("s", 4, ("a", last, 0))
    return btf.build()


def one_struct_in_many(number: int) -> bytes:
    """A large anonymous struct, which is written out wherever it is used."""
    btf = Blob()
    integer = btf.integer()
    large = btf.struct("", 4 * number, *(("a", integer, 32 * one) for one in range(number)))
    for one in range(number):
        btf.struct(f"s{one}", 4 * number, ("a", large, 0))
    return btf.build()


def chain_of_structs(number: int) -> bytes:
    """Two chains that differ at their ends only."""
    btf = Blob()
    for first in (btf.integer(), btf.integer("unsigned int", 4, 0)):
        last = first
        for _ in range(number):
            last = btf.struct("", 4, ("a", last, 0))
    return btf.build()


def struct_of_gaps(number: int) -> bytes:
    """Gaps become hundreds of unnamed fields each."""
    btf = Blob()
    byte = btf.integer("char", 1)
    gap = 4000 * 8
    members = ((f"m{one}", byte, gap * one) for one in range(number))
    btf.struct("s", 4000 * number, *members)
    return btf.build()


def names_inside_each_other(number: int) -> bytes:
    btf = Blob()
    name = btf.string("x" * 16 * number)
    for one in range(number):
        btf.add("FWD", name + one)
    return btf.build()


def _core(object_btf: Blob, target: Blob, *core: tuple[int, ...]) -> bytes:
    """An input for the target core: one instruction, to which all relocations belong."""
    image = Image()
    code = image.code("socket")
    image.symbol("f", code, 0, len(RETURN_0))
    section = object_btf.string("socket")
    image.section(".BTF", PROGBITS, object_btf.build())
    image.section(".BTF.ext", PROGBITS, _ext(b"", b"", _info(section, *core)))
    return pack_parts(image.build(), target.build())


def _structs(number: int, large: int, last: bool) -> Blob:
    """`number` structs of one name, each of many unnamed members."""
    btf = Blob()
    integer = btf.integer()
    pointer = btf.add("PTR", "", integer)
    members = [("", pointer if last else integer, 0)] * large
    for _ in range(number):
        btf.struct("s", 8, *members, *([("", integer, 0)] if last else []))
    return btf


def structs_to_compare(number: int) -> bytes:
    """Every relocation asks whether a large struct matches others."""
    mine, theirs = _structs(number // 8, number, False), _structs(1, number, True)
    access = mine.string("0")
    core = [(0, one + 3, access, 12) for one in range(number // 8)]
    return _core(mine, theirs, *core)


def candidates_of_one_name(number: int) -> bytes:
    """Every local type may be every type of the target."""
    mine, theirs = _structs(number, 1, False), _structs(number, 1, False)
    access = mine.string("0")
    return _core(mine, theirs, *((0, one + 3, access, 8) for one in range(number)))


def enumerators_to_find(number: int) -> bytes:
    """Every enumerator of a large enum is asked for."""
    blobs = []
    for _ in range(2):
        btf = Blob()
        words = [word for one in range(number) for word in (btf.string(f"E{one}"), one)]
        btf.add("ENUM", "e", 4, *words, vlen=number)
        blobs.append(btf)
    core = [(0, 1, blobs[0].string(str(one)), 10) for one in range(number)]
    return _core(blobs[0], blobs[1], *core)


Shape = Callable[[int], bytes]


def _linked(shape: Shape) -> Shape:
    """Two such objects, to be made one."""

    @functools.wraps(shape)
    def made(number: int) -> bytes:
        return pack_parts(shape(number), shape(number))

    return made


# How large each is made: enough to show the square, and little for what doubles at every step.
SHAPES: dict[str, dict[Shape, int]] = {
    "elf": {
        one_function_of_many_names: 1024,
        functions_of_one_long_name: 1024,
        variables_of_one_long_name: 1024,
        maps_of_one_long_name: 1024,
        templates_of_templates: 1024,
        externs_of_one_signature: 1024,
        large_types_without_contents: 1024,
        members_of_types_of_one_long_name: 1024,
    },
    "btf": {
        structs_of_one_name: 512,
        enums_of_one_name: 256,
        types_of_one_long_name: 128,
        members_of_one_long_name: 1024,
        signatures_in_signatures: 48,
        signature_of_itself: 32,
        structs_in_structs: 40,
        one_struct_in_many: 512,
        chain_of_structs: 96,
        struct_of_gaps: 1024,
        names_inside_each_other: 1024,
    },
    "linker": {
        _linked(functions_of_one_long_name): 512,
        _linked(variables_of_one_long_name): 512,
        _linked(externs_of_one_signature): 512,
        _linked(large_types_without_contents): 512,
        _linked(members_of_types_of_one_long_name): 512,
    },
    "core": {structs_to_compare: 256, candidates_of_one_name: 1024, enumerators_to_find: 1024},
}
