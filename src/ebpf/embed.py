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

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import cffi

# In the order of their use of each other; core.h includes them in the same order.
HEADERS = ("attr.h", "perf_event.h", "sys.h", "map.h", "ring.h", "btf.h")


def get_include() -> str:
    """The directory to pass to a C compiler as ``-I``: it holds ``ebpf/core.h``."""
    package = Path(__file__).resolve().parent
    # In an editable install the headers are where the source tree has them.
    for directory in (package / "include", package.parent.parent / "include"):
        if (directory / "ebpf" / "core.h").is_file():
            return str(directory)
    raise FileNotFoundError(f"ebpf/core.h is missing beside {package}: reinstall ebpf")


def ffi_builder(include_dir: str | None = None, **source_options: Any) -> cffi.FFI:
    """The FFI that declares this library's C core, for ``FFI.include()`` of a build script.

    `include_dir` defaults to `get_include()`; `source_options` go to ``FFI.set_source()``.
    """
    import cffi

    directory = include_dir or get_include()
    ffi = cffi.FFI()
    for header in HEADERS:
        ffi.cdef((Path(directory) / "ebpf" / header).read_text(encoding="utf-8"))
    ffi.set_source(
        "ebpf._ffi", '#include "ebpf/core.h"', include_dirs=[directory], **source_options
    )
    return ffi
