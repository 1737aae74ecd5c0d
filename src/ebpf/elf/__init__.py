"""Object files: ELF bytes to a CollectionSpec. Pure: no system call is made here.

reader (the file) -> context (sections by their meaning) -> functions, maps, legacy, data, externs,
struct_ops, ext (its parts) -> object (all of it); sections (what a section's name says)
image (executables and libraries of any machine) -> symbols (their symbols, by name and by address)
linker (several objects to one)
"""

from __future__ import annotations

from ebpf.elf.reader import ElfFile
from ebpf.elf.sections import parse_section_name

__all__ = ["ElfFile", "parse_section_name"]


def __getattr__(name: str) -> object:
    # Loading an object takes no linker.
    if name != "linker":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return importlib.import_module("ebpf.elf.linker")
