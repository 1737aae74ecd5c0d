"""From a Spec to kernel objects: BTF, maps, externs, relocations, programs."""

from __future__ import annotations

import os
import warnings

from ebpf.btf import Btf
from ebpf.btf.core import Relocator
from ebpf.btf.ext import INSTRUCTION_SIZE, CoreRelocation
from ebpf.collection.btf import load_btf
from ebpf.collection.externs import Externs, kconfig_bytes
from ebpf.collection.image import Image
from ebpf.collection.kernel import KernelTypes
from ebpf.collection.maps import check_compatible, create_map
from ebpf.collection.target import find_attach_target
from ebpf.collection.variables import DataMemory
from ebpf.errors import RelocationError, VerifierError
from ebpf.kconfig import kernel_config, overridden
from ebpf.programs import LOG_SIZE, Program, _Loading, _newest
from ebpf.spec import ExternKind, MapSpec
from ebpf.types import MapFlags, MapType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ebpf.collection.image import Call, Load
    from ebpf.maps import Map
    from ebpf.spec import CollectionSpec, FunctionSpec, ProgramSpec

KCONFIG_MAP = ".kconfig"


class Loader:
    """Loads one Spec. Whatever it has opened is in its attributes, for the Collection to own or,
    when something fails, for `close`."""

    def __init__(
        self,
        spec: CollectionSpec,
        *,
        maps: Mapping[str, Map[Any, Any]] | None = None,
        pin_root: str,
        kernel_btf: Btf | None = None,
        kconfig: Mapping[str, str | int | bool] | None = None,
        log_level: int = 0,
        log_size: int = LOG_SIZE,
    ) -> None:
        self.spec = spec
        self.maps: dict[str, Map[Any, Any]] = {}
        self.memories: dict[str, DataMemory] = {}
        self.programs: dict[str, Program] = {}
        self._given = dict(maps or {})
        self._pin_root = pin_root
        self._kernel = KernelTypes(kernel_btf)
        self._kconfig = kconfig or {}
        self._log = (log_level, log_size)
        self._btf_fd = 0
        self._btf: Btf | None = None
        self._externs = Externs(spec, self._kernel)
        self._code: dict[str, bytes] = {}
        # By function: its CO-RE relocations that nothing in the kernel answers to.
        self._poisoned: dict[str, list[CoreRelocation]] = {}
        self._relocator: Relocator | None = None

    def load(self) -> None:
        """Create and load everything. Raises what the first failure raises; nothing is closed."""
        unknown = set(self._given) - set(self.spec.maps)
        if unknown:
            there = ", ".join(self.spec.maps) or "none"
            raise KeyError(f"maps: no map {min(unknown)!r} in the object; its maps: {there}")
        self._load_btf()
        self._fill_kconfig()
        for name, spec in self.spec.maps.items():
            if spec.autocreate and spec.type != MapType.STRUCT_OPS:
                self._make_map(name, spec)
        self._relocate_core()
        for name, program in self.spec.programs.items():
            if program.autoload:
                self.programs[name] = self._load_program(name, program)
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
        self.finish()
        for program in self.programs.values():
            program.close()
        for memory in self.memories.values():
            memory.close()
        for name, map in self.maps.items():
            if name not in self._given:
                map.close()

    def _load_btf(self) -> None:
        if self.spec.btf is None:
            return
        data = self.spec.btf_fixups.apply(self.spec.btf).to_bytes()
        self._btf = Btf(data)
        try:
            self._btf_fd = load_btf(data)
        except VerifierError as error:
            # As libbpf does: programs and most maps work without their types.
            warnings.warn(
                f"the kernel refuses the object's BTF, loading goes on without it: {error}",
                RuntimeWarning,
                stacklevel=2,
            )

    def _fill_kconfig(self) -> None:
        externs = [e for e in self.spec.externs.values() if e.kind is ExternKind.KCONFIG]
        if not externs or KCONFIG_MAP in self._given:
            return
        needed = {e.name for e in externs if e.name.startswith("CONFIG_")} - set(self._kconfig)
        options = overridden(kernel_config() if needed else {}, self._kconfig)
        for extern in externs:
            value = kconfig_bytes(extern, options)
            self.spec.maps[KCONFIG_MAP].write(extern.offset, value)

    def _make_map(self, name: str, spec: MapSpec) -> None:
        given = self._given.get(name)
        if given is not None:
            check_compatible(spec, given.info(), f"{given!r}, given for it,")
            self.maps[name] = given
        else:
            self.maps[name] = create_map(spec, self._btf, self._btf_fd, self._pin_root)
        if spec.data:
            self._fill_data(name, spec, fresh=given is None)

    def _fill_data(self, name: str, spec: MapSpec, fresh: bool) -> None:
        made = self.maps[name]
        info = made.info()
        if fresh and not info.frozen and (spec.contents is not None):
            entry: Any = made
            entry[0] = bytes(spec.contents)
        if spec.frozen and not info.frozen:
            made.freeze()
        if info.flags & MapFlags.MMAPABLE:
            self.memories[name] = DataMemory(made, spec.value_size, writable=not spec.frozen)

    def _fill_slots(self, name: str, spec: MapSpec) -> None:
        """What the object puts into a map of maps or a program array."""
        holder: Any = self.maps.get(name)
        if holder is None or name in self._given:
            return
        for index, target in spec.slots.items():
            value = self.maps.get(target) or self.programs.get(target)
            # A program that was not to be loaded leaves its slot empty.
            if value is not None:
                holder.put(index, value)

    def _relocate_core(self) -> None:
        """Apply the CO-RE relocations of all functions but the programs that are left out."""
        left_out = {p.function for p in self.spec.programs.values() if not p.autoload}
        for name, function in self.spec.functions.items():
            if name in left_out:
                continue
            code = bytearray(function.code)
            for relocation in function.core_relocations:
                self._apply(function, code, relocation)
            self._code[name] = bytes(code)

    def _apply(self, function: FunctionSpec, code: bytearray, relocation: CoreRelocation) -> None:
        if self._relocator is None:
            assert self.spec.btf is not None
            targets: Any = self._kernel
            self._relocator = Relocator(self.spec.btf, targets)
        slot = relocation.insn_offset // INSTRUCTION_SIZE
        result = self._relocator.apply(code, relocation, slot)
        if result.poison:
            self._poisoned.setdefault(function.name, []).append(relocation)

    def _load_program(self, name: str, program: ProgramSpec) -> Program:
        image = Image(self.spec, program, self)
        attach = find_attach_target(program, self._kernel)
        level, size = self._log
        func_info = image.func_info if self._btf_fd else b""
        line_info = image.line_info if func_info else b""
        request = {
            "prog_type": program.type,
            "insns": bytes(image.code),
            "license": self.spec.license.encode() + b"\0",
            "kern_version": self.spec.kernel_version,
            "prog_flags": int(program.flags),
            "prog_name": program.kernel_name.encode("utf-8", "surrogateescape"),
            "expected_attach_type": int(program.attach_type or 0),
            "prog_btf_fd": self._btf_fd if func_info else 0,
            "func_info": func_info,
            "func_info_rec_size": 8 if func_info else 0,
            "func_info_cnt": len(func_info) // 8,
            "line_info": line_info,
            "line_info_rec_size": 16 if line_info else 0,
            "line_info_cnt": len(line_info) // 16,
            "attach_btf_id": attach.btf_id,
            "attach_prog_fd": attach.fd,
            "fd_array": self._fd_array(),
        }
        try:
            needs = _newest(program.type, program.flags, program.attach_type)
            action = f"load the {program.type.name} program {name!r}"
            fd, log = _Loading(request, action, needs, None).load(level, size)
        except VerifierError as error:
            raise self._explained(error, name, image) from error
        return Program(fd, program.type, name, log, spec=program)

    def _fd_array(self) -> bytes:
        import array

        return array.array("i", self._externs.fd_array).tobytes()

    def _explained(self, error: VerifierError, name: str, image: Image) -> VerifierError:
        """The error with what this library knows of the instructions that it poisoned."""
        from ebpf.collection.explain import explain

        hint = explain(error.log, image, self._relocator, self._poisoned, self.spec, name)
        if not hint:
            return error
        return VerifierError(error.errno or 0, f"{error.strerror}; {hint}", error.log)

    # What Image asks for (image.Targets).

    def function_code(self, name: str) -> bytes:
        return self._code.get(name) or self.spec.functions[name].code

    def map_fd(self, name: str) -> int | None:
        made = self.maps.get(name)
        return None if made is None else made.fileno()

    def map_number(self, name: str) -> int:
        return list(self.spec.maps).index(name)

    def data_offset(self, name: str) -> int:
        if self.spec.maps[name].type == MapType.ARENA:
            raise RelocationError("globals in an arena are not supported yet")
        return 0

    def extern(self, name: str) -> Load | Call:
        extern = self.spec.externs[name]
        if extern.kind is ExternKind.KCONFIG:
            from ebpf.asm import opcodes as op
            from ebpf.collection.image import Load

            return Load(op.PSEUDO_MAP_VALUE, self.maps[KCONFIG_MAP].fileno(), extern.offset)
        return self._externs.find(name)
