"""Addresses to names: of the kernel, and of processes.

demangle    C++ and Rust names as they are written, where a library for it is installed
kernel      KernelSymbols: /proc/kallsyms, by address
files       FileSymbols: the functions of an executable or library, with its debug file
process     ProcessSymbols: the mappings of a process, its files and vDSO
perf_map    PerfMap: what a just-in-time compiler says of its code
symbolizer  Symbolizer: many stacks at once, of many processes, with everything cached
"""

from ebpf.symbols.files import FileSymbols
from ebpf.symbols.frame import Frame
from ebpf.symbols.kernel import KernelSymbols
from ebpf.symbols.process import ProcessSymbols
from ebpf.symbols.symbolizer import Symbolizer

__all__ = ["FileSymbols", "Frame", "KernelSymbols", "ProcessSymbols", "Symbolizer"]
