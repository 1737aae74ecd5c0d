"""For other CFFI extensions that want this library's C types and functions.

In the build script of such an extension::

    import cffi
    import ebpf.embed

    ffibuilder = cffi.FFI()
    ffibuilder.include(ebpf.embed.ffi_builder())
    ffibuilder.cdef("uint64_t used_bytes(const struct ebpf_ring *ring);")
    ffibuilder.set_source(
        "mine._ext",
        '#include <ebpf/core.h>\\nstatic uint64_t used_bytes(...) { ... }',
        include_dirs=[ebpf.get_include()],
    )

Its C code uses the structs of ``<ebpf/core.h>``; its Python calls the functions of the core
through the extension's own ``lib`` (``lib.ebpf_map_lookup``). The functions live in this
library's extension, so C code cannot link to them: it takes them as function pointers
(``ffi.addressof(lib, "ebpf_map_lookup")``).
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    import cffi

# In the order of their use of each other; core.h includes them in the same order.
HEADERS = (
    *("attr.h", "perf_event.h", "sys.h", "map.h", "ring.h", "user_ring.h", "perf.h", "xsk.h"),
    *("btf.h", "bpffs.h"),
)


def get_include() -> str:
    """The directory to pass to a C compiler as ``-I``: it holds ``ebpf/core.h``."""
    package = os.path.dirname(os.path.realpath(__file__))
    # In an editable install the headers are where the source tree has them.
    source_tree = os.path.dirname(os.path.dirname(package))
    for parent in (package, source_tree):
        directory = os.path.join(parent, "include")
        if os.path.isfile(os.path.join(directory, "ebpf", "core.h")):
            return directory
    raise FileNotFoundError(f"ebpf/core.h is missing beside {package}: reinstall ebpf")


def ffi_builder(include_dir: str | None = None, **source_options: Any) -> cffi.FFI:
    """The FFI that declares this library's C core, for ``FFI.include()`` of a build script.

    `include_dir` defaults to `get_include()`; `source_options` go to ``FFI.set_source()``.
    """
    import cffi

    directory = include_dir or get_include()
    ffi = cffi.FFI()
    for header in HEADERS:
        with open(os.path.join(directory, "ebpf", header), encoding="utf-8") as file:
            ffi.cdef(file.read())
    ffi.set_source(
        "ebpf._ffi", '#include "ebpf/core.h"', include_dirs=[directory], **source_options
    )
    return ffi
