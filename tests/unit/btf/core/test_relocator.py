"""Which types are considered, in what order, and what the user is told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ebpf.btf import Btf
from ebpf.btf.core import CoreKind, CoreRelocation, Relocator
from ebpf.btf.ext import LineInfo
from ebpf.errors import RelocationError

from ..blob import Blob

OFFSET, EXISTS = CoreKind.FIELD_BYTE_OFFSET, CoreKind.FIELD_EXISTS


def local(name: str = "s", *fields: str) -> Btf:
    """struct NAME { int a, b, ...; } as type 2, after int."""
    return Btf(blob(None, (name, fields or ("a", "b"))).build())


def blob(base: Blob | None, *structs: tuple[str, tuple[str, ...]]) -> Blob:
    """Structs of ints in the order of their fields; "" is a gap."""
    made = Blob(base=base)
    number = 1 if base else made.integer()
    for name, fields in structs:
        members = [(f, number, 32 * i) for i, f in enumerate(fields) if f]
        made.struct(name, 4 * len(fields), *members)
    return made


def field(index: int, kind: CoreKind = OFFSET, type_id: int = 2) -> CoreRelocation:
    return CoreRelocation(16, type_id, f"0:{index}", kind, "socket")


def test_flavours_on_both_sides_are_one_type() -> None:
    """Fails when a struct that bpftool or pahole numbered, or a program flavoured, is not found."""
    target = Btf(blob(None, ("s___2", ("", "b", "a"))).build())
    relocator = Relocator(local("s___mine"), [target])
    assert relocator.resolve(field(0)).value == 8
    assert relocator.resolve(field(1)).value == 4


def test_types_of_other_kinds_are_no_candidates() -> None:
    """Fails when a typedef or union of the same name is taken for the struct."""
    made = Blob()
    number = made.integer()
    made.struct("s", 4, ("a", number, 0), kind="UNION")
    made.add("TYPEDEF", "s", number)
    relocator = Relocator(local(), [Btf(made.build())])
    assert relocator.resolve(field(0)).poison


def test_a_name_inside_a_longer_one_is_found() -> None:
    """Fails when BTF whose strings share their ends hides its types."""
    made = Blob()
    number = made.integer()
    whole = made.string("long_s")
    made.add("STRUCT", whole + len("long_"), 8, made.string("a"), number, 32, vlen=1)
    relocator = Relocator(local(), [Btf(made.build())])
    assert relocator.resolve(field(0)).value == 4


def test_all_types_of_a_name_have_to_agree() -> None:
    """Fails when one of several types is chosen by chance."""
    target = Btf(blob(None, ("s", ("a", "b")), ("s", ("a", "", "b"))).build())
    relocator = Relocator(local(), [target])
    assert relocator.resolve(field(0)).value == 0
    with pytest.raises(RelocationError) as caught:
        relocator.resolve(field(1))
    text = str(caught.value)
    assert "struct s.b (FIELD_BYTE_OFFSET) at instruction 2 of section socket" in text
    assert "struct s (type 2): offset 4, struct s (type 3): offset 8" in text


def test_a_match_narrows_later_relocations_of_the_type() -> None:
    """Fails when fields of one access are taken from structs that cannot be the same, unlike
    libbpf, which keeps the types that matched."""
    target = Btf(blob(None, ("s", ("a",)), ("s", ("", "b"))).build())
    first = Relocator(local(), [target])
    assert first.resolve(field(0)).value == 0
    assert first.resolve(field(1)).poison
    assert first.resolve(field(1, EXISTS)).value == 0
    other = Relocator(local(), [target])
    assert other.resolve(field(1)).value == 4
    assert other.resolve(field(0)).poison


class Opened:
    """Modules that count how often they are opened."""

    def __init__(self, *targets: Btf) -> None:
        self.targets = targets
        self.opened = 0

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> Btf:
        target = self.targets[index]
        self.opened = max(self.opened, index + 1)
        return target

    def __iter__(self) -> Iterator[Btf]:
        for index in range(len(self)):
            yield self[index]


def test_modules_are_searched_only_for_what_the_kernel_lacks() -> None:
    """Fails when modules are opened in vain, or a type in a module is not found."""
    kernel = blob(None, ("s", ("a", "b")))
    module = blob(kernel, ("s", ("", "", "a")), ("m", ("", "a", "b")))
    vmlinux = Btf(kernel.build())
    targets = Opened(vmlinux, Btf(module.build(), base=vmlinux))
    relocator = Relocator(local(), targets)  # type: ignore[arg-type]
    assert relocator.resolve(field(0)).value == 0
    assert targets.opened == 1
    relocator = Relocator(local("m"), targets)  # type: ignore[arg-type]
    found = relocator.resolve(field(0))
    assert (found.value, found.target) == (4, targets.targets[1])
    assert targets.opened == 2


def test_types_of_modules_may_have_names_of_the_kernel() -> None:
    """Fails when a module's type is missed because its name is a string of its base."""
    kernel = blob(None, ("other", ("s",)))
    offset = Btf(kernel.build()).strings.entries("s")[0]
    module = Blob(base=kernel)
    module.add("STRUCT", offset, 8, module.string("a"), 1, 32, vlen=1)
    vmlinux = Btf(kernel.build())
    relocator = Relocator(local(), [vmlinux, Btf(module.build(), base=vmlinux)])
    result = relocator.resolve(field(0))
    assert (result.value, result.target_id) == (4, 3)


