"""The only package that imports the compiled core.

Everything above it sees integers, bytes and exceptions; ``ffi`` and ``lib`` are passed on for the
few modules that hand buffers to the core's loops.
"""

from ebpf._ffi import ffi, lib
from ebpf._sys.call import check
from ebpf._sys.descriptor import Descriptor

__all__ = ["Descriptor", "check", "ffi", "lib"]
