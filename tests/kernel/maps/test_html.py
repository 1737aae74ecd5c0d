"""What a notebook shows of a map: it asks for ``_repr_html_``, as the tests do."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Annotated, Any

import ebpf
from ebpf.codec import Char, Pad, u32


@dataclass(frozen=True)
class Usage:
    pid: u32
    name: Annotated[bytes, Char(16)]
    padding: Annotated[bytes, Pad(4)] = field(init=False, default=b"", repr=False)


class Table(HTMLParser):
    """The rows of cells of a table, as a browser reads them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows:
            self.rows[-1][-1] += data


def test_fields_have_columns_and_nothing_is_markup() -> None:
    """The fields of a struct would be one long text, or a process's name run as a script."""
    name = b"<script>&\x1b\xff"
    with ebpf.HashMap.create(key="I", value=Usage, max_entries=4, name="usage") as usage:
        usage[7] = Usage(pid=8, name=name)
        html = usage._repr_html_()
        assert html is not None
        table = Table(html)
        assert table.rows == [
            ["key", "value.pid", "value.name"],
            ["7", "8", "<script>&\\x1b\\xff"],
        ]
        assert table.tags == {"table", "caption", "tr", "th", "td"}
        assert "usage: HASH, max_entries=4" in html


def test_large_maps_are_cut() -> None:
    """A cell would hold a million rows, or not say that there are more."""
    with ebpf.ArrayMap.create(value="Q", max_entries=21) as numbers:
        html = numbers._repr_html_()
        assert html is not None
        assert len(Table(html).rows) == 21
        assert "the first 20" in html
    with ebpf.ArrayMap.create(value="Q", max_entries=20) as numbers:
        assert "the first" not in str(numbers._repr_html_())
    with ebpf.HashMap.create(key="I", value=100, max_entries=1) as raw:
        raw[1] = b"x" * 100
        assert Table(str(raw._repr_html_())).rows[1][1] == f"{'x' * 79}…"


def test_values_of_each_cpu() -> None:
    """Per-CPU values would be shown as one CPU's, or as Python's list."""
    with ebpf.Map.create(ebpf.MapType.PERCPU_ARRAY, value="I", max_entries=1) as counts:
        counts[0] = list(range(5, 5 + len(counts[0])))
        shown = Table(counts._repr_html_()).rows[1][1]
        assert re.fullmatch(r"5(, \d+)*", shown)
        assert len(shown.split(", ")) == len(counts[0])


def test_what_has_no_entries_to_show() -> None:
    """Showing a queue would empty it, and showing a closed map end in an error."""
    with ebpf.QueueMap.create(value="I", max_entries=4) as queue:
        queue.push(1)
        assert queue._repr_html_() is None
        assert queue.pop() == 1
    with ebpf.HashMap.create(key="I", value="I", max_entries=1) as empty:
        assert Table(str(empty._repr_html_())).rows == [["key", "value"]]
    assert empty._repr_html_() is None
