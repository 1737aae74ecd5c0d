"""CO-RE: the relocations that fit a compiled program to the types of the kernel that runs it.

names, spec (the object's view) -> candidates -> match, compat (the target's) -> values -> patch;
relocator joins them, explain says what was missing.
"""

from ebpf.btf.core.compat import types_are_compat, types_match
from ebpf.btf.core.names import essential_name
from ebpf.btf.core.patch import POISON, patch
from ebpf.btf.core.relocator import Relocator
from ebpf.btf.core.values import CoreResult
from ebpf.btf.ext import CoreKind, CoreRelocation

__all__ = [
    "POISON",
    "CoreKind",
    "CoreRelocation",
    "CoreResult",
    "Relocator",
    "essential_name",
    "patch",
    "types_are_compat",
    "types_match",
]
