"""One address of a stack, with what is known of it."""

from __future__ import annotations

from ebpf.plain import NamedTuple


class Frame(NamedTuple):
    """`address` is in the function `name`, `offset` bytes behind its beginning.

    `name` is None where no symbol covers the address. `module` is the path of the file, the name
    of the kernel module, ``"[kernel]"``, ``"[vdso]"``, the perf map, or "" where nothing is mapped.
    """

    address: int
    name: str | None = None
    offset: int = 0
    module: str = ""

    def __str__(self) -> str:
        """``name+0x1c (module)``, or the address."""
        where = f" ({self.module})" if self.module else ""
        if self.name is None:
            return f"{self.address:#x}{where}"
        return f"{self.name}+{self.offset:#x}{where}"

    @property
    def label(self) -> str:
        """What a profile calls it: the name, else ``[module]``, else ``[unknown]``."""
        if self.name is not None:
            return self.name
        if not self.module:
            return "[unknown]"
        return self.module if self.module[0] == "[" else f"[{self.module.rpartition('/')[2]}]"
