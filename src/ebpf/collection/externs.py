"""Externs: kernel options, kernel symbols and kfuncs, found in the running kernel."""

from __future__ import annotations

import os
import warnings

from ebpf import kallsyms
from ebpf import opcodes as op
from ebpf.btf.core import types_are_compat
from ebpf.btf.core.names import essential_name
from ebpf.btf.types import Func, FuncProto, Fwd, Kind, Pointer, Type, Var
from ebpf.collection.image import POISON_KFUNC, Call, Load
from ebpf.errors import BpfFileNotFoundError, BpfPermissionError, RelocationError
from ebpf.kconfig import overridden
from ebpf.links.functions import missing
from ebpf.patterns import Pattern
from ebpf.spec import ExternKind, ExternSpec, KconfigType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ebpf.btf import Btf
    from ebpf.programs.kernel_types import KernelTypes, Module
    from ebpf.spec import CollectionSpec

_DEBIAN = Pattern(r"Debian (\d+\.\d+\.\d+)")
_NUMBERS = Pattern(r"(\d+)\.(\d+)(?:\.(\d+))?")
_PREFIXES = ("CONFIG_", "LINUX_")
_WIDEST = 8
_TRISTATE = {"n": 0, "y": 1, "m": 2}


def kconfig_bytes(extern: ExternSpec, options: Mapping[str, str]) -> bytes:
    """The value of a kernel option, or of libbpf's LINUX_* names, as the program declared it.

    Raises RelocationError for an option that is not set, unless the extern is weak (it is zero
    then), for one that its C type cannot hold, and for a name that is none of an option.
    """
    virtual = _VIRTUAL.get(extern.name)
    text = str(virtual()) if virtual else options.get(extern.name)
    if text is None:
        if extern.weak and extern.name.startswith(_PREFIXES):
            return bytes(extern.size)
        raise _unknown(extern)
    try:
        return _encode(extern, text)
    except (ValueError, OverflowError, KeyError) as error:
        kind = "none" if extern.kconfig is None else extern.kconfig.value
        raise RelocationError(
            f"extern {extern.name}: the value {text} does not fit its type, {kind}"
        ) from error


def with_given(
    options: Mapping[str, str], given: Mapping[str, str | int | bool], externs: Iterable[ExternSpec]
) -> dict[str, str]:
    """`options` with those `given` in their place, where a text may be without its quotes."""
    made = overridden(options, given)
    for extern in externs:
        text = given.get(extern.name)
        if extern.kconfig is KconfigType.TEXT and isinstance(text, str) and text[:1] != '"':
            made[extern.name] = f'"{text}"'
    return made


def check_options(given: Iterable[str], externs: Iterable[ExternSpec]) -> None:
    """Refuse options that the program does not ask for, and those that are no options.

    Raises KeyError, and ValueError for a LINUX_* name.
    """
    asked = [extern.name for extern in externs if extern.name.startswith("CONFIG_")]
    for name in given:
        if name.startswith("LINUX_"):
            raise ValueError(
                f"kconfig: {name} is what the running kernel says, and cannot be given; only"
                " CONFIG_ options can"
            )
        if name not in asked:
            there = ", ".join(asked) or "none"
            raise KeyError(f"kconfig: the object asks for no option {name!r}, but for: {there}")


def _unknown(extern: ExternSpec) -> RelocationError:
    if extern.name.startswith("CONFIG_"):
        problem = (
            "this kernel's configuration does not set it; declare it __weak, or give it as"
            " kconfig={...}"
        )
    else:
        problem = f"names in .kconfig are CONFIG_ options, or {', '.join(_VIRTUAL)}"
        if extern.name.startswith("LINUX_"):
            problem += "; declare it __weak if the program can do without"
    return RelocationError(f"extern {extern.name}: {problem}")


def _encode(extern: ExternSpec, text: str) -> bytes:
    if extern.kconfig is KconfigType.TEXT:
        if len(text) < 2 or not text.startswith('"') or not text.endswith('"'):
            raise ValueError("no text in quotes")
        raw = text[1:-1].encode()[: extern.size - 1]
        return raw.ljust(extern.size, b"\0")
    if extern.kconfig is KconfigType.BOOL:
        return {"y": b"\1", "n": b"\0", "1": b"\1", "0": b"\0"}[text].ljust(extern.size, b"\0")
    if extern.kconfig is KconfigType.TRISTATE:
        return _number(extern, _TRISTATE[text])
    if extern.kconfig is KconfigType.CHAR and text in _TRISTATE:
        return text.encode()
    return _number(extern, int(text, 0))


