"""``BtfBuilder``: new BTF from types, or from the types of other BTF."""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Sequence

from ebpf.btf import types as t
from ebpf.btf.btf import Btf
from ebpf.btf.encode import check_names, encode
from ebpf.btf.raw import LAYOUT_HEADER, MAGIC, MINIMUM_HEADER, VERSION, ByteOrder
from ebpf.btf.strings import ENCODING_ERRORS, StringTable
from ebpf.btf.words import is_known, name_slots, own_words, reference_slots
from ebpf.errors import BtfError

_MAXIMUM_SECTION = 0xFFFFFFFF
_NATIVE: ByteOrder = "little" if sys.byteorder == "little" else "big"


class StringPool:
    """A string section under construction: equal strings share one offset, those of a base too."""

    def __init__(self, base: StringTable | None = None, content: bytes | None = None) -> None:
        self.base = base
        self.start: int = base.end if base else 0
        self.content = bytearray(b"" if base else b"\0")
        self._offsets: dict[str, int] = {"": 0}
        if content is not None:
            self.content = bytearray(content)
            self._learn()

    def _learn(self) -> None:
        offset = 0
        for raw in bytes(self.content).split(b"\0")[:-1]:
            self._offsets.setdefault(raw.decode("utf-8", ENCODING_ERRORS), self.start + offset)
            offset += len(raw) + 1

    def offset(self, text: str) -> int:
        """Where `text` is in the section, after adding it if need be. Raises BtfError."""
        known = self._offsets.get(text)
        if known is None:
            known = self._offsets[text] = self._place(text)
        return known

    def _place(self, text: str) -> int:
        if "\0" in text:
            raise BtfError(f"{text!r} has a NUL character, no name in BTF can have one")
        in_base = self.base.entries(text) if self.base else []
        if in_base:
            return in_base[0]
        try:
            raw = text.encode("utf-8", ENCODING_ERRORS)
        except UnicodeEncodeError:
            raise BtfError(f"{text!r} cannot be written as UTF-8") from None
        offset = self.start + len(self.content)
        self.content += raw + b"\0"
        return offset


class BtfBuilder:
    """Collects types and writes them as BTF.

        builder = BtfBuilder()
        number = builder.add(t.Int(name="int", size=4, bits=32, encoding=t.IntEncoding.SIGNED))
        pair = (t.Member("x", number, 0), t.Member("y", number, 32))
        builder.add(t.Struct(name="pair", size=8, members=pair))
        data = builder.to_bytes()

    Types get the ids from ``start_id`` on in the order in which they are added, so a type may
    refer to one that is yet to come (``next_id`` plus what lies between). With `base` the result
    is split BTF: its ids and string offsets continue after those of the base.
    """

    def __init__(self, byte_order: ByteOrder | None = None, base: Btf | None = None) -> None:
        if byte_order not in ("little", "big", None):
            raise ValueError(f"byte_order {byte_order!r} is not 'little' or 'big'")
        self.byte_order: ByteOrder = byte_order or (base.byte_order if base else _NATIVE)
        if base is not None and base.byte_order != self.byte_order:
            raise BtfError(
                f"byte_order is {self.byte_order!r}, but base is {base.byte_order}-endian"
            )
        self.base = base
        self.start_id: int = base.end_id if base else 1
        self._strings = StringPool(base.strings if base else None)
        # Every type as words; for the modules beside this one.
        self.records: list[Sequence[int]] = []
        self._ids: dict[t.Type, int] = {}
        self._layout = b""

    @property
    def next_id(self) -> int:
        """The id that the next type will have."""
        return self.start_id + len(self.records)

    def string(self, text: str) -> int:
        """The offset of `text` in the string section, which it joins if it is not there yet."""
        return self._strings.offset(text)

    def add(self, type: t.Type) -> int:
        """Appends `type`; its id. ``type.id`` is not looked at.

        Raises BtfError for a name that the kernel refuses, and for a number that the format
        does not hold. That every type exists which others refer to is checked at the end.
        """
        check_names(type)
        self.records.append(encode(type, self.string))
        return self.next_id - 1

    def add_once(self, type: t.Type) -> int:
        """As ``add``, but an equal type that was added with this method serves again."""
        known = self._ids.get(type)
        if known is None:
            known = self._ids[type] = self.add(type)
        return known

    def add_all(self, btf: Btf) -> dict[int, int]:
        """Appends every type of `btf` but those of its base; {its id there: its id here}.

        Types and names are taken as they are, duplicates too: see ``dedup``. Split BTF needs a
        builder with the same base. Raises BtfError.
        """
        if btf.base is not None and btf.base is not self.base:
            raise BtfError("btf is split BTF whose base is not the base of this builder")
        shift = self.next_id - btf.start_id
        strings: dict[int, int] = {}
        for words in own_words(btf):
            for slot in reference_slots(words):
                if words[slot] >= btf.start_id:
                    words[slot] += shift
            for slot in name_slots(words):
                old = words[slot]
                if old not in strings:
                    strings[old] = self.string(btf.strings.get(old))
                words[slot] = strings[old]
            self.records.append(words)
        return {old: old + shift for old in range(btf.start_id, btf.end_id)}

    def forget_added(self) -> None:
        """Makes ``add_once`` add anew, for when ids have changed."""
        self._ids.clear()

    def to_bytes(self) -> bytes:
        """The BTF. Raises BtfError when a type refers to one that does not exist."""
        self._check_references()
        words = array("I")
        for one in self.records:
            words.extend(one)
        if self.byte_order != sys.byteorder:
            words.byteswap()
        types = words.tobytes()
        strings = bytes(self._strings.content)
        header = self._header(len(types), len(strings))
        return header + types + self._layout + strings

    def to_btf(self) -> Btf:
        """The BTF, parsed."""
        return Btf(self.to_bytes(), base=self.base)

    def _header(self, types: int, strings: int) -> bytes:
        layout = len(self._layout)
        total = types + layout + strings
        if total > _MAXIMUM_SECTION:
            raise BtfError(f"{total} bytes of BTF: the format counts up to {_MAXIMUM_SECTION}")
        order = "<" if self.byte_order == "little" else ">"
        length = LAYOUT_HEADER if layout else MINIMUM_HEADER
        header = struct.pack(
            order + "HBBIIIII", MAGIC, VERSION, 0, length, 0, types, types + layout, strings
        )
        return header + (struct.pack(order + "II", types, layout) if layout else b"")

    def _check_references(self) -> None:
        end = self.next_id
        for type_id, words in enumerate(self.records, self.start_id):
            if not is_known(words):  # only an editor has such: what was there stays there
                continue
            for slot in reference_slots(words):
                if words[slot] >= end:
                    raise BtfError(
                        f"BTF type {type_id} refers to type {words[slot]}, the last is {end - 1}"
                    )
