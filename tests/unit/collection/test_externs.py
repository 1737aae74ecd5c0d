"""The values of kernel options, and the names of what programs take from the kernel."""

from __future__ import annotations

import errno
import sys

import pytest

from ebpf import kallsyms
from ebpf.btf import Kind
from ebpf.collection.externs import Externs, kconfig_bytes, with_given
from ebpf.collection.image import POISON_KFUNC
from ebpf.errors import BpfFileNotFoundError, BpfPermissionError, RelocationError
from ebpf.programs.kernel_types import KernelTypes
from ebpf.spec import CollectionSpec, ExternKind, ExternSpec, KconfigType


def option(name: str, weak: bool) -> ExternSpec:
    return ExternSpec(name, ExternKind.KCONFIG, weak, size=4, kconfig=KconfigType.INT)


@pytest.mark.parametrize(
    ("name", "weak", "problem"),
    [
        ("FOO", True, "names in .kconfig are CONFIG_ options, or LINUX_KERNEL_VERSION"),
        ("FOO", False, "names in .kconfig are CONFIG_ options"),
        ("LINUX_FOO", False, "LINUX_HAS_SYSCALL_WRAPPER; declare it __weak"),
        ("CONFIG_FOO", False, "does not set it; declare it __weak"),
    ],
)
def test_names_that_are_no_options(name: str, weak: bool, problem: str) -> None:
    """As in libbpf; zero would be the answer to a question that nobody understood."""
    with pytest.raises(RelocationError, match=f"extern {name}: .*{problem}"):
        kconfig_bytes(option(name, weak), {})


@pytest.mark.parametrize("name", ["LINUX_FOO", "CONFIG_FOO"])
def test_weak_options_are_zero(name: str) -> None:
    """Programs ask newer kernels for what older ones do not know."""
    assert kconfig_bytes(option(name, weak=True), {}) == bytes(4)


def encoded(
    text: str, size: int, signed: bool = False, kind: KconfigType = KconfigType.INT
) -> bytes:
    extern = ExternSpec("CONFIG_X", ExternKind.KCONFIG, size=size, kconfig=kind, signed=signed)
    return kconfig_bytes(extern, {"CONFIG_X": text})


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("signed", [False, True])
def test_numbers_that_their_type_cannot_hold(size: int, signed: bool) -> None:
    """A program would compute with another number, a negative one for one that is large."""
    kind = KconfigType.CHAR if size == 1 else KconfigType.INT
    bits = 8 * size - signed
    first, last = -(1 << bits) if signed else 0, (1 << bits) - 1
    for value in (first, 0, last):
        expected = value.to_bytes(size, sys.byteorder, signed=signed)
        assert encoded(str(value), size, signed, kind) == expected
    for text in (str(first - 1), str(last + 1), hex(last + 1)):
        with pytest.raises(RelocationError, match=f"the value {text} does not fit its type"):
            encoded(text, size, signed, kind)


def test_numbers_of_64_bits_are_taken_as_libbpf_takes_them() -> None:
    """Addresses are written as large numbers, and declared as either kind."""
    for signed in (False, True):
        assert encoded("0xffffffffffffffff", 8, signed) == encoded("-1", 8, signed) == b"\xff" * 8
        with pytest.raises(RelocationError, match="does not fit its type"):
            encoded(str(1 << 64), 8, signed)


def test_texts_lose_one_quote_at_either_end() -> None:
    """A quote that is part of the text would be cut off, or a number be taken for a text."""
    assert encoded('"a \\"b\\""', 16, kind=KconfigType.TEXT) == rb"a \"b\"".ljust(16, b"\0")
    assert encoded('""', 4, kind=KconfigType.TEXT) == bytes(4)
    assert encoded('"longer"', 4, kind=KconfigType.TEXT) == b"lon\0"
    for text in ("y", "250", '"', "name"):
        with pytest.raises(RelocationError, match=r"does not fit its type, char\[\]"):
            encoded(text, 16, kind=KconfigType.TEXT)


def test_texts_that_are_given_need_no_quotes() -> None:
    """`kconfig={"CONFIG_DEFAULT_HOSTNAME": "here"}` would be refused."""
    extern = ExternSpec("CONFIG_X", ExternKind.KCONFIG, size=8, kconfig=KconfigType.TEXT)
    for given in ("here", '"here"'):
        options = with_given({"CONFIG_X": '"there"'}, {"CONFIG_X": given}, [extern])
        assert kconfig_bytes(extern, options) == b"here\0\0\0\0"
    with pytest.raises(RelocationError, match="the value y does not fit"):
        kconfig_bytes(extern, with_given({}, {"CONFIG_X": True}, [extern]))


