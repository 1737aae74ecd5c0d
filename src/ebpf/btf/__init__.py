"""BTF, the type information of kernels and BPF objects. Pure: no system call is made here.

raw (sections, index) -> strings -> decode (one type) -> lookup (names) -> fields -> btf (Btf)
"""

from ebpf.btf.btf import Btf
from ebpf.btf.fields import Field, Layout
from ebpf.btf.types import Kind

__all__ = ["Btf", "Field", "Kind", "Layout"]
