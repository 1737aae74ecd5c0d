"""From a Spec to kernel objects: BTF, maps, programs, and what the maps hold of programs."""

from __future__ import annotations

import os
import warnings

from ebpf._sys.closing import close_all
from ebpf.btf import Btf
from ebpf.collection.arena import ArenaMemory
from ebpf.collection.btf import knows_context_tags, load_btf
from ebpf.collection.externs import check_options, kconfig_bytes, with_given
from ebpf.collection.maps import check_compatible, check_definition, create_map, new_map, pin_path
from ebpf.collection.programs import KCONFIG_MAP, ProgramLoader
from ebpf.collection.struct_ops import KernelStruct, kernel_structs, struct_ops_targets
from ebpf.collection.tags import Tags, exception_callbacks, give_contexts, tags_contexts
from ebpf.collection.variables import DataMemory
from ebpf.errors import (
    BpfError,
    BpfPermissionError,
    ElfError,
    RelocationError,
)
from ebpf.kconfig import kernel_config
from ebpf.pin import unpin
from ebpf.programs import LOG_SIZE
from ebpf.programs.kernel_types import KernelTypes, external_btf
from ebpf.spec import ExternKind, ExternSpec, MapSpec
from ebpf.spec.members import Named
from ebpf.types import MapFlags, MapType

# Where programs find the arguments of USDT probes (libbpf's usdt.bpf.h).
USDT_MAP = "__bpf_usdt_specs"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from ebpf.collection.variables import Memory
    from ebpf.maps import Map
    from ebpf.programs import Program
    from ebpf.spec import CollectionSpec


class _Maps(Named["Map[Any, Any]"]):
    what = "map"


class _Programs(Named["Program"]):
    what = "program"