class Asked(KernelTypes):
    """A kernel without anything, that keeps what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def find(self, name: str, kind: Kind, owner: str = "") -> None:
        self.names.append(name)


@pytest.mark.parametrize(
    ("name", "essential"),
    [
        ("bpf_f___old", "bpf_f"),
        ("bpf_f___v1___v2", "bpf_f___v1"),
        ("___bpf_f", "___bpf_f"),
        ("bpf_f___", "bpf_f___"),
        ("bpf_f____old", "bpf_f____old"),
    ],
)
def test_flavours_of_kfuncs_are_cut_as_those_of_types(name: str, essential: str) -> None:
    """Another function would be called, or one be found missing that is there."""
    extern = ExternSpec(name, ExternKind.KFUNC)
    kernel = Asked()
    with pytest.raises(BpfFileNotFoundError, match=f"extern {name} is not a function"):
        Externs(CollectionSpec(externs={name: extern}), kernel).call(name)
    assert kernel.names == [essential]


class Closed(KernelTypes):
    """A kernel that has everything in modules, to which this process may not refer."""

    def find(self, name: str, kind: Kind, owner: str = "") -> None:
        raise BpfPermissionError(errno.EPERM, f"{name} of the module one: not permitted")


@pytest.mark.parametrize("kind", [ExternKind.KFUNC, ExternKind.TYPED_KSYM])
def test_what_a_process_may_not_refer_to_is_absent_for_weak_externs(kind: ExternKind) -> None:
    """An object that can do without would not load, as it does with libbpf."""
    weak, strong = ExternSpec("weak", kind, weak=True), ExternSpec("strong", kind)
    externs = Externs(CollectionSpec(externs={"weak": weak, "strong": strong}), Closed())
    if kind is ExternKind.KFUNC:
        assert externs.call("weak").imm == POISON_KFUNC
    assert not externs.address("weak").source
    with pytest.raises(BpfPermissionError, match="strong of the module one"):
        externs.address("strong")


def address(monkeypatch: pytest.MonkeyPatch, text: str, weak: bool = False) -> int:
    """What a program gets for `extern const void wanted __ksym` by these symbols."""
    monkeypatch.setattr(kallsyms, "_read", lambda: text)
    extern = ExternSpec("wanted", ExternKind.KSYM, weak=weak)
    load = Externs(CollectionSpec(externs={"wanted": extern}), Asked()).address("wanted")
    assert not load.source
    return load.high << 32 | load.low


OTHER = "ffffffff81000000 T _text\n"


@pytest.mark.parametrize("weak", [False, True])
def test_a_symbol_that_several_have_is_none_of_them(
    monkeypatch: pytest.MonkeyPatch, weak: bool
) -> None:
    """A program would read at the address of another function or variable, as libbpf's never do."""
    twice = OTHER + "ffffffff81000010 t wanted\nffffffff81000020 t wanted\t[module]\n"
    with pytest.raises(RelocationError, match="at 0xffffffff81000010 and 0xffffffff81000020"):
        address(monkeypatch, twice, weak)
    same = OTHER + "ffffffff81000010 t wanted\nffffffff81000010 T wanted\n"
    assert address(monkeypatch, same, weak) == 0xFFFFFFFF81000010


def test_a_static_variable_of_a_kernel_by_thin_lto(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would not be found; libbpf takes it, and no function of such a name."""
    text = OTHER + "ffffffff81000010 d wanted.llvm.123\nffffffff81000020 t wanted.llvm.456\n"
    assert address(monkeypatch, text) == 0xFFFFFFFF81000010
    with pytest.raises(BpfFileNotFoundError, match="wanted is not in /proc/kallsyms"):
        address(monkeypatch, OTHER + "ffffffff81000020 t wanted.llvm.456\n")


def test_hidden_addresses_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A symbol that is there could not be told from one that is not."""
    with pytest.warns(RuntimeWarning, match=r"hides the addresses.*so wanted are 0.*SYSLOG"):
        assert address(monkeypatch, "0 T _text\n0 t wanted\n0 t wanted\n") == 0
    # Variables of each CPU, of which one begins at 0.
    assert address(monkeypatch, OTHER + "0 D wanted\n") == 0
