"""The kernel's symbols, as /proc/kallsyms lists them."""

from __future__ import annotations

import os

from ebpf.errors import NotSupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PATH = "/proc/kallsyms"

# The type letters of functions: text, and weak symbols.
_FUNCTIONS = "tTwW"


def symbols() -> Iterator[tuple[int, str, str, str]]:
    """(address, type letter, name, module or "") of every symbol.

    Addresses are 0 where the kernel hides them from this process (kernel.kptr_restrict).
    """
    for line in _read().splitlines():
        address, kind, name, *module = line.split()
        yield int(address, 16), kind, name, module[0].strip("[]") if module else ""


def function_lines() -> Iterator[tuple[int, str]]:
    """(address, name) of every function; behind the name of one of a module are a tab and
    ``[module]``. Addresses are 0 where the kernel hides them."""
    for line in _read().splitlines():
        address, kind, name = line.split(" ", 2)
        if kind in _FUNCTIONS:
            yield int(address, 16), name


def functions() -> Iterator[str]:
    """The names of the functions, each as often as the kernel has it."""
    return (name for _, kind, name, _ in symbols() if kind in _FUNCTIONS)


def function_addresses(name: str) -> list[int]:
    """The addresses of the functions called `name`: static ones may share a name."""
    text = _read()
    found = []
    # Searching all of the text takes a hundredth of the time of going through its lines.
    at = text.find(f" {name}")
    while at >= 0:
        end = at + 1 + len(name)
        # Behind a name is the end of the line, or a tab and the module.
        if text[end : end + 1] in ("\n", "\t"):
            address, kind = text[text.rfind("\n", 0, at) + 1 : at].split()
            if kind in _FUNCTIONS:
                found.append(int(address, 16))
        at = text.find(f" {name}", end)
    return found


def addresses_of(names: Iterable[str]) -> dict[str, list[int]]:
    """The addresses of the functions of each name that there is, ascending."""
    wanted = set(names)
    found: dict[str, list[int]] = {}
    for line in _read().splitlines():
        address, kind, name, *_ = line.split()
        if name in wanted and kind in _FUNCTIONS:
            found.setdefault(name, []).append(int(address, 16))
    return {name: sorted(addresses) for name, addresses in found.items()}


def nearest(name: str) -> list[str]:
    """Up to five function names that resemble `name`, the most similar first.

    None without /proc: they only go with an error, which is to be told all the same.
    """
    import difflib

    if not readable():
        return []
    # Comparing 100,000 names by difflib takes seconds; most of them cannot be meant.
    parts = [part for part in name.strip("_").split("_") if len(part) > 2] or [name]
    candidates = {
        other
        for other in functions()
        # __pfx_ marks the padding in front of a function.
        if not other.startswith("__pfx_")
        and (other[:3] == name[:3] or any(part in other for part in parts))
    }
    matcher = difflib.SequenceMatcher(b=name)
    scored = []
    for other in candidates:
        matcher.set_seq1(other)
        if matcher.real_quick_ratio() > 0.6 and matcher.quick_ratio() > 0.6:
            scored.append((matcher.ratio(), other))
    return [other for score, other in sorted(scored, reverse=True)[:5] if score > 0.6]


def readable() -> bool:
    """Whether there is a list of symbols at all: not without /proc."""
    return os.path.exists(PATH)


def _read() -> str:
    if not readable():
        from ebpf._sys.facts import need_proc

        need_proc("read the kernel's symbols")
        raise NotSupportedError("read the kernel's symbols: it lists none (CONFIG_KALLSYMS)")
    with open(PATH, encoding="ascii", errors="replace") as file:
        return file.read()
