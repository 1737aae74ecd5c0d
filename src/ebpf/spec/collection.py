"""The whole of an object file."""

from __future__ import annotations

import os
import sys

from ebpf.btf import Btf
from ebpf.btf.ext import BtfExt
from ebpf.btf.fixups import BtfFixups
from ebpf.errors import ElfError, FormatError, LinkError
from ebpf.plain import dataclass, field, replace
from ebpf.spec.externs import ExternKind, ExternSpec
from ebpf.spec.functions import FunctionSpec, ProgramSpec, ProgramSpecs, RelocationKind
from ebpf.spec.maps import MapSpec, MapSpecs
from ebpf.spec.members import Checked, Members
from ebpf.spec.variables import VariableSpec, VariableSpecs
from ebpf.types import ProgramType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, ClassVar

    from ebpf.btf.raw import ByteOrder
    from ebpf.collection import Collection
    from ebpf.spec.members import Types

_FUNCTIONS = (RelocationKind.CALL, RelocationKind.FUNCTION)
_EXTERNS = (RelocationKind.EXTERN, RelocationKind.EXTERN_CALL)

_MEMBERS: dict[str, type[Members[Any]]] = {
    "programs": ProgramSpecs,
    "maps": MapSpecs,
    "variables": VariableSpecs,
}


