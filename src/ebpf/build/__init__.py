"""BPF programs of a package, compiled when the package is built.

``tracer.bpf.c`` in a package becomes its module ``tracer_bpf`` (see `ebpf.codegen`), in which the
object is: who installs the wheel needs no compiler. In ``pyproject.toml``::

    [build-system]
    requires = ["setuptools>=77", "ebpf[compile]"]
    build-backend = "setuptools.build_meta"

    [tool.setuptools.cmdclass]
    build_py = "ebpf.build.hook.BuildPy"

``python -m ebpf build src`` does the same in the source tree, for editors and type checkers.

sources    what to compile, and into which file
hook       the command of setuptools (which only that module imports)
"""

from __future__ import annotations

from ebpf.build.sources import SUFFIX, build_module, build_object, find_sources

__all__ = ["SUFFIX", "build_module", "build_object", "find_sources"]
