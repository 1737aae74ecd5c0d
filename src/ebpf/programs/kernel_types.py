"""The types of the running kernel and of its modules, as loading programs needs them."""

from __future__ import annotations

import errno
import os

from ebpf.btf import Btf, Kind
from ebpf.errors import BpfFileNotFoundError, BpfPermissionError, FormatError
from ebpf.kernel_btf import VMLINUX, btf_file, kernel_btf, module_descriptors, module_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ebpf.btf.types import Type


class Module:
    """The BTF of the kernel or of a module; ``fd`` is 0 for the kernel and while none is needed."""

    __slots__ = ("btf", "fd", "name")

    def __init__(self, name: str, btf: Btf, fd: int = 0) -> None:
        self.name = name
        self.btf = btf
        self.fd = fd


def external_btf(source: Btf | str | os.PathLike[str]) -> Btf:
    """The BTF in a file: raw, as in BTFHub's archives, or the .BTF of an ELF file like vmlinux.

    Raises OSError where it cannot be read, ElfError and BtfError, which name the file, for what
    is no BTF.
    """
    if isinstance(source, Btf):
        return source
    path = os.fspath(source)
    try:
        return btf_file(path)
    except FormatError as error:
        raise type(error)(f"kernel_btf {path!r}: {error}") from None


class KernelTypes:
    """The kernel's BTF and, when something is not found there, that of its modules.

    With `custom`, an external BTF takes the place of the kernel's in CO-RE relocations; what the
    kernel looks up by id is always searched in its own.
    """

    def __init__(self, custom: Btf | None = None) -> None:
        self._custom = custom
        self._modules: list[Module] | None = None

    @property
    def vmlinux(self) -> Btf:
        return kernel_btf()

    def __iter__(self) -> Iterator[Btf]:
        """What CO-RE relocations are matched with, opened as far as it is asked for."""
        if self._custom is not None:
            yield self._custom
            return
        yield kernel_btf()
        for module in self.modules():
            yield module.btf

    def modules(self) -> list[Module]:
        """The loaded modules that have BTF; those that `find` has found something in are open."""
        if self._modules is None:
            found = []
            for name in module_names():
                try:
                    found.append(Module(name, kernel_btf(name)))
                except BpfFileNotFoundError:
                    continue  # unloaded since
            self._modules = found
        return self._modules

    def find(self, name: str, kind: Kind, owner: str = "") -> tuple[Module, Type] | None:
        """The type `name` of `kind` in the kernel, or in the first module that has it; only in
        the module `owner` where that is given.

        Raises:
            BpfPermissionError: a module has it, which takes CAP_SYS_ADMIN to refer to.
        """
        found = self.vmlinux.find_all(name, kind) if owner in ("", VMLINUX) else []
        if found:
            return Module(VMLINUX, self.vmlinux), found[0]
        for module in self.modules():
            found = module.btf.find_all(name, kind) if owner in ("", module.name) else []
            if found and _opened(module, name):
                return module, found[0]
        return None

    def why_no_variable(self) -> str:
        """What to add where a variable is not found: the reason, if it is that there are none."""
        if any(type.kind is Kind.VAR for type in self.vmlinux.types()):
            return ""
        # scripts/pahole-flags.sh leaves them out with pahole 1.18 to 1.21.
        return ": this kernel's BTF was made without variables, by pahole before 1.22"

    def close(self) -> None:
        for module in self._modules or []:
            if module.fd:
                os.close(module.fd)
                module.fd = 0
        self._modules = None


def _opened(module: Module, name: str) -> bool:
    """Give `module`, which has `name`, its descriptor; False where it was unloaded meanwhile.

    Without one its functions would be called by their ids in the kernel's BTF. It takes more
    capabilities than to read its types, so it is asked for where a program refers to the module.
    """
    if not module.fd:
        try:
            module.fd = module_descriptors([module.name]).get(module.name, 0)
        except BpfPermissionError as error:
            what = f"{name} of the module {module.name}"
            raise BpfPermissionError(errno.EPERM, f"{what}: {error.strerror}") from None
    return bool(module.fd)
