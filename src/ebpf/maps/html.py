"""A map as a table, for notebooks: the entries that fit a screen, with the fields of structs.

Everything in it is escaped, since names and values come from programs.
"""

from __future__ import annotations

from html import escape
from itertools import islice

from ebpf.codec.percpu import CpuValues

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ebpf.maps.base import Map

ROWS = 20
# Of one value, in characters.
_WIDTH = 80


def table(map: Map[Any, Any]) -> str:
    """Up to `ROWS` entries of a map that has ``items()``, in the order of iteration."""
    entries = list(islice(map.items(), ROWS + 1))  # type: ignore[attr-defined]
    rows = [{**_cells("key", key), **_cells("value", value)} for key, value in entries[:ROWS]]
    titles = list(dict.fromkeys(title for row in rows for title in row)) or ["key", "value"]
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(row.get(title, str()))}</td>' for title in titles)}</tr>"
        for row in rows
    )
    more = f", the first {ROWS}" if len(entries) > ROWS else ""
    caption = escape(f"{map.name or 'map'}: {map.type.name}, max_entries={map.max_entries}{more}")
    return f"<table><caption>{caption}</caption><tr>{head}</tr>{body}</table>"


def _cells(title: str, value: Any) -> dict[str, str]:
    """What stands under which title: the fields of a struct each have one."""
    fields = _fields(value)
    if fields is None:
        return {title: _text(value)}
    return {f"{title}.{name}": _text(one) for name, one in fields.items()}


def _fields(value: Any) -> dict[str, Any] | None:
    """The fields of a record, dataclass or named tuple, without padding."""
    if hasattr(value, "_asdict"):
        return dict(value._asdict())
    described = getattr(type(value), "__dataclass_fields__", None)
    if described is None:
        return None
    return {name: getattr(value, name) for name, one in described.items() if one.init}


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        # Names, mostly: as a literal without its quotes.
        text = repr(value)[2:-1]
    elif isinstance(value, CpuValues):
        text = ", ".join(map(_text, value))
    else:
        text = str(value)
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"
