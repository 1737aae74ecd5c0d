"""BPF_PROG_LOAD: from what is asked for to a descriptor, or to the error that explains best."""

from __future__ import annotations

import errno
import os

from ebpf._sys import bpf, check, facts
from ebpf._sys.arguments import check_numbers, check_objects
from ebpf.errors import BpfError, BpfPermissionError, NotSupportedError, VerifierError
from ebpf.maps.limits import check_name

# Imported here, as a process without a descriptor left can import nothing when it is refused.
from ebpf.programs.hints import hint
from ebpf.programs.signature import SIGNATURE_ERRORS, explained
from ebpf.programs.target import check_target, closed_hook, find_target
from ebpf.types import AttachType, ProgramFlags, ProgramType, one
from ebpf.verifier import missing_helper, refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from ebpf._sys import Descriptor
    from ebpf.asm import Assembly
    from ebpf.errors import Version
    from ebpf.links.base import HasFileno
    from ebpf.programs.portable import Portable
    from ebpf.programs.symbols import KernelSymbols


# The first verifier log buffer; it grows to what the log needs. Kernels before 6.4 take no buffer
# below the minimum, none takes one above the maximum (UINT_MAX >> 2).
LOG_SIZE = 1 << 16
MIN_LOG_SIZE = 128
MAX_LOG_SIZE = (1 << 30) - 1


def check_head(type: ProgramType, name: str, attach_type: AttachType | None) -> AttachType | None:
    """Refuse what is no type or name of a program; the attach type as one."""
    check_name(name)
    if not isinstance(type, ProgramType):
        raise TypeError(f"type: {type!r} is not an ebpf.ProgramType")
    if type.since is None or type == ProgramType.UNSPEC:
        raise ValueError(f"type: {type.name} is not a program type that this library knows")
    if attach_type is None:
        return None
    check_numbers(32, attach_type=attach_type)
    return AttachType(attach_type)


class Target:
    """What a program is for, for as long as it is being loaded.

    ``fields`` are those of BPF_PROG_LOAD that say it.
    """

    def __init__(
        self,
        attach_type: AttachType | None,
        attach_to: str,
        attach_btf_id: int,
        attach_btf: HasFileno | None,
        attach_program: HasFileno | None,
    ) -> None:
        if attach_program is not None and attach_btf is not None:
            raise TypeError("attach_program, attach_btf: a program attaches to one of them")
        if attach_to and (attach_btf_id or attach_btf is not None):
            raise TypeError("attach_to: a name, or attach_btf_id with attach_btf; not both")
        check_objects(attach_btf=attach_btf, attach_program=attach_program)
        check_target(attach_type, attach_to or attach_btf_id)
        self._module: Descriptor | None = None
        if attach_to:
            attach_btf_id, self._module = find_target(attach_type, attach_to, attach_program)
        owner = attach_program or attach_btf or self._module
        self.fields = {
            "attach_btf_id": attach_btf_id,
            "attach_prog_fd": 0 if owner is None else owner.fileno(),
        }

    def __enter__(self) -> dict[str, int]:
        return self.fields

    def __exit__(self, *exception: object) -> None:
        if self._module is not None:
            self._module.close()


# Where programs may sleep only since a release that is younger than the flag.
_SLEEPABLE_SINCE: dict[tuple[ProgramType, AttachType | None], Version] = {
    (ProgramType.TRACING, AttachType.TRACE_ITER): (5, 18),
    (ProgramType.KPROBE, None): (6, 0),
}


def newest(
    type: ProgramType, flags: ProgramFlags, attach_type: AttachType | None
) -> tuple[Version, str]:
    """The release that has everything asked for, and what of it came last."""
    dated = [(type.since, ""), (flags.since, f"the flag {flags}")]
    if attach_type is not None:
        dated.append((attach_type.since, f"the attach type {attach_type}"))
    if flags & ProgramFlags.SLEEPABLE:
        since = _SLEEPABLE_SINCE.get((type, attach_type), (0, 0))
        dated.append((since, "the flag SLEEPABLE"))
    # What has no name here has no release either.
    return max((since, what) for since, what in dated if since is not None)


# Their functions may be without a result.
_MAY_RETURN_NOTHING = {ProgramType.LSM, ProgramType.STRUCT_OPS}


def code_of(
    insns: bytes | Assembly | Iterable[Any],
    maps: Mapping[str, HasFileno] | None,
    symbols: KernelSymbols,
    type: ProgramType,
) -> tuple[bytes, Assembly | None]:
    if isinstance(insns, (bytes, bytearray, memoryview)):
        if maps:
            raise TypeError("maps: the bytes of insns name no maps")
        code = bytes(insns)
        if not code or len(code) % 8:
            raise ValueError(
                f"insns: {len(code)} bytes is no whole number of 8-byte instructions, 1 or more"
            )
        return code, None
    from ebpf import asm

    if isinstance(insns, asm.Assembly):
        assembly = insns
    else:
        from ebpf.asm.check import check

        assembly = asm.assemble(insns, check=False)
        # What replaces a function has its arguments, other programs the context.
        arguments = 5 if type == ProgramType.EXT else 1
        check(assembly, returns=type not in _MAY_RETURN_NOTHING, arguments=arguments)
    descriptors = {name: map.fileno() for name, map in (maps or {}).items()}
    return assembly.resolve(descriptors, symbols.find), assembly