class Loader:
    """Loads one Spec. Whatever it has opened is in its attributes, for the Collection to own or,
    when something fails, for `close`."""

    def __init__(
        self,
        spec: CollectionSpec,
        *,
        maps: Mapping[str, Map[Any, Any]] | None = None,
        targets: Mapping[str, Program] | None = None,
        pin_root: str,
        kernel_btf: Btf | str | os.PathLike[str] | None = None,
        kconfig: Mapping[str, str | int | bool] | None = None,
        log_level: int = 0,
        log_size: int = LOG_SIZE,
    ) -> None:
        self.spec = spec
        self.maps: dict[str, Map[Any, Any]] = _Maps()
        self.memories: dict[str, Memory] = {}
        self.programs: dict[str, Program] = _Programs()
        self.structs: dict[str, KernelStruct] = {}
        self._given = dict(maps or {})
        # Maps that were pinned before, and the paths at which this load has pinned others.
        self._reused: set[str] = set()
        self._pins: list[str] = []
        self._targets = dict(targets or {})
        self._pin_root = pin_root
        self._kernel = KernelTypes(None if kernel_btf is None else external_btf(kernel_btf))
        self._kconfig = kconfig or {}
        self._log = (log_level, log_size)
        self._btf_fd = 0
        self._btf: Btf | None = None
        self._tags = Tags({}, {})

    def load(self) -> None:
        """Create and load everything. Raises what the first failure raises; nothing is closed."""
        _check_names("maps", self._given, self.spec.maps)
        _check_names("targets", self._targets, self.spec.programs)
        check_options(self._kconfig, self._options())
        self._check_maps()
        self._load_btf()
        self._fill_kconfig()
        self.structs = kernel_structs(self.spec, self._kernel)
        for name, spec in self.spec.maps.items():
            if spec.autocreate:
                self._make_map(name, spec)
        self._load_programs()
        for name, spec in self.spec.maps.items():
            self._fill_slots(name, spec)

    def finish(self) -> None:
        """Give back what was needed for loading only."""
        if self._btf_fd:
            os.close(self._btf_fd)
            self._btf_fd = 0
        self._kernel.close()

    def close(self) -> None:
        """Close everything that was opened; maps that the caller gave stay open."""
        owned = [map for name, map in self.maps.items() if name not in self._given]
        try:
            self.finish()
        finally:
            close_all([*self.programs.values(), *self.memories.values(), *owned])

    def undo(self) -> None:
        """Close everything, and remove the pins that were made: the next load starts anew."""
        close_all([*map(_Pin, self._pins), self])

    def _load_btf(self) -> None:
        if self.spec.btf is None:
            return
        editor = self.spec.btf_fixups.apply(self.spec.btf)
        self._tags.callbacks.update(exception_callbacks(self.spec))
        if _gives_contexts(self.spec.btf):
            self._tags.types.update(give_contexts(self.spec, editor, self._tags.callbacks))
        data = editor.to_bytes()
        self._btf = Btf(data)
        try:
            self._btf_fd = load_btf(data)
        except BpfError as error:
            # As libbpf does: programs and most maps work without their types.
            if any(map.struct_ops and map.autocreate for map in self.spec.maps.values()):
                raise
            # Who may load a socket filter need not be who may load BTF (CAP_BPF).
            if isinstance(error, BpfPermissionError):
                return
            warnings.warn(
                f"the kernel refuses the object's BTF, loading goes on without it: {error}",
                RuntimeWarning,
                stacklevel=2,
            )

    def _check_maps(self) -> None:
        """Before anything is made: what no kernel takes of the maps that are to be created."""
        for name, spec in self.spec.maps.items():
            if spec.autocreate and name not in self._given and spec.type != MapType.STRUCT_OPS:
                check_definition(name, spec)

    def _options(self) -> list[ExternSpec]:
        """The kernel options that the object asks for."""
        return [e for e in self.spec.externs.values() if e.kind is ExternKind.KCONFIG]

    def _fill_kconfig(self) -> None:
        externs = self._options()
        if not externs or KCONFIG_MAP in self._given:
            return
        needed = {e.name for e in externs if e.name.startswith("CONFIG_")} - set(self._kconfig)
        options = with_given(kernel_config() if needed else {}, self._kconfig, externs)
        for extern in externs:
            value = kconfig_bytes(extern, options)
            self.spec.maps[KCONFIG_MAP].write(extern.offset, value)

    def _make_map(self, name: str, spec: MapSpec) -> None:
        given = self._given.get(name)
        created = False
        if given is not None:
            check_compatible(spec, given.info(), f"{given!r}, given for it,")
            self.maps[name] = given
        elif name in self.structs:
            fd = self.structs[name].create(self._btf_fd)
            self.maps[name] = new_map(fd, spec, len(self.structs[name].value), None, None)
        else:
            self.maps[name], created = create_map(spec, self._btf, self._btf_fd, self._pin_root)
            path = pin_path(spec, self._pin_root)
            if not created:
                self._reused.add(name)
            elif path is not None:
                self._pins.append(path)
        if spec.data:
            self._fill_data(name, spec, created)
        elif spec.type == MapType.ARENA and created:
            self.memories[name] = ArenaMemory(self.maps[name], spec)

    def _fill_data(self, name: str, spec: MapSpec, created: bool) -> None:
        """Write the values of variables, and map them. What was there before stays as it is."""
        made = self.maps[name]
        if created and spec.contents is not None:
            entry: Any = made
            if len(spec.contents) > spec.value_size:
                raise ElfError(
                    f"map {name!r}: its variables have {len(spec.contents)} bytes, value_size is"
                    f" {spec.value_size}; data can grow, not shrink"
                )
            entry[0] = bytes(spec.contents).ljust(spec.value_size, b"\0")
        # For ever: whoever has given a map, or has just made and pinned it, may want to write it.
        if created and spec.frozen:
            made.freeze()
        flags = MapFlags(spec.flags) if created else made.info().flags
        if flags & MapFlags.MMAPABLE:
            self.memories[name] = DataMemory(made, spec.value_size, writable=not spec.frozen)

    def _load_programs(self) -> None:
        members = struct_ops_targets(self.structs)
        loader = ProgramLoader(
            self.spec,
            self._kernel,
            self.maps,
            self._btf_fd,
            self._targets,
            members,
            self._tags,
        )
        for name, program in self.spec.programs.items():
            if program.autoload:
                self.programs[name] = loader.load(name, program, *self._log)
        if USDT_MAP in self.maps and self._btf is not None:
            from ebpf.links.usdt import IDS_MAP, UsdtSpecs

            specs = UsdtSpecs(self.maps[USDT_MAP], self.maps.get(IDS_MAP), self._btf)
            for loaded in self.programs.values():
                loaded.usdt_specs = specs

    def _fill_slots(self, name: str, spec: MapSpec) -> None:
        """What the object puts into a map of maps or a program array."""
        holder: Any = self.maps.get(name)
        if holder is None or name in self._given:
            return
        # As libbpf does: maps in a map that was there are somebody's, tail calls are this object's.
        if name in self._reused and spec.type != MapType.PROG_ARRAY:
            return
        for index, target in spec.slots.items():
            value = self.maps.get(target) or self.programs.get(target)
            if value is None and target in self.spec.maps:
                raise RelocationError(
                    f"map {name!r}: slot {index} is for the map {target!r}, which was not created"
                    f" (autocreate is off); leave it out of spec.maps[{name!r}].slots"
                )
            # A program that was not to be loaded leaves its slot empty.
            if value is not None:
                holder.put(index, value)


class _Pin:
    """The pin of a map that was made, until the load has failed."""

    def __init__(self, path: str) -> None:
        self._path = path

    def close(self) -> None:
        try:
            unpin(self._path)
        except FileNotFoundError:
            return  # somebody else has removed it already


def _gives_contexts(btf: Btf) -> bool:
    """Whether tagged parameters need the types of contexts, for a kernel that goes by types."""
    if not tags_contexts(btf):
        return False
    try:
        return not knows_context_tags()
    except BpfPermissionError:
        return True  # kernels that know tags take the types as well


def _check_names(option: str, given: Iterable[str], there: Iterable[str]) -> None:
    unknown = set(given) - set(there)
    if unknown:
        raise KeyError(
            f"{option}: the object has no {min(unknown)!r}; it has {', '.join(there) or 'none'}"
        )
