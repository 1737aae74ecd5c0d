"""Network interfaces, the namespaces that they are in, and the kernel's messages about them.

interface   Interface: by name or by index
namespace   doing something in another network namespace
"""

from __future__ import annotations

from ebpf.net.interface import Interface

__all__ = ["Interface"]
