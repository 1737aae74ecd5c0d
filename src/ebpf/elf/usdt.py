"""USDT probes of a file: the notes that ``sys/sdt.h`` leaves in ``.note.stapsdt``.

The format is SystemTap's (UserSpaceProbeImplementation in its wiki): three addresses, of the
probe's instruction, of ``.stapsdt.base`` and of the semaphore, and three texts.
"""

from __future__ import annotations

from ebpf.elf.image import ElfImage, Note
from ebpf.errors import ElfError
from ebpf.plain import NamedTuple

SECTION = ".note.stapsdt"
_BASE_SECTION = ".stapsdt.base"
_OWNER = "stapsdt"
_TYPE = 3


class UsdtProbe(NamedTuple):
    """One place where a probe is; several may share provider and name.

    ``offset`` and ``semaphore`` are places in the file, as uprobes take them; a probe without a
    semaphore has 0. ``address`` is the virtual address of the instruction. ``arguments`` is as the
    compiler wrote it, see ebpf.elf.usdt_arguments.
    """

    provider: str
    name: str
    offset: int
    semaphore: int
    address: int
    arguments: str


def usdt_probes(image: ElfImage) -> list[UsdtProbe]:
    """Every USDT probe of the file, in its order; none without such notes.

    Raises:
        ElfError: a malformed note, or an address that is not in the file.
    """
    section = image.section(SECTION)
    if section is None:
        return []
    base = image.section(_BASE_SECTION)
    moved_to = base.address if base is not None else 0
    return [
        _probe(image, note, moved_to)
        for note in image.notes(section)
        if (note.owner, note.type) == (_OWNER, _TYPE)
    ]


def _probe(image: ElfImage, note: Note, moved_to: int) -> UsdtProbe:
    size = image.bits // 8
    texts = note.data[3 * size :].split(b"\0")
    if len(note.data) < 3 * size or len(texts) < 4:
        raise ElfError(f"ELF section {SECTION!r}: a note of {len(note.data)} bytes is no probe")
    address, base, semaphore = (
        int.from_bytes(note.data[at : at + size], image.byte_order) for at in (0, size, 2 * size)
    )
    # A prelinker moves the code and not the notes; how far shows the base.
    moved = moved_to - base if moved_to and base else 0
    provider, name, arguments = (text.decode("utf-8", "surrogateescape") for text in texts[:3])
    address += moved
    return UsdtProbe(
        provider,
        name,
        image.file_offset(address),
        image.file_offset(semaphore + moved) if semaphore else 0,
        address,
        arguments,
    )