def _number(extern: ExternSpec, value: int) -> bytes:
    import sys

    # 64 bits hold any number that libbpf reads, with or without its sign.
    signed = value < 0 if extern.size == _WIDEST else extern.signed
    return value.to_bytes(extern.size, sys.byteorder, signed=signed)


def _kernel_version() -> int:
    """LINUX_VERSION_CODE of the running kernel; distributions hide it in other places."""
    text = os.uname().release
    debian = _DEBIAN.search(os.uname().version)
    if debian:
        text = debian[1]
    elif os.path.exists("/proc/version_signature"):
        with open("/proc/version_signature", encoding="ascii") as file:
            text = file.read().split()[-1]
    numbers = _NUMBERS.match(text)
    if numbers is None:
        raise RelocationError(f"LINUX_KERNEL_VERSION: {text!r} has no version number")
    major, minor, patch = (int(number or 0) for number in numbers.groups())
    return major << 16 | minor << 8 | min(patch, 255)


def _has_syscall_wrapper() -> int:
    machine = {"x86_64": "x64", "aarch64": "arm64", "riscv64": "riscv"}.get(os.uname().machine)
    name = f"__{machine or os.uname().machine}_sys_bpf"
    return int(any(symbol == name for symbol in kallsyms.functions()))


def _has_bpf_cookie() -> int:
    from ebpf.features import perf_event_cookie

    return int(perf_event_cookie())


_VIRTUAL = {
    "LINUX_KERNEL_VERSION": _kernel_version,
    "LINUX_HAS_BPF_COOKIE": _has_bpf_cookie,
    "LINUX_HAS_SYSCALL_WRAPPER": _has_syscall_wrapper,
}


def _declared(btf: Btf, type_id: int) -> str:
    from ebpf.btf.c_type import TypeNames

    return TypeNames(btf).declare(type_id, "")


def _bodiless(btf: Btf, type_id: int) -> str:
    """What else to say of a type with structs that are declared only, which agree with none."""
    whole = btf.resolve(type_id)
    types = [whole]
    if isinstance(whole, FuncProto):
        ids = [whole.type_id, *(parameter.type_id for parameter in whole.parameters)]
        types = [btf.resolve(id) for id in ids]
    behind = [btf.resolve(type.type_id) if isinstance(type, Pointer) else type for type in types]
    names = [type.name for type in behind if isinstance(type, Fwd)]
    return f"; struct {names[0]} has no members in the object: give it one" if names else ""


def _warn_of_hidden(names: Iterable[str]) -> None:
    # As with libbpf the object loads: to a program that asks first these are absent.
    warnings.warn(
        f"the kernel hides the addresses of its symbols from this process, so {', '.join(names)}"
        " are 0 for the programs; it shows them to CAP_SYSLOG, unless kernel.kptr_restrict is 2",
        RuntimeWarning,
        stacklevel=2,
    )