@dataclass
class CollectionSpec(Checked):
    """Everything that an object file holds.

    ``name`` begins the names of its data maps. ``kernel_version`` is LINUX_VERSION_CODE, 0 where
    the object does not say. ``byte_order``: only objects of this machine's order can be loaded.
    ``btf`` is the object's own, unchanged; ``btf_fixups`` is what it lacks.
    """

    name: str = ""
    programs: dict[str, ProgramSpec] = field(default_factory=dict)
    maps: dict[str, MapSpec] = field(default_factory=dict)
    variables: dict[str, VariableSpec] = field(default_factory=dict)
    functions: dict[str, FunctionSpec] = field(default_factory=dict)
    externs: dict[str, ExternSpec] = field(default_factory=dict)
    license: str = ""
    kernel_version: int = 0
    byte_order: ByteOrder = "little"
    btf: Btf | None = None
    btf_ext: BtfExt | None = None
    btf_fixups: BtfFixups = field(default_factory=BtfFixups)

    _TYPES: ClassVar[Types] = {"name": (str,), "license": (str,), "kernel_version": (int,)}

    # As in Checked; and what is put into these dicts later is checked too.
    if not TYPE_CHECKING:

        def __setattr__(self, name, value):
            members = _MEMBERS.get(name)
            if members is not None and not isinstance(value, members):
                value = members(dict(value))
            Checked.__setattr__(self, name, value)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], *, name: str | None = None) -> CollectionSpec:
        """The spec of the object file `path`; `name` is the file's name up to its first dot.

        Raises FormatError (ElfError, BtfError, RelocationError) for a file that is no BPF object
        or a malformed one, naming the file, and OSError when it cannot be read.
        """
        with open(path, "rb") as file:
            data = file.read()
        if name is None:
            name = os.path.basename(os.fspath(path)).partition(".")[0]
        try:
            return cls.from_bytes(data, name=name)
        except FormatError as error:
            raise type(error)(f"{os.fsdecode(path)}: {error}") from None

    @classmethod
    def from_files(
        cls, paths: Iterable[str | os.PathLike[str]], *, name: str | None = None
    ) -> CollectionSpec:
        """The spec of several object files, linked as ``bpftool gen object`` links them.

        What one declares ``extern`` another may define; see ``ebpf.elf.linker.link``, which makes
        an object file of them. `name` is the first file's name up to its first dot. Raises
        LinkError for files that do not fit together, and what from_file raises.
        """
        if isinstance(paths, (str, bytes, os.PathLike)):
            raise TypeError(f"paths is one path, {paths!r}; give a list, or use from_file")
        from ebpf.elf.linker import link

        files = [os.fspath(path) for path in paths]
        contents = []
        for path in files:
            with open(path, "rb") as file:
                contents.append((path, file.read()))
        data = link(contents)
        if name is None:
            name = os.path.basename(files[0]).partition(".")[0]
        return cls.from_bytes(data, name=name)

    @classmethod
    def from_bytes(cls, data: bytes, *, name: str = "") -> CollectionSpec:
        """As from_file, for the contents of an object file."""
        if isinstance(data, str):
            raise TypeError(f"data: {data!r} is a str, not bytes; a file is read by from_file")
        from ebpf.elf.object import parse

        return parse(bytes(data), name)

    def __repr__(self) -> str:
        parts = [
            f"{label}={list(names)}"
            for label, names in (
                ("programs", self.programs),
                ("maps", self.maps),
                ("variables", self.variables),
                ("externs", self.externs),
            )
            if names
        ]
        return f"<CollectionSpec {self.name!r}: {', '.join(parts) or 'empty'}>"

    def copy(self) -> CollectionSpec:
        """A spec that can be changed without changing this one; the BTF is shared."""
        copies = {id(spec): spec.copy() for spec in self.maps.values()}
        return replace(
            self,
            programs={key: replace(spec) for key, spec in self.programs.items()},
            maps={key: copies[id(spec)] for key, spec in self.maps.items()},
            variables={
                key: replace(spec, map=copies.get(id(spec.map)) or spec.map.copy())
                for key, spec in self.variables.items()
            },
            functions={key: replace(spec) for key, spec in self.functions.items()},
            externs={key: replace(spec) for key, spec in self.externs.items()},
            btf_fixups=self.btf_fixups.copy(),
        )

    def select(self, *names: str) -> None:
        """Turns ``autoload`` on for these programs and off for all others.

        Raises KeyError for a name that is no program.
        """
        missing = [name for name in names if name not in self.programs]
        if missing:
            there = ", ".join(self.programs) or "none"
            raise KeyError(f"no program {missing[0]!r} in {self.name!r}; its programs: {there}")
        for name, program in self.programs.items():
            program.autoload = name in names

    def check(self) -> None:
        """Raises ElfError for what cannot be loaded and can be said without a kernel.

        A program without a type, fields of a legacy map definition that nobody knows, the byte
        order of another machine. Raises LinkError for a program that uses an extern of another
        object.
        """
        if self.byte_order != sys.byteorder:
            raise ElfError(
                f"{self.name!r} was compiled for {self.byte_order}-endian machines; compile it "
                f"with -target {'bpfel' if sys.byteorder == 'little' else 'bpfeb'}"
            )
        undefined = self._undefined()
        for name, program in self.programs.items():
            if not program.autoload:
                continue
            if program.type is ProgramType.UNSPEC:
                raise ElfError(
                    f"program {name!r}: its section {program.section!r} says no program type; "
                    f"set spec.programs[{name!r}].type, or autoload = False"
                )
            if program.function in undefined:
                raise LinkError(
                    f"program {name!r} uses {undefined[program.function]!r}, which another object "
                    "has; link both: CollectionSpec.from_files([...])"
                )
        for name, spec in self.maps.items():
            if spec.extra:
                raise ElfError(
                    f"map {name!r}: its definition in section {spec.section!r} has unknown fields "
                    f"that are not zero ({spec.extra[:16].hex()}); clear spec.maps[{name!r}].extra"
                )

    def _undefined(self) -> dict[str, str]:
        """{function: an extern of another object that it or a function that it calls uses}."""
        undefined = {k for k, extern in self.externs.items() if extern.kind is ExternKind.UNDEFINED}
        if not undefined:
            return {}
        # Several names of one function share its relocations, which are looked at once.
        shared = {key: id(function.relocations) for key, function in self.functions.items()}
        callers: dict[int, list[int]] = {}
        found: dict[int, str] = {}
        for function in {id(f.relocations): f for f in self.functions.values()}.values():
            user = id(function.relocations)
            for relocation in function.relocations:
                if relocation.kind in _FUNCTIONS and relocation.target in shared:
                    callers.setdefault(shared[relocation.target], []).append(user)
                elif relocation.kind in _EXTERNS and relocation.target in undefined:
                    found.setdefault(user, relocation.target)
        pending = list(found)
        while pending:
            used = pending.pop()
            for user in callers.get(used, ()):
                if user not in found:
                    found[user] = found[used]
                    pending.append(user)
        return {key: found[user] for key, user in shared.items() if user in found}

    def load(self, **options: Any) -> Collection:
        """Creates the maps and loads the programs; see ebpf.Collection.load for the options."""
        from ebpf.collection import Collection

        return Collection.load(self, **options)
