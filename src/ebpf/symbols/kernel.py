"""Kernel addresses to names, from /proc/kallsyms."""

from __future__ import annotations

import errno
from bisect import bisect_left, bisect_right
from operator import itemgetter

from ebpf import kallsyms
from ebpf._sys.arguments import check_numbers
from ebpf.errors import BpfPermissionError
from ebpf.symbols.frame import Frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

KERNEL = "[kernel]"

# The list has no sizes. What is farther behind a symbol than this is not in its function: a module
# or program, rather, that was loaded after the list was read.
_LARGEST_FUNCTION = 1 << 20


class KernelSymbols:
    """The functions of the kernel, its modules and BPF programs, as they are now.

    What is loaded later is known after `refresh`.
    """

    def __init__(self) -> None:
        """Read the list (some 0.2 s).

        Raises:
            BpfPermissionError: the kernel hides addresses from this process.
        """
        self.refresh()

    def refresh(self) -> None:
        """Read the list again."""
        # In the order of the list where several have one address.
        found = sorted(kallsyms.function_lines(), key=itemgetter(0))
        if not found or not found[-1][0]:
            raise BpfPermissionError(
                errno.EPERM,
                "read the addresses of kernel functions: the kernel hides them from this process;"
                " kernel.kptr_restrict must be 0, or 1 with CAP_SYSLOG",
            )
        self._addresses = [address for address, _ in found]
        self._names = [name for _, name in found]

    def __len__(self) -> int:
        return len(self._addresses)

    def resolve(self, addresses: Iterable[int]) -> list[Frame]:
        """A Frame for each address, in their order."""
        return [self._frame(address) for address in addresses]

    def _frame(self, address: int) -> Frame:
        check_numbers(64, address=address)
        at = bisect_right(self._addresses, address) - 1
        if at < 0 or address - self._addresses[at] >= _LARGEST_FUNCTION:
            return Frame(address, None, 0, KERNEL)
        start = self._addresses[at]
        # Of several names for one address the first, which the kernel's own traces have.
        first = bisect_left(self._addresses, start, 0, at)
        name, _, module = self._names[first].partition("\t")
        return Frame(address, name, address - start, module or KERNEL)