class Externs:
    """Finds the externs of one object; answers are kept."""

    def __init__(self, spec: CollectionSpec, kernel: KernelTypes) -> None:
        self._spec = spec
        self._kernel = kernel
        self._typed: dict[str, tuple[Module, Type] | None] = {}
        self._addresses: dict[str, list[int]] | None = None
        #: Descriptors of modules' BTF, in the places that calls refer to; place 0 is not used.
        self.fd_array: list[int] = []

    def address(self, name: str) -> Load:
        """What an ldimm64 of the extern has to hold. Not for kernel options."""
        extern = self._spec.externs[name]
        if extern.kind is ExternKind.KSYM:
            return self._symbol(extern)
        found = self._find(extern)
        # What a program asks for before it uses a weak extern: 0 for one that is not there.
        if found is None:
            return Load.constant(0)
        module, type = found
        return Load(op.PSEUDO_BTF_ID, type.id, module.fd)

    def call(self, name: str) -> Call:
        """What a call of the extern has to hold."""
        found = self._find(self._spec.externs[name])
        if found is None:
            return Call(0, POISON_KFUNC + list(self._spec.externs).index(name))
        module, function = found
        return Call(op.PSEUDO_KFUNC_CALL, function.id, self._place(module.fd))

    def _find(self, extern: ExternSpec) -> tuple[Module, Type] | None:
        """The variable or function of the kernel; None for a weak one that it does not have."""
        if extern.name not in self._typed:
            self._typed[extern.name] = self._find_anew(extern)
        return self._typed[extern.name]

    def _find_anew(self, extern: ExternSpec) -> tuple[Module, Type] | None:
        if extern.kind is ExternKind.TYPED_KSYM:
            return self._variable(extern)
        if extern.kind is ExternKind.KFUNC:
            return self._function(extern)
        raise RelocationError(
            f"extern {extern.name} is undefined: link the object that has it, "
            "CollectionSpec.from_files([...])"
        )

    def _symbol(self, extern: ExternSpec) -> Load:
        addresses = self._symbols().get(extern.name, [])
        if not addresses and not extern.weak:
            raise self._missing(extern, "in /proc/kallsyms")
        if len(addresses) > 1:
            raise RelocationError(
                f"extern {extern.name}: the kernel has several symbols of this name, at"
                f" {addresses[0]:#x} and {addresses[1]:#x}, and which is meant cannot be told; have"
                " the program take the address from a variable"
            )
        return Load.constant(addresses[0] if addresses else 0)

    def _symbols(self) -> dict[str, list[int]]:
        """The addresses of the symbols that the object asks for, by name."""
        if self._addresses is None:
            wanted = {e.name for e in self._spec.externs.values() if e.kind is ExternKind.KSYM}
            self._addresses, seen = {}, 0
            for address, letter, name, _ in kallsyms.symbols():
                seen |= address
                # What a kernel that was built with ThinLTO makes of a static variable.
                name = name.partition(".llvm.")[0] if letter == "d" else name
                if name in wanted:
                    found = self._addresses.setdefault(name, [])
                    if address not in found:
                        found.append(address)
            if self._addresses and not seen:
                _warn_of_hidden(self._addresses)
        return self._addresses

    def _variable(self, extern: ExternSpec) -> tuple[Module, Type] | None:
        found = self._in_kernel(extern, extern.name, Kind.VAR)
        if found is None:
            if extern.weak:
                return None
            where = "a variable in the kernel's BTF" + self._kernel.why_no_variable()
            raise self._missing(extern, where)
        module, variable = found
        assert isinstance(variable, Var)
        assert self._spec.btf is not None
        # const and volatile are the program's own business.
        declared = self._spec.btf.resolve(extern.type_id)
        self._check(extern, module.btf, declared.id, module.btf.resolve(variable.type_id).id)
        return found

    def _function(self, extern: ExternSpec) -> tuple[Module, Type] | None:
        # Flavours (NAME___FLAVOUR) are several prototypes of one kfunc, of which one is there.
        found = self._in_kernel(extern, essential_name(extern.name), Kind.FUNC)
        if found is None:
            if extern.weak:
                return None
            raise self._missing(extern, "a function in the BTF of the kernel or its modules")
        module, function = found
        assert isinstance(function, Func)
        if extern.weak and not self._compatible(extern.type_id, module.btf, function.type_id):
            return None
        self._check(extern, module.btf, extern.type_id, function.type_id)
        return found

    def _in_kernel(self, extern: ExternSpec, name: str, kind: Kind) -> tuple[Module, Type] | None:
        """Where the kernel or a module has `name`. Raises BpfPermissionError for a module's."""
        try:
            return self._kernel.find(name, kind)
        except BpfPermissionError:
            # As with libbpf, the program does without what this process may not refer to.
            if extern.weak:
                return None
            raise

    def _place(self, fd: int) -> int:
        """The index in fd_array by which a call names a module; the kernel itself is 0."""
        if not fd:
            return 0
        if not self.fd_array:
            # 0 stands for the kernel, so the first place is never looked at.
            self.fd_array.append(fd)
        if fd not in self.fd_array[1:]:
            self.fd_array.append(fd)
        return self.fd_array.index(fd, 1)

    def _compatible(self, local: int, btf: Btf, target: int) -> bool:
        assert self._spec.btf is not None
        return types_are_compat(self._spec.btf, local, btf, target)

    def _check(self, extern: ExternSpec, btf: Btf, local: int, target: int) -> None:
        # An assembled object declares no types: 0.
        if local and not self._compatible(local, btf, target):
            assert self._spec.btf is not None
            there, declared = _declared(btf, target), _declared(self._spec.btf, local)
            raise RelocationError(
                f"extern {extern.name}: it is declared as {declared!r}, the kernel has {there!r}"
                f"{_bodiless(self._spec.btf, local)}"
            )

    def _missing(self, extern: ExternSpec, where: str) -> BpfFileNotFoundError:
        name = essential_name(extern.name)
        near = [] if extern.kind is ExternKind.TYPED_KSYM else kallsyms.nearest(name)
        return missing(
            f"extern {extern.name} is not {where}; declare it __weak if the program can do without",
            near,
        )
