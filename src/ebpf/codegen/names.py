"""Names of Python for names of C."""

from __future__ import annotations

import json
import keyword
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# What a generated module imports or defines; a class or field of such a name would hide it.
SCALARS = (
    *("be16", "be32", "be64", "f32", "f64"),
    *("s8", "s16", "s32", "s64", "u8", "u16", "u32", "u64"),
)
CODECS = ("Array", "Char", "CpuValues", "Pad", "Raw", *SCALARS)
MAPS = (
    *("ArenaMap", "ArrayMap", "BloomFilterMap", "DescriptorArray", "HashMap", "LpmTrieMap"),
    *("Map", "QueueMap", "StackTraceMap", "StorageMap"),
)
DEFINED = ("Maps", "Objects", "Programs", "Variables", "spec")
_TAKEN = {
    *(*CODECS, *MAPS, *DEFINED, "Any", "Annotated", "CollectionSpec", "Program", "Record"),
    *("TYPE_CHECKING", "Value", "dataclass", "field", "record", "unpacked", "generated"),
    *("bool", "bytes", "float", "int", "tuple", "property"),
}


def is_plain(name: str) -> bool:
    """Whether `name` can be an attribute in a class that uses any other name of the module."""
    return is_field(name) and name not in _TAKEN


def is_field(name: str) -> bool:
    """Whether `name` can be a field, if the annotations of its class do not have it."""
    usable = name.isidentifier() and name.isascii() and not keyword.iskeyword(name)
    return usable and not name.startswith("__")


def hidden(names: Iterable[str], *annotations: str) -> set[str]:
    """Those of `names` that would hide, inside of their class, what `annotations` mean."""
    words = {word for text in annotations for word in re.findall(r"\w+", text)}
    return words & set(names)


def class_name(name: str, taken: set[str]) -> str:
    """``task_stat`` is ``TaskStat``; not a name of `taken`, to which the new one is added."""
    parts = [part for part in "".join(c if c.isalnum() else "_" for c in name).split("_") if part]
    made = "".join(part[0].upper() + part[1:] for part in parts) or "Unnamed"
    if not made.isidentifier() or keyword.iskeyword(made):
        made = f"C{made}"
    number, chosen = 1, made
    while chosen in taken or chosen in _TAKEN:
        number += 1
        chosen = f"{made}{number}"
    taken.add(chosen)
    return chosen


def quoted(text: str) -> str:
    """`text` as it may stand in a literal: names of an object file are not to end it."""
    return json.dumps(text)[1:-1]
