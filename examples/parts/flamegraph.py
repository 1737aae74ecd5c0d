"""A flame graph: stacks as boxes on each other, the wider the more often they were seen, as SVG."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from html import escape

WIDTH, ROW, MARGIN = 1200, 18, 10
# Of a letter in the font below, about; narrower boxes have their text in the tooltip only.
LETTER = 7.2
NARROWEST = 0.3


class Node:
    """A function in the place of a stack where it was seen, and how often."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 0
        self.callees: dict[str, Node] = {}

    def add(self, names: list[str], count: int) -> None:
        """Count a stack, the outermost function first."""
        node = self
        node.count += count
        for name in names:
            node = node.callees.setdefault(name, Node(name))
            node.count += count

    def depth(self) -> int:
        return 1 + max((callee.depth() for callee in self.callees.values()), default=0)


def flame_graph(stacks: Mapping[tuple[str, ...], int], title: str) -> str:
    """The SVG of `stacks`: functions, the outermost first, and how often they were seen so."""
    root = Node("all")
    for names, count in stacks.items():
        root.add(list(names), count)
    rows = root.depth()
    height = rows * ROW + 2 * MARGIN + 2 * ROW
    bottom = height - MARGIN - ROW
    middle = f'x="{WIDTH / 2}" y="{MARGIN + ROW / 2}" text-anchor="middle"'
    boxes = "\n".join(_boxes(root, MARGIN, WIDTH - 2 * MARGIN, bottom, root.count or 1))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}"'
        f' viewBox="0 0 {WIDTH} {height}" font-family="monospace" font-size="12">\n'
        f'<rect width="{WIDTH}" height="{height}" fill="#fffdf5"/>\n'
        f"<text {middle}>{escape(title)}</text>\n"
        f"{boxes}\n</svg>\n"
    )


def _boxes(node: Node, left: float, width: float, top: float, total: int) -> Iterator[str]:
    if width < NARROWEST:
        return
    share = 100 * node.count / total
    label = f"{node.name} ({node.count} samples, {share:.1f} %)"
    letters = int((width - 6) / LETTER)
    shown = node.name if len(node.name) <= letters else node.name[: max(letters - 2, 0)] + ".."
    text = escape(shown) if letters > 2 else ""
    yield (
        f"<g><title>{escape(label)}</title>"
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{ROW - 1}"'
        f' fill="{_colour(node.name)}" rx="2"/>'
        f'<text x="{left + 3:.1f}" y="{top + ROW - 6:.1f}">{text}</text></g>'
    )
    for name in sorted(node.callees):
        callee = node.callees[name]
        part = width * callee.count / node.count
        yield from _boxes(callee, left, part, top - ROW, total)
        left += part


def _colour(name: str) -> str:
    """The same for the same function in every graph; the kernel's are colder."""
    number = zlib.crc32(name.encode())
    first, second = number % 55, number // 256 % 60
    if name.endswith("_[k]"):
        return f"rgb({150 + second},{170 + first},{215 + first % 30})"
    return f"rgb({205 + first % 50},{100 + second * 2},{50 + first})"
