"""The command ``build_py`` of setuptools, with BPF programs.

A project that needs options derives from it in its ``setup.py``::

    class Build(BuildPy):
        compile_options = {"defines": {"DEBUG": 1}, "include_dirs": ["include"]}

    setup(cmdclass={"build_py": Build})
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

from setuptools.command.build_py import build_py
from setuptools.errors import CompileError as BuildError

from ebpf.build.sources import SUFFIX, build_module, check_targets, module_path
from ebpf.errors import EbpfError


class BuildPy(build_py):
    """Compiles each ``NAME.bpf.c`` of each package to its module ``NAME_bpf``."""

    #: Arguments of `ebpf.compile_c`, and ``types`` of `ebpf.build.build_module`.
    compile_options: ClassVar[dict[str, Any]] = {}

    def run(self) -> None:
        super().run()
        sources = self._sources()
        try:
            check_targets((source, module_path(source, folder)) for source, folder in sources)
            self._made = [self._build(source, folder) for source, folder in sources]
        except EbpfError as error:
            raise BuildError(str(error)) from error

    def _build(self, source: Path, folder: Path) -> str:
        # What is installed in place (pip install -e) is imported from the source tree.
        in_place = bool(getattr(self, "editable_mode", False))
        folder = source.parent if in_place else folder
        return str(build_module(source, folder, **self.compile_options))

    def _sources(self) -> list[tuple[Path, Path]]:
        """Each source, and the directory of its package in the build."""
        found = []
        for package in self.packages or ():
            folder = Path(self.build_lib, *package.split("."))
            for source in sorted(Path(self.get_package_dir(package)).glob(f"*{SUFFIX}")):
                found.append((source, folder))
        return found

    def get_source_files(self) -> list[str]:
        """What a source distribution needs: the sources, the headers beside them, and those in
        ``include_dirs`` of the project."""
        sources = [source for source, _ in self._sources()]
        headers = {path for source in sources for path in source.parent.glob("*.h")}
        for folder in self.compile_options.get("include_dirs", ()):
            below = Path(os.path.relpath(folder))
            if ".." not in below.parts:
                # Not what tools keep in the project: .tox, .venv.
                found = below.rglob("*.h")
                headers |= {one for one in found if not any(p[0] == "." for p in one.parts)}
        # Not every release of setuptools has types here.
        inherited: Any = super()
        return [*inherited.get_source_files(), *map(str, [*sources, *sorted(headers)])]

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """What was made: modules of Python and of BPF."""
        return [*super().get_outputs(include_bytecode), *getattr(self, "_made", [])]
