"""Functions and variables of the kernel that instructions name, for one program."""

from __future__ import annotations

import array

from ebpf import kallsyms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing_extensions import Self

    from ebpf.asm.assemble import SymbolKind
    from ebpf.programs.kernel_types import KernelTypes


class KernelSymbols:
    """Finds them in the BTF of the kernel and its modules, whose descriptors it owns."""

    def __init__(self) -> None:
        self._types: KernelTypes | None = None
        # Place 0 stands for the kernel itself.
        self._places: list[int] = []

    def find(self, name: str, kind: SymbolKind) -> tuple[int, int]:
        """The id of its type, and which BTF has it: what `Assembly.resolve` asks for.

        Raises:
            BpfFileNotFoundError: there is no such; the message has the nearest names.
            NotSupportedError: this kernel was built without BTF.
        """
        # Imported here because most programs name nothing of the kernel.
        from ebpf.btf import Kind
        from ebpf.links.functions import missing, nearest_type
        from ebpf.programs.kernel_types import KernelTypes

        if self._types is None:
            self._types = KernelTypes()
        wanted = Kind.FUNC if kind == "function" else Kind.VAR
        found = self._types.find(name, wanted)
        if found is None:
            what = f"no {kind} {name} in the BTF of the kernel or its modules"
            if kind == "function":
                raise missing(what, kallsyms.nearest(name))
            near = nearest_type(self._types.vmlinux, "", wanted, name)
            raise missing(what + self._types.why_no_variable(), near)
        module, type = found
        return type.id, self._place(module.fd) if kind == "function" else module.fd

    def _place(self, fd: int) -> int:
        if not fd:
            return 0
        if fd not in self._places:
            self._places.append(fd)
        return self._places.index(fd) + 1

    def fd_array(self) -> bytes:
        """What the calls of modules' functions index."""
        return array.array("i", [0, *self._places]).tobytes() if self._places else b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._types is not None:
            self._types.close()
