"""The string section: names by offset, and offsets by name."""

from __future__ import annotations

from ebpf.btf.raw import Data, Section
from ebpf.errors import BtfError

# Names are C identifiers; anything else comes back unchanged through this.
ENCODING_ERRORS = "surrogateescape"
# Few names are longer: so much is looked through in one piece.
_USUAL = 64


class StringTable:
    """The strings of one BTF, after those of its base.

    Offsets count from the start of the first base, as in the types. Decoded strings are kept,
    so equal offsets share one string. ``section`` is where in ``data`` the table's own are.
    """

    __slots__ = ("_cache", "_overlap", "base", "data", "end", "section", "start")

    def __init__(self, data: Data, section: Section, base: StringTable | None = None) -> None:
        self.base = base
        self.start: int = base.end if base else 0
        self.end: int = self.start + len(section)
        self.data = data
        self.section = section
        self._cache: dict[int, str] = {0: ""} if base is None else {}
        # How many bytes of names that begin inside another name may still be decoded: hostile
        # offsets into one long string would otherwise take its length each.
        self._overlap = len(section)
        self._check()

    def _check(self) -> None:
        start, end = self.section.start, self.section.end
        if start == end and self.base is not None:
            return
        if start == end:
            raise BtfError("BTF string section: empty, it has at least one NUL byte")
        if self.data[end - 1 : end] != b"\0":
            raise BtfError(
                f"BTF string section: the last byte, at offset {end - start - 1}, is not NUL"
            )
        if self.base is None and self.data[start : start + 1] != b"\0":
            raise BtfError(
                "BTF string section: no empty string at offset 0; "
                "BTF of a kernel module needs base=, the BTF of its kernel"
            )

    def get(self, offset: int) -> str:
        """The string at `offset`. Raises BtfError for an offset outside the section."""
        text = self._cache.get(offset)
        if text is not None:
            return text
        if self.base is not None and 0 <= offset < self.start:
            return self.base.get(offset)
        if not self.start <= offset < self.end:
            raise BtfError(f"BTF string section: offset {offset} is outside 0..{self.end}")
        begin = self.section.start + offset - self.start
        raw, end, _ = self.data[begin : min(begin + _USUAL, self.section.end)].partition(b"\0")
        if not end:
            raw = self.data[begin : self.data.find(b"\0", begin, self.section.end)]
        if raw and begin > self.section.start and self.data[begin - 1] != 0:
            self._account(offset, len(raw))
        text = raw.decode("utf-8", ENCODING_ERRORS)
        self._cache[offset] = text
        return text

    def _account(self, offset: int, length: int) -> None:
        if length > self._overlap:
            raise BtfError(
                f"BTF string section: the name at offset {offset} and others lie inside each "
                "other more often than the section is long"
            )
        self._overlap -= length

    def entries(self, name: str) -> list[int]:
        """Every offset at which a string begins that is `name`, ascending; of the bases too."""
        raw = _encode(name)
        found = self.base.entries(name) if self.base else []
        if raw is None:
            return found
        start, end = self.section.start, self.section.end
        if self.base and self.data[start : min(end, start + len(raw) + 1)] == raw + b"\0":
            found.append(self.start)  # no NUL goes before the first string of a split table
        needle = b"\0" + raw + b"\0"
        position = self.data.find(needle, start, end)
        while position >= 0:
            found.append(self.start + position + 1 - start)
            position = self.data.find(needle, position + 1, end)
        return found

    def starting(self, prefix: str) -> list[str]:
        """Every string that begins with `prefix`, once; of the bases too."""
        found = dict.fromkeys(self.base.starting(prefix) if self.base else ())
        needle = b"\0" + prefix.encode("utf-8", ENCODING_ERRORS)
        start, end = self.section.start, self.section.end
        position = self.data.find(needle, start, end)
        while position >= 0:
            found[self.get(self.start + position + 1 - start)] = None
            position = self.data.find(needle, position + 1, end)
        return list(found)

    def tails(self, name: str) -> list[int]:
        """Every offset inside a longer string that ends in `name`, ascending; of the bases too.

        No producer known in 2025 refers to them, but the format allows it.
        """
        raw = _encode(name)
        found = self.base.tails(name) if self.base else []
        if raw is None:
            return found
        start, end = self.section.start, self.section.end
        position = self.data.find(raw + b"\0", start + 1, end)
        while position >= 0:
            if self.data[position - 1] != 0:
                found.append(self.start + position - start)
            position = self.data.find(raw + b"\0", position + 1, end)
        return found


def _encode(name: str) -> bytes | None:
    """`name` as the section has it, or None where no string can be that."""
    if not name or "\0" in name:
        return None
    try:
        return name.encode("utf-8", ENCODING_ERRORS)
    except UnicodeEncodeError:
        return None