def test_type_ids_say_which_btf_they_are_of() -> None:
    """Fails when the id of a module's type is taken for one of the kernel's."""
    kernel = blob(None, ("other", ("a",)))
    vmlinux = Btf(kernel.build())
    module = Btf(blob(kernel, ("s", ("a",))).build(), base=vmlinux)
    relocator = Relocator(local(), [vmlinux, module])
    result = relocator.resolve(CoreRelocation(0, 2, "0", CoreKind.TYPE_ID_TARGET))
    assert (result.value, result.target, result.target_id) == (3, module, 3)
    missing = Relocator(local("none"), [vmlinux, module])
    result = missing.resolve(CoreRelocation(0, 2, "0", CoreKind.TYPE_ID_TARGET))
    assert (result.value, result.poison, result.target) == (0, False, None)


def test_equal_relocations_are_answered_once() -> None:
    """Fails when a relocation is computed anew for each instruction."""
    relocator = Relocator(local(), [local()])
    assert relocator.resolve(field(1)) is relocator.resolve(field(1)._replace(insn_offset=800))


def test_a_target_of_the_other_byte_order_is_refused() -> None:
    """Fails when shifts and loads are computed for a machine that the code is not for."""
    other = Blob(">")
    other.struct("s", 4, ("a", other.integer(), 0))
    with pytest.raises(RelocationError, match="little-endian, the target big-endian"):
        Relocator(local(), [Btf(other.build())]).resolve(field(0))


def explained(target: Blob, relocation: CoreRelocation, mine: Btf | None = None) -> str:
    return Relocator(mine or local(), [Btf(target.build())]).explain(relocation)


def test_what_is_missing_is_named() -> None:
    """Fails when a user is told of a poisoned instruction and not of the field."""
    btf = local("s___flavour", "a", "b")
    line = LineInfo(0, 12, 1, Btf(with_string("file.c")), 1, 0)
    relocator = Relocator(btf, [Btf(blob(None, ("s", ("a",))).build())])
    assert relocator.explain(field(1), "p", line) == (
        "struct s has no field `b` in the kernel's BTF (needed by program p at file.c:12)"
    )
    assert explained(blob(None, ("other", ("a",))), field(1)) == "the kernel's BTF has no struct s"


def with_string(text: str) -> bytes:
    made = Blob()
    assert made.string(text) == 1
    return made.build()


