"""Programs as kernel objects."""

from __future__ import annotations

import errno
import os

from ebpf import pin
from ebpf._sys import bpf, lib
from ebpf._sys.arguments import c_string, check_numbers, check_objects
from ebpf._sys.call import fail
from ebpf.errors import BpfError, VerifierError
from ebpf.info import ProgramInfo
from ebpf.programs import run
from ebpf.programs.attaching import Attaching
from ebpf.programs.load import (
    LOG_SIZE,
    Loading,
    SourceInfo,
    Target,
    check_head,
    code_of,
    fitted,
    newest,
    source_of,
)
from ebpf.programs.signature import signature_fields
from ebpf.programs.symbols import KernelSymbols
from ebpf.token import used
from ebpf.types import AttachType, ProgramFlags, ProgramType, TestRunFlags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from typing_extensions import Self

    from ebpf.asm import Assembly
    from ebpf.links.base import HasFileno
    from ebpf.programs.run import TestRun
    from ebpf.spec import ProgramSpec
    from ebpf.token import Token


class Program(Attaching):
    """A loaded BPF program.

    It owns the links that its ``attach_`` methods return: dropping such a link does not detach
    it, closing the program does. When the program and its links are all dropped without having
    been closed, Python collects them, which detaches; a link that somebody still holds stays
    attached. A context manager; warns (ResourceWarning) when it is collected while open.
    """

    type: ProgramType
    name: str

    #: What the verifier wrote, where `load` was told to ask for it.
    log: str
    #: What the program was loaded from, where that was an object file.
    spec: ProgramSpec | None
    #: The hook that it was verified for; None where it is for none, or was not loaded here.
    attach_type: AttachType | None

    def __init__(self, *arguments: object, **options: object) -> None:
        name = self.__class__.__name__
        raise TypeError(
            f"{name}(...) makes no program: {name}.load(...) does; one that is loaded comes from"
            f" {name}.open(path), {name}.from_id(id) or {name}.from_fd(fd)"
        )

    @classmethod
    def _owning(
        cls,
        fd: int,
        type: ProgramType,
        name: str,
        log: str = "",
        spec: ProgramSpec | None = None,
        attach_type: AttachType | None = None,
        attach_to: str = "",
    ) -> Self:
        """The object for a program whose descriptor is then its own."""
        made = cls.__new__(cls)
        made.type = type
        made.name = name
        made.log = log
        made.spec = spec
        made.attach_type = attach_type
        made.attach_to = attach_to
        Attaching.__init__(made, fd)
        return made

    @classmethod
    def load(
        cls,
        type: ProgramType,
        insns: bytes | Assembly | Iterable[Any],
        *,
        license: str = "",
        name: str = "",
        attach_type: AttachType | None = None,
        maps: Mapping[str, HasFileno] | None = None,
        flags: ProgramFlags | int = 0,
        attach_to: str = "",
        attach_btf_id: int = 0,
        attach_btf: HasFileno | None = None,
        attach_program: HasFileno | None = None,
        btf: HasFileno | None = None,
        ifindex: int = 0,
        token: Token | None = None,
        signature: bytes | None = None,
        keyring: int = 0,
        log_level: int = 0,
        log_size: int = LOG_SIZE,
    ) -> Self:
        """Load a program (BPF_PROG_LOAD).

        The first try asks for no log, which is fastest; when the kernel refuses the program,
        it is loaded again with a log buffer that grows until the log fits.

        Args:
            type: the program type.
            insns: what `ebpf.asm` functions return, which is checked for what every kernel
                refuses; an `asm.Assembly` (``asm.assemble(..., check=False)`` is not checked); or
                the bytes of ``struct bpf_insn``.
            license: "GPL", "Dual MIT/GPL", ...: some helpers are for GPL-compatible programs only.
            name: up to 15 characters of ``[A-Za-z0-9_.]``.
            attach_type: for types that are verified for one hook (expected_attach_type).
            maps: for map references by name.
            attach_to: for programs that know their target from the start: a kernel function
                (fentry, fexit, fmod_ret), an LSM hook, a tracepoint (TRACE_RAW_TP), an iterator,
                or a function of `attach_program`. What the kernel itself does not have is looked
                for in its modules (5.11); ``"nf_nat:nf_nat_setup_info"`` names the module.
            attach_program: the program to attach to, in place of the kernel.
            attach_btf_id, attach_btf: the same by number, and the BTF of the module that has it.
            btf: BTF for the program; without it, one of `ebpf.asm` gets BTF that says which line
                of Python made each instruction.
            token: lets a process in a user namespace load the program (6.9); see `ebpf.Token`.
            signature: a detached PKCS#7 message (DER) over the instructions as they are loaded,
                ``assembly.resolve()``, without attributes: what ``openssl cms -sign -binary
                -noattr -outform DER`` makes (6.18).
            keyring: where the signer's certificate is: the serial of a keyring, a KEY_SPEC_*
                (below 0) for one of the process's, or 0, 1, 2 for the kernel's trusted keys, those
                with the secondary ones, those of the platform.
            log_level: 1, 2 or 4 (BPF_LOG_*): ask for a log at the first try; it is then in `log`.
            log_size: bytes of the first log buffer, 128 or more.

        Raises:
            VerifierError: the message is the line that explains, `log` is everything.
            NotSupportedError: the kernel does not know this program type, flag, field or helper.
            BpfFileNotFoundError: there is no `attach_to`; the message has the nearest names.
            BpfPermissionError: the message lists the facts.
            RelocationError: the program uses types that the kernel does not have.
            AsmError, ValueError, TypeError: an argument that no kernel takes.
        """
        attach_type = check_head(type, name, attach_type)
        check_numbers(32, flags=flags, attach_btf_id=attach_btf_id, ifindex=ifindex)
        check_numbers(32, log_level=log_level, log_size=log_size)
        check_objects(btf=btf)
        with used(token), KernelSymbols() as symbols:
            code, assembly = code_of(insns, maps, symbols, type)
            portable = fitted(assembly, code)
            request = {
                "prog_type": type,
                "insns": portable.code if portable else code,
                "fd_array": symbols.fd_array(),
                "license": c_string("license", license) + b"\0",
                "prog_name": name.encode("ascii"),
                "prog_flags": int(flags),
                "expected_attach_type": int(attach_type or 0),
                "prog_btf_fd": 0 if btf is None else btf.fileno(),
                "prog_ifindex": ifindex,
                **signature_fields(signature, keyring),
            }
            needs = newest(type, ProgramFlags(flags), attach_type)
            # Of a function that replaces another the kernel compares the types: nobody gave them.
            described = btf is None and type is not ProgramType.EXT
            with (
                Target(attach_type, attach_to, attach_btf_id, attach_btf, attach_program) as target,
                SourceInfo(assembly if described else None, name) as source,
            ):
                request.update(target)
                request.update(source)
                loading = Loading(request, name, needs, source_of(assembly))
                try:
                    fd, log = loading.load(log_level, log_size)
                except VerifierError as error:
                    if portable is None:
                        raise
                    raise portable.explained(error) from error
        return cls._owning(fd, type, name, log, attach_type=attach_type, attach_to=attach_to)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Open the program pinned at `path` (BPF_OBJ_GET).

        Raises:
            BpfFileNotFoundError: nothing is pinned there.
            BpfError: the path is on no bpffs, or another kind of object is pinned there.
        """
        return cls._adopt(pin.open_pinned(path, "program"), f"program pinned at {os.fspath(path)}")

    @classmethod
    def from_id(cls, id: int) -> Self:
        """Open the program with the kernel's id `id` (BPF_PROG_GET_FD_BY_ID).

        Raises:
            BpfFileNotFoundError: no program has this id.
        """
        check_numbers(32, id=id)
        fd = bpf.prog_get_fd_by_id(id, action=f"open the program with id {id}")
        return cls._adopt(fd, f"program with id {id}")

    @classmethod
    def from_fd(cls, fd: int) -> Self:
        """A program for a duplicate of the descriptor `fd`, which stays the caller's."""
        copy = int(lib.ebpf_dup(fd))
        if copy < 0:
            fail(-copy, f"duplicate descriptor {fd}")
        return cls._adopt(copy, f"descriptor {fd}")

    @classmethod
    def _adopt(cls, fd: int, what: str) -> Self:
        """A program that owns `fd`; `fd` is closed when that fails."""
        try:
            kind = pin.kind_of(fd)
            if kind != "prog":
                raise BpfError(errno.EINVAL, f"open {what}: it is a {kind}, not a program")
            raw = bpf.prog_info(fd)
            return cls._owning(fd, ProgramType(raw["type"]), raw["name"].decode("ascii", "replace"))
        except BaseException:
            os.close(fd)
            raise

    def info(self) -> ProgramInfo:
        """What the kernel reports of the program (BPF_OBJ_GET_INFO_BY_FD)."""
        raw = bpf.prog_info(self.fileno())
        return ProgramInfo(
            type=ProgramType(raw["type"]),
            id=raw["id"],
            name=raw["name"].decode("ascii", "replace"),
            tag=raw["tag"].hex(),
            load_time=raw["load_time"],
            created_by_uid=raw["created_by_uid"],
            map_ids=raw["map_ids"],
            btf_id=raw["btf_id"],
            gpl_compatible=bool(raw["gpl_compatible"]),
            ifindex=raw["ifindex"],
            xlated_size=raw["xlated_prog_len"],
            jited_size=raw["jited_prog_len"],
            verified_insns=raw["verified_insns"],
            run_time=raw["run_time_ns"],
            run_count=raw["run_cnt"],
            recursion_misses=raw["recursion_misses"],
        )

    def instructions(self) -> bytes:
        """The instructions after the verifier's rewrites (``xlated``), as ``struct bpf_insn``.

        Empty where the kernel does not show them to this process.
        """
        code = bpf.prog_info(self.fileno(), instructions=True)["xlated_prog_insns"]
        return bytes(code)

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Pin the program at `path` on a bpffs: it then outlives this process.

        Raises:
            BpfFileExistsError: `path` exists.
            BpfFileNotFoundError: the directory does not exist.
            BpfError: the directory is on no bpffs; the message has the mount command.
        """
        pin.pin(self.fileno(), path, repr(self))

    @staticmethod
    def unpin(path: str | os.PathLike[str]) -> None:
        """Remove the name `path` from the bpffs; see `ebpf.unpin`."""
        pin.unpin(path)

    def test_run(
        self,
        data: bytes | bytearray | memoryview | None = None,
        *,
        ctx: bytes | bytearray | memoryview | None = None,
        repeat: int = 1,
        flags: TestRunFlags | int = 0,
        cpu: int = 0,
        data_out_size: int | None = None,
    ) -> TestRun:
        """Run the program in the kernel on given input (BPF_PROG_TEST_RUN).

        Args:
            data: the packet, for networking types (14 bytes or more).
            ctx: the context (``struct __sk_buff``, ``struct xdp_md``, raw tracepoint arguments...).
            repeat: how many runs `duration` averages over. Until they are over signals are held
                back in this thread, timers too; one that is to end or stop the process (SIGINT,
                SIGTERM, SIGTSTP, ...) is not, and where its handler returns they begin anew.
            cpu: with the flag RUN_ON_CPU, where a raw tracepoint program runs.
            data_out_size: room for the packet after the run; by default 4096 bytes more than
                before it.

        Raises:
            NotSupportedError: programs of this type can't be run by hand, or not with this flag.
            BpfError: ENOSPC when the packet after the run does not fit `data_out_size`.
        """
        check_numbers(32, repeat=repeat, flags=flags, cpu=cpu, data_out_size=data_out_size or 0)
        return run.test_run(
            self, run.Buffers(self.type, data, ctx, data_out_size), repeat, flags, cpu
        )

    def __repr__(self) -> str:
        state = "closed" if self._fd < 0 else f"fd={self._fd}"
        name = f" {self.name!r}" if self.name else ""
        return f"<ebpf.Program{name} {self.type.name} {state}>"