def fitted(assembly: Assembly | None, code: bytes) -> Portable | None:
    """The program by this kernel's types, where it has instructions that depend on them."""
    if assembly is None:
        return None
    from ebpf.asm.relocated import Relocated

    if not any(isinstance(one, Relocated) for one in assembly.instructions):
        return None
    from ebpf.programs.portable import Portable

    return Portable(assembly, code)


class SourceInfo:
    """The lines of Python that a program comes from, for as long as it is being loaded.

    ``fields`` are those of BPF_PROG_LOAD that tell the kernel; empty where the program does not
    come from `ebpf.asm`, or this process may not load BTF (CAP_BPF), which others may.
    """

    def __init__(self, assembly: Assembly | None, name: str) -> None:
        self.fields: dict[str, Any] = {}
        self._fd = -1
        if assembly is None:
            return
        from ebpf.asm.lines import debug_info

        info = debug_info(assembly, name)
        self._fd, _ = bpf.btf_load(info.btf)
        if self._fd == -errno.EPERM:
            return
        self.fields = {
            "prog_btf_fd": check(self._fd, "load the program's BTF"),
            "func_info": info.func_info,
            "func_info_rec_size": 8,
            "func_info_cnt": len(info.func_info) // 8,
            "line_info": info.line_info,
            "line_info_rec_size": 16,
            "line_info_cnt": len(info.line_info) // 16,
        }

    def __enter__(self) -> dict[str, Any]:
        return self.fields

    def __exit__(self, *exception: object) -> None:
        # The program holds it from now on.
        if self._fd >= 0:
            os.close(self._fd)


class Loading:
    """One program on its way into the kernel, by as many BPF_PROG_LOAD as its log takes."""

    def __init__(
        self,
        request: dict[str, Any],
        name: str,
        needs: tuple[Version, str],
        source: Callable[[int], str] | None = None,
    ) -> None:
        kind = request["prog_type"]
        self.request = request
        self.name = name
        self.action = (
            f"load the {kind.name} program {name!r}" if name else f"load {one(kind)} program"
        )
        self.needs = needs
        self.source = source

    def load(self, level: int, size: int) -> tuple[int, str]:
        """The descriptor and the log, or the exception that explains best."""
        loaded = self._try(level, size)
        if loaded.result < 0 and not level:
            loaded = self._try(1, size)
        log = loaded.log.decode("utf-8", "replace")
        # Newer kernels write a log of signatures, too, which has the number only.
        of_signature = "signature" in self.request and -loaded.result in SIGNATURE_ERRORS
        if loaded.result < 0 and log.strip() and not of_signature:
            raise self._refused(-loaded.result, log)
        if loaded.result == -errno.EPERM:
            self._check_hook()
        return self._checked(loaded), log

    def _checked(self, loaded: bpf.LoadResult) -> int:
        try:
            return loaded.checked(self.action, *self.needs)
        except BpfError as error:
            if "signature" not in self.request:
                raise
            raise explained(error, self.action) from None

    def _check_hook(self) -> None:
        """Raise where the kernel refuses the hook to everybody, whatever the capabilities."""
        type, attach_type = self.request["prog_type"], self.request["expected_attach_type"]
        if closed_hook(type, attach_type):
            raise BpfPermissionError(
                errno.EPERM,
                f"{self.action}: this kernel refuses programs of this kind, though the process may"
                " load others; attach to tracepoints (tp_btf, raw_tp) or kprobes, `python -m ebpf"
                " doctor` says what there is",
            )

    def _try(self, level: int, size: int) -> bpf.LoadResult:
        """Load with a log that is whole, where `level` asks for one."""
        if not level:
            return bpf.prog_load(**self.request)
        size = min(max(size, MIN_LOG_SIZE), MAX_LOG_SIZE)
        while True:
            loaded = bpf.prog_load(size, level, **self.request)
            # A log that does not fit is ENOSPC, whether the program was accepted or not.
            truncated = loaded.result == -errno.ENOSPC and len(loaded.log) >= size - 1
            if not truncated or size == MAX_LOG_SIZE:
                return loaded
            # Each attempt verifies anew, so where the kernel does not say what it needs (before
            # 6.4) a few big steps are better than many small ones.
            wanted = loaded.log_size if loaded.log_size > size else 8 * size
            size = min(wanted, MAX_LOG_SIZE)

    def _refused(self, code: int, log: str) -> BpfError:
        found = refusal(log, self.source)
        advice = hint(found.reason)
        refused = VerifierError(
            code,
            f"{self.action}: {found}{advice and '; '}{advice}",
            log,
            program=self.name,
            instruction=found.slot,
            source=found.source,
        )
        since, what = self.needs[0], f"{self.action} with {self.needs[1]}"
        helper = missing_helper(log)
        if helper is not None:
            since, what = helper.since, f"{self.action}: the helper {helper.name.lower()}"
        elif found.slot is not None:
            # Of what the kernel does not know it says so before it looks at instructions, or
            # passes over it, as over the attach types of many program types.
            return refused
        if since <= facts.kernel_version():
            return refused
        missing = NotSupportedError(what, since, code)
        missing.__cause__ = refused
        return missing


def source_of(assembly: Assembly | None) -> Callable[[int], str] | None:
    """Which line of Python made the instruction at a slot, where that is known."""
    if assembly is None:
        return None
    positions = assembly.positions

    def source(slot: int) -> str:
        position = positions[slot] if slot < len(positions) else None
        return "" if position is None else str(position)

    return source
