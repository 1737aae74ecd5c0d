"""Declares the extension `ebpf._ffi` to cffi: what it exports, and the C that it is made of."""

import runpy

# The same builder that other extensions embed; loaded as a file because `import ebpf` needs the
# extension that is about to be built.
ffibuilder = runpy.run_path("src/ebpf/embed.py")["ffi_builder"](
    include_dir="include",
    sources=[
        "src/core/bpffs.c",
        "src/core/btf.c",
        "src/core/layout.c",
        "src/core/map.c",
        "src/core/perf.c",
        "src/core/ring.c",
        "src/core/sys.c",
        "src/core/user_ring.c",
        "src/core/xsk.c",
    ],
    extra_compile_args=["-std=gnu11", "-Wall", "-Wextra", "-Werror=implicit-function-declaration"],
)
