"""Loading the programs of a Spec whose maps exist."""

from __future__ import annotations

import array
import os

from ebpf import opcodes as op
from ebpf._sys import bpf
from ebpf._sys.arguments import c_string
from ebpf.btf.core import Relocator
from ebpf.btf.ext import INSTRUCTION_SIZE, CoreRelocation
from ebpf.collection.arena import data_offset
from ebpf.collection.explain import explain
from ebpf.collection.externs import Externs
from ebpf.collection.image import Image, Load
from ebpf.collection.maps import create_jump_table
from ebpf.collection.target import AttachTarget, find_attach_target
from ebpf.errors import RelocationError, VerifierError
from ebpf.programs import Program
from ebpf.programs.load import Loading, newest
from ebpf.spec import ExternKind
from ebpf.types import MapType, ProgramType
from ebpf.verifier import Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ebpf.collection.image import Call
    from ebpf.collection.tags import Tags
    from ebpf.maps import Map
    from ebpf.programs.kernel_types import KernelTypes
    from ebpf.spec import CollectionSpec, FunctionSpec, ProgramSpec

KCONFIG_MAP = ".kconfig"


class ProgramLoader:
    """Loads programs one by one; what they share is found once.

    `maps` are the maps that exist, by key. `targets` are the BPF programs that programs attach
    to, `members` what the programs of struct_ops maps are loaded for, both by key of the program.
    `tags` is what the object's BTF says of its functions.
    """

    def __init__(
        self,
        spec: CollectionSpec,
        kernel: KernelTypes,
        maps: Mapping[str, Map[Any, Any]],
        btf_fd: int,
        targets: Mapping[str, Program],
        members: Mapping[str, AttachTarget],
        tags: Tags,
    ) -> None:
        self._spec = spec
        self._kernel = kernel
        self._maps = maps
        self._btf_fd = btf_fd
        self._given_targets = targets
        self._members = members
        self._tags = tags
        self._externs = Externs(spec, kernel)
        self._relocator: Relocator | None = None
        self._code: dict[str, bytes] = {}
        # Descriptors of the jump tables of the program that is being loaded.
        self._tables: dict[tuple[int, ...], int] = {}
        # By key of a function: its CO-RE relocations that nothing in the kernel answers to.
        self._poisoned: dict[str, list[CoreRelocation]] = {}

    def load(self, name: str, program: ProgramSpec, log_level: int, log_size: int) -> Program:
        """Raises VerifierError, and RelocationError for what the kernel does not have."""
        try:
            return self._load(name, program, log_level, log_size)
        finally:
            # The program holds the tables that it uses.
            for fd in self._tables.values():
                os.close(fd)
            self._tables.clear()

    def _load(self, name: str, program: ProgramSpec, log_level: int, log_size: int) -> Program:
        image = Image(self._spec, program, self, *self._tags)
        target = self._attach_target(name, program)
        request = {**self._request(program, target), **self._code_and_records(image)}
        needs = newest(program.type, program.flags, program.attach_type)
        loading = Loading(request, name, needs, image.source)
        try:
            fd, log = loading.load(log_level, log_size)
        except VerifierError as error:
            raise self._explained(error, loading, image) from error
        named = program.target if program.btf_target else ""
        loaded = Program._owning(fd, program.type, name, log, program, program.attach_type, named)
        try:
            self._bind_constants(fd)
        except BaseException:
            loaded.close()
            raise
        return loaded

    def _attach_target(self, name: str, program: ProgramSpec) -> AttachTarget:
        if program.type != ProgramType.STRUCT_OPS:
            return find_attach_target(program, self._kernel, self._given_targets.get(name))
        if name not in self._members:
            raise RelocationError(
                f"program {name!r}: no struct_ops map uses it; set"
                f" spec.programs[{name!r}].autoload = False"
            )
        return self._members[name]

    def _request(self, program: ProgramSpec, target: AttachTarget) -> dict[str, Any]:
        expected = program.attach_type or 0 if target.member is None else target.member
        return {
            "prog_type": program.type,
            "license": c_string("license", self._spec.license) + b"\0",
            "kern_version": self._spec.kernel_version,
            "prog_flags": int(program.flags),
            "prog_name": program.kernel_name.encode("utf-8", "surrogateescape"),
            "expected_attach_type": int(expected),
            "attach_btf_id": target.btf_id,
            "attach_prog_fd": target.fd,
        }

    def _code_and_records(self, image: Image) -> dict[str, Any]:
        func_info = image.func_info if self._btf_fd else b""
        line_info = image.line_info if func_info else b""
        return {
            "insns": bytes(image.code),
            "prog_btf_fd": self._btf_fd if func_info else 0,
            "func_info": func_info,
            "func_info_rec_size": 8 if func_info else 0,
            "func_info_cnt": len(func_info) // 8,
            "line_info": line_info,
            "line_info_rec_size": 16 if line_info else 0,
            "line_info_cnt": len(line_info) // 16,
            "fd_array": array.array("i", self._externs.fd_array).tobytes(),
        }

    def _bind_constants(self, fd: int) -> None:
        """Have the program keep all constants, used or not: bpftool shows some as metadata."""
        for name, spec in self._spec.maps.items():
            if spec.data and spec.frozen and name != KCONFIG_MAP and name in self._maps:
                bpf.prog_bind_map(fd, self._maps[name].fileno())

    def _explained(self, error: VerifierError, loading: Loading, image: Image) -> VerifierError:
        """The error with what this library knows of the instructions that it poisoned.

        In place of the verifier's reason, which is a number that this library made up.
        """
        name = loading.name
        cause = explain(error.log, image, self._relocator, self._poisoned, self._spec, name)
        if not cause:
            return error
        return VerifierError(
            error.errno or 0,
            f"{loading.action}: {Refusal(cause, error.instruction, '', error.source)}",
            error.log,
            program=name,
            instruction=error.instruction,
            source=error.source,
        )

    def _relocated(self, name: str, function: FunctionSpec) -> bytes:
        """The instructions of the function of that key with its CO-RE relocations applied."""
        if not function.core_relocations:
            return function.code
        code = bytearray(function.code)
        for relocation in function.core_relocations:
            slot = relocation.insn_offset // INSTRUCTION_SIZE
            if self._core().apply(code, relocation, slot).poison:
                self._poisoned.setdefault(name, []).append(relocation)
        return bytes(code)

    def _core(self) -> Relocator:
        if self._relocator is None:
            assert self._spec.btf is not None
            targets: Any = self._kernel
            self._relocator = Relocator(self._spec.btf, targets)
        return self._relocator

    # What Image asks for (image.Targets).

    def function_code(self, name: str) -> bytes:
        code = self._code.get(name)
        if code is None:
            code = self._code[name] = self._relocated(name, self._spec.functions[name])
        return code

    def map_fd(self, name: str) -> int | None:
        made = self._maps.get(name)
        return None if made is None else made.fileno()

    def map_number(self, name: str) -> int:
        if name not in self._spec.maps:
            raise RelocationError(
                f"a program uses the map {name!r}, which was taken out of spec.maps; to load"
                " without it keep it there, with autocreate = False"
            )
        return list(self._spec.maps).index(name)

    def data_offset(self, name: str) -> int:
        spec = self._spec.maps.get(name)
        # One that is not there is told by map_number.
        return data_offset(spec) if spec is not None and spec.type == MapType.ARENA else 0

    def extern(self, name: str) -> Load:
        extern = self._spec.externs[name]
        if extern.kind is ExternKind.KCONFIG:
            fd = self.map_fd(KCONFIG_MAP)
            if fd is None:
                raise RelocationError(
                    f"extern {name}: its map {KCONFIG_MAP!r} was not created (autocreate is off)"
                )
            return Load(op.PSEUDO_MAP_VALUE, fd, extern.offset)
        return self._externs.address(name)

    def kfunc(self, name: str) -> Call:
        return self._externs.call(name)

    def jump_table(self, slots: tuple[int, ...]) -> int:
        if slots not in self._tables:
            self._tables[slots] = create_jump_table(slots)
        return self._tables[slots]