def test_a_field_of_another_type_is_named_with_both() -> None:
    """Fails when a user is told that a field is missing which is there."""
    made = Blob()
    number = made.integer()
    inner = made.struct("inner", 4, ("x", number, 0))
    made.struct("s", 8, ("a", inner, 0), ("b", made.add("PTR", "", inner), 32))
    assert explained(made, field(0)) == (
        "field `a` of struct s is struct inner in the kernel's BTF, int in the program's types"
    )
    assert "is a pointer in the kernel's BTF" in explained(made, field(1))


@pytest.mark.parametrize(
    ("mine", "theirs", "found"),
    [("e", "e", 1), ("e___2", "e", 1), ("e", "", 1), ("", "e", 1), ("e", "f", 0)],
)
@pytest.mark.parametrize("kind", ["ENUM", "FWD"])
def test_enums_and_declarations_are_compatible_by_name(
    mine: str, theirs: str, found: int, kind: str
) -> None:
    """Fails when a field of an unrelated enum is taken, or one of a flavour is not."""

    def with_field(name: str) -> Btf:
        made = Blob()
        type_id = made.add(kind, name, 4 if kind == "ENUM" else 0)
        made.struct("s", 4, ("x", type_id, 0))
        return Btf(made.build())

    relocator = Relocator(with_field(mine), [with_field(theirs)])
    assert relocator.resolve(field(0, EXISTS)).value == found


def test_a_load_that_cannot_be_adjusted_is_explained() -> None:
    """Fails when a poisoned load of a field that exists is said to be a missing field."""
    made = Blob()
    wide = made.integer("long int", 8)
    made.struct("s", 8, ("a", wide, 0))
    relocator = Relocator(local(), [Btf(made.build())])
    code = bytearray.fromhex("6112000000000000")
    assert relocator.apply(code, field(0), 0).poison
    assert code[0] == 0x85
    assert relocator.explain(field(0)).startswith(
        "`a` of struct s has 8 bytes in the kernel's BTF and 4 in the program's types"
    )


MALFORMED = [
    (CoreRelocation(8, 2, "", OFFSET), "struct s, access string '' .* is not numbers"),
    (CoreRelocation(8, 2, "0:-1", OFFSET), "is not numbers joined by colons"),
    (CoreRelocation(8, 2, "0:x", OFFSET), "is not numbers joined by colons"),
    (CoreRelocation(8, 2, "0:", OFFSET), "is not numbers joined by colons"),
    (CoreRelocation(8, 2, ":0", OFFSET), "is not numbers joined by colons"),
    (CoreRelocation(8, 2, "0:4294967296", OFFSET), "has over 31 bits"),
    (CoreRelocation(8, 2, ":".join("0" * 65), OFFSET), "more than 64 numbers"),
    (CoreRelocation(8, 2, "0:7", OFFSET), "asks for member 7 of 2 in struct s"),
    (CoreRelocation(8, 2, "0:0:0", OFFSET), "a type of kind INT, which has no parts"),
    (CoreRelocation(8, 2, "2147483647", OFFSET), "more than 512 MiB"),
    (CoreRelocation(8, 2, "1", CoreKind.TYPE_SIZE), "a whole type, it is '0'"),
    (CoreRelocation(8, 2, "0", CoreKind.ENUMVAL_VALUE), "an enumerator of a type of kind STRUCT"),
    (CoreRelocation(8, 9, "0", OFFSET), "type 9, .*BTF has no type 9"),
    (CoreRelocation(8, 0, "0", CoreKind.TYPE_EXISTS), "an anonymous type"),
    (CoreRelocation(8, 2, "0", 13), r"\(kind 13\).*its kind, 13, is unknown"),
]


@pytest.mark.parametrize(("relocation", "message"), MALFORMED)
def test_malformed_relocations_are_named(relocation: CoreRelocation, message: str) -> None:
    """Fails when a malformed relocation is applied, or refused without saying which it is."""
    with pytest.raises(RelocationError, match=message) as caught:
        Relocator(local(), [local()]).resolve(relocation)
    assert "instruction 1" in str(caught.value)
