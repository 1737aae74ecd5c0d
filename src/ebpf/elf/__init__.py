"""Object files: ELF bytes to a CollectionSpec. Pure: no system call is made here.

reader (the file) -> context (sections by their meaning) -> functions, maps, legacy, data, externs,
struct_ops, ext (its parts) -> object (all of it); sections (what a section's name says)
image (executables and libraries of any machine) -> symbols (their symbols, by name and by address)
"""

from ebpf.elf.reader import ElfFile
from ebpf.elf.sections import parse_section_name

__all__ = ["ElfFile", "parse_section_name"]
