"""Typed Python modules for object files: what ``python -m ebpf gen FILE`` writes.

names     names of Python for those of C
records   dataclasses for structs
module    the module

`ebpf.generated` has what such a module is made of.
"""

from __future__ import annotations

from ebpf.codegen.module import generate

__all__ = ["generate"]
