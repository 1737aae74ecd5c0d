"""The types of the running kernel and of its modules, as loading programs needs them."""

from __future__ import annotations

import os

from ebpf._sys import bpf
from ebpf.btf import Btf, Kind
from ebpf.errors import BpfFileNotFoundError, FormatError
from ebpf.kernel_btf import BTF_DIRECTORY, VMLINUX, btf_file, kernel_btf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ebpf.btf.types import Type


class Module:
    """The BTF of the kernel (``fd`` 0) or of a module, with a descriptor of it."""

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
        """The loaded modules that have BTF."""
        if self._modules is None:
            self._modules = []
            # The kernel's own types may come from a file: then there are none of modules.
            there = os.listdir(BTF_DIRECTORY) if os.path.isdir(BTF_DIRECTORY) else []
            for name in sorted(there):
                if name == VMLINUX:
                    continue
                try:
                    self._modules.append(Module(name, kernel_btf(name)))
                except BpfFileNotFoundError:
                    continue  # unloaded since
            self._open_descriptors()
            # Without a descriptor its functions would be called by their ids in the kernel's BTF.
            self._modules = [module for module in self._modules if module.fd]
        return self._modules

    def find(self, name: str, kind: Kind) -> tuple[Module, Type] | None:
        """The type `name` of `kind` in the kernel, or in the first module that has it."""
        found = self.vmlinux.find_all(name, kind)
        if found:
            return Module(VMLINUX, self.vmlinux), found[0]
        for module in self.modules():
            found = module.btf.find_all(name, kind)
            if found:
                return module, found[0]
        return None

    def _open_descriptors(self) -> None:
        """The kernel names modules by descriptors of their BTF objects, found by walking all."""
        wanted = {module.name: module for module in self._modules or []}
        last = 0
        while wanted and (current := bpf.btf_get_next_id(last)) is not None:
            last = current
            try:
                fd = bpf.btf_get_fd_by_id(current)
            except BpfFileNotFoundError:
                continue  # unloaded since
            name = bpf.btf_name(fd)
            module = wanted.pop(name, None)
            if module is None:
                os.close(fd)
            else:
                module.fd = fd

    def close(self) -> None:
        for module in self._modules or []:
            if module.fd:
                os.close(module.fd)
                module.fd = 0
        self._modules = None
