"""The kernel's symbols, as /proc/kallsyms lists them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

PATH = "/proc/kallsyms"


def symbols() -> Iterator[tuple[int, str, str, str]]:
    """(address, type letter, name, module or "") of every symbol.

    Addresses are 0 where the kernel hides them from this process (kernel.kptr_restrict).
    """
    with open(PATH, encoding="ascii", errors="replace") as file:
        for line in file:
            fields = line.split()
            module = fields[3].strip("[]") if len(fields) > 3 else ""
            yield int(fields[0], 16), fields[1], fields[2], module


def functions() -> Iterator[str]:
    """The names of the functions, each as often as the kernel has it."""
    return (name for _, kind, name, _ in symbols() if kind in "tTwW")


def function_addresses(name: str) -> list[int]:
    """The addresses of the functions called `name`: static ones may share a name."""
    return [address for address, kind, other, _ in symbols() if other == name and kind in "tTwW"]


def nearest(name: str) -> list[str]:
    """Up to five function names that resemble `name`, the most similar first."""
    import difflib

    # Comparing 100,000 names by difflib takes seconds; most of them cannot be meant.
    parts = [part for part in name.strip("_").split("_") if len(part) > 2] or [name]
    candidates = {
        other
        for other in functions()
        if any(part in other for part in parts) or other[:3] == name[:3]
    }
    matcher = difflib.SequenceMatcher(b=name)
    scored = []
    for other in candidates:
        matcher.set_seq1(other)
        if matcher.real_quick_ratio() > 0.6 and matcher.quick_ratio() > 0.6:
            scored.append((matcher.ratio(), other))
    return [other for score, other in sorted(scored, reverse=True)[:5] if score > 0.6]
