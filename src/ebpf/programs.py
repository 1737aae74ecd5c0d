"""Programs: loading, describing, test runs, and the attachments they own."""

from __future__ import annotations

import errno
import os

from ebpf import links, pin
from ebpf._sys import Descriptor, bpf, facts, lib
from ebpf._sys.arguments import c_string, check_numbers, check_objects
from ebpf._sys.call import fail
from ebpf.errors import BpfError, NotSupportedError, VerifierError
from ebpf.info import Info, ProgramInfo
from ebpf.maps.limits import check_name
from ebpf.types import AttachType, ProgramFlags, ProgramType, StatsType, TestRunFlags
from ebpf.verifier import missing_helper, summarize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, Protocol, TypeVar

    from typing_extensions import Self

    from ebpf.asm import Assembly
    from ebpf.errors import Version
    from ebpf.links import Link
    from ebpf.spec import ProgramSpec

    L = TypeVar("L", bound=Link)

    class HasFileno(Protocol):
        def fileno(self) -> int: ...


# The first verifier log buffer; it grows to what the log needs. Kernels before 6.4 take no buffer
# below the minimum, none takes one above the maximum (UINT_MAX >> 2).
LOG_SIZE = 1 << 16
MIN_LOG_SIZE = 128
MAX_LOG_SIZE = (1 << 30) - 1

# Room beyond the input for what a program makes of a packet: XDP grows one within its page.
_OUTPUT_ROOM = 4096

# Room for the context after a run, whose size is the kernel's and not that of the input:
# struct __sk_buff, the largest, has 192 bytes.
_CONTEXT_ROOM = 512

# Types that take the context in place: SYSCALL programs write into it, the other cannot.
_IN_PLACE = (ProgramType.RAW_TRACEPOINT, ProgramType.SYSCALL)

# Types that run on a packet, which begins with an Ethernet header (net/bpf/test_run.c).
_ETHERNET = frozenset(
    {
        ProgramType.SOCKET_FILTER,
        ProgramType.SCHED_CLS,
        ProgramType.SCHED_ACT,
        ProgramType.XDP,
        ProgramType.CGROUP_SKB,
        ProgramType.LWT_IN,
        ProgramType.LWT_OUT,
        ProgramType.LWT_XMIT,
        ProgramType.LWT_SEG6LOCAL,
        ProgramType.FLOW_DISSECTOR,
    }
)
_ETHERNET_HEADER = 14


class TestRun(Info):
    """The outcome of `Program.test_run`."""

    __test__ = False  # the name makes pytest take it for tests

    return_value: int  #: what the program returned, as u32
    duration: int  #: average time of one run, in nanoseconds
    data: bytes  #: the packet after the run; empty where the program type has none
    ctx: bytes  #: the context after the run; empty where none was given or it is read-only


class Program(Descriptor):
    """A loaded BPF program.

    It owns the links that its ``attach_`` methods return: dropping such a link does not detach
    it, closing the program does. When the program and its links are all dropped without having
    been closed, Python collects them, which detaches; a link that somebody still holds stays
    attached. A context manager; warns (ResourceWarning) when it is collected while open.
    """

    type: ProgramType
    name: str

    def __init__(
        self,
        fd: int,
        type: ProgramType,
        name: str,
        log: str = "",
        spec: ProgramSpec | None = None,
    ) -> None:
        super().__init__(fd)
        #: What the program was loaded from, where that was an object file.
        self.spec = spec
        self.type = type
        self.name = name
        #: What the verifier wrote, where `load` was told to ask for it.
        self.log = log
        self._links: set[Link] = set()

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
        attach_btf_id: int = 0,
        attach_btf: HasFileno | None = None,
        attach_program: HasFileno | None = None,
        btf: HasFileno | None = None,
        ifindex: int = 0,
        log_level: int = 0,
        log_size: int = LOG_SIZE,
    ) -> Self:
        """Load a program (BPF_PROG_LOAD).

        The first try asks for no log, which is fastest; when the kernel refuses the program,
        it is loaded again with a log buffer that grows until the log fits.

        Args:
            type: the program type.
            insns: what `ebpf.asm` functions return, an `asm.Assembly`, or the bytes of
                ``struct bpf_insn``.
            license: "GPL", "Dual MIT/GPL", ...: some helpers are for GPL-compatible programs only.
            name: up to 15 characters of ``[A-Za-z0-9_.]``.
            attach_type: for types that are verified for one hook (expected_attach_type).
            maps: for map references by name.
            attach_btf_id, attach_btf: the kernel function or type to attach to, and the module's
                BTF it is from; `attach_program` in its place is the program to attach to.
            btf: BTF for the program.
            log_level: 1, 2 or 4 (BPF_LOG_*): ask for a log at the first try; it is then in `log`.
            log_size: bytes of the first log buffer, 128 or more.

        Raises:
            VerifierError: the message is the line that explains, `log` is everything.
            NotSupportedError: the kernel does not know this program type, flag, field or helper.
            BpfPermissionError: the message lists the facts.
            AsmError, ValueError, TypeError: an argument that no kernel takes.
        """
        check_name(name)
        if not isinstance(type, ProgramType):
            raise TypeError(f"type: {type!r} is not an ebpf.ProgramType")
        if type.since is None or type == ProgramType.UNSPEC:
            raise ValueError(f"type: {type.name} is not a program type that this library knows")
        if attach_program is not None and attach_btf is not None:
            raise TypeError("attach_program, attach_btf: a program attaches to one of them")
        if attach_type is not None:
            check_numbers(32, attach_type=attach_type)
            attach_type = AttachType(attach_type)
        check_numbers(32, flags=flags, attach_btf_id=attach_btf_id, ifindex=ifindex)
        check_numbers(32, log_level=log_level, log_size=log_size)
        check_objects(attach_btf=attach_btf, attach_program=attach_program, btf=btf)
        code, assembly = _code(insns, maps)
        request = {
            "prog_type": type,
            "insns": code,
            "license": c_string("license", license) + b"\0",
            "prog_name": name.encode("ascii"),
            "prog_flags": int(flags),
            "expected_attach_type": int(attach_type or 0),
            "attach_btf_id": attach_btf_id,
            "attach_prog_fd": _fd(attach_program) or _fd(attach_btf),
            "prog_btf_fd": _fd(btf),
            "prog_ifindex": ifindex,
        }
        action = f"load the {type.name} program {name!r}" if name else f"load a {type.name} program"
        needs = _newest(type, ProgramFlags(flags), attach_type)
        fd, log = _Loading(request, action, needs, assembly).load(log_level, log_size)
        return cls(fd, type, name, log)

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
            return cls(fd, ProgramType(raw["type"]), raw["name"].decode("ascii", "replace"))
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
            repeat: how many runs `duration` averages over.
            cpu: with the flag RUN_ON_CPU, where a raw tracepoint program runs.
            data_out_size: room for the packet after the run; by default 4096 bytes more than
                before it.

        Raises:
            NotSupportedError: programs of this type can't be run by hand.
            BpfError: ENOSPC when the packet after the run does not fit `data_out_size`.
        """
        check_numbers(32, repeat=repeat, flags=flags, cpu=cpu, data_out_size=data_out_size or 0)
        needs = TestRunFlags(flags).since or (0, 0)
        if needs > facts.kernel_version():
            # Not left to the kernel: for some types, old ones look at no flags at all.
            raise NotSupportedError(f"test run of {self!r} with the flag {flags!s}", needs)
        packet = None if data is None else memoryview(data)
        room = 0 if packet is None else packet.nbytes + _OUTPUT_ROOM
        output = bytearray(room if data_out_size is None else data_out_size)
        in_place = self.type in _IN_PLACE
        ctx_in = None if ctx is None else bytearray(ctx)
        ctx_out = None if ctx is None or in_place else bytearray(len(ctx) + _CONTEXT_ROOM)
        result = bpf.prog_test_run(
            prog_fd=self.fileno(),
            data_in=packet,
            data_out=output or None,
            ctx_in=ctx_in,
            ctx_out=ctx_out,
            # Types that run just once refuse any number here.
            repeat=repeat if repeat != 1 else 0,
            flags=int(flags),
            cpu=cpu,
            action=f"test run of {self!r}{self._packet_hint(packet)}",
            needs=self._context_since(ctx),
        )
        if result["errno"]:
            raise BpfError(
                errno.ENOSPC,
                f"test run of {self!r}: the packet after the run has {result['data_size_out']}"
                f" bytes, data_out_size is {len(output)}",
            )
        written = ctx_in if self.type == ProgramType.SYSCALL else ctx_out
        return TestRun(
            return_value=result["retval"],
            duration=result["duration"],
            data=bytes(output[: result["data_size_out"]]),
            ctx=bytes(written or b"")[: None if in_place else result["ctx_size_out"]],
        )

    def _packet_hint(self, packet: memoryview | None) -> str:
        """What the kernel's EINVAL means where the packet is too short."""
        length = 0 if packet is None else packet.nbytes
        if self.type not in _ETHERNET or length >= _ETHERNET_HEADER:
            return ""
        return f" on data of {length} bytes, where it takes {_ETHERNET_HEADER} or more (Ethernet)"

    def _context_since(self, ctx: object) -> Version:
        """The release that takes a context for a program of this type, where not all do."""
        return (5, 15) if ctx is not None and self.type == ProgramType.XDP else (0, 0)

    def attach(self) -> Link:
        """Attach the program as its section in the object file says; see `ebpf.links.section`.

        Raises:
            EbpfError: the section names no target, or nothing that can be attached by name.
        """
        if self.spec is None:
            raise TypeError(f"attach: {self!r} is not from an object file; call an attach_ method")
        return self._own(links.attach_by_section(self, self.spec.attach, self.spec.target))

    def attach_tracepoint(self, category: str, name: str, *, cookie: int = 0) -> Link:
        """Run the program at a tracepoint; see `ebpf.links.attach_tracepoint`."""
        return self._own(links.attach_tracepoint(self, category, name, cookie=cookie))

    def attach_raw_tracepoint(self, name: str, *, cookie: int = 0) -> Link:
        """Run the program at a raw tracepoint; see `ebpf.links.attach_raw_tracepoint`."""
        return self._own(links.attach_raw_tracepoint(self, name, cookie=cookie))

    def attach_kprobe(
        self, symbol: str | None = None, *, offset: int = 0, address: int = 0, cookie: int = 0
    ) -> Link:
        """Run the program when a kernel function is entered; see `ebpf.links.attach_kprobe`."""
        return self._own(
            links.attach_kprobe(self, symbol, offset=offset, address=address, cookie=cookie)
        )

    def attach_kretprobe(
        self, symbol: str | None = None, *, address: int = 0, cookie: int = 0
    ) -> Link:
        """Run the program when a kernel function returns; see `ebpf.links.attach_kretprobe`."""
        return self._own(links.attach_kretprobe(self, symbol, address=address, cookie=cookie))

    def _own(self, link: L) -> L:
        # One at a time, so that threads which attach at once do not lose each other's link.
        for other in tuple(self._links):
            if other.closed:
                self._links.discard(other)
        self._links.add(link)
        return link

    def close(self) -> None:
        """Close the program's links, which detaches those that are not pinned, and the program."""
        owned, self._links = self._links, set()
        for link in owned:
            link.close()
        super().close()

    def __del__(self) -> None:
        # Whoever still holds a link keeps it: only `close` detaches.
        self._links = set()
        super().__del__()

    def __repr__(self) -> str:
        state = "closed" if self._fd < 0 else f"fd={self._fd}"
        name = f" {self.name!r}" if self.name else ""
        return f"<ebpf.Program{name} {self.type.name} {state}>"


class RunTimeStats(Descriptor):
    """While open, the kernel counts runs and run time of every program (BPF_ENABLE_STATS, 5.8).

    ``ProgramInfo.run_time`` and ``run_count`` then grow; counting costs each run some
    nanoseconds. Use it as a context manager.
    """

    def __init__(self) -> None:
        super().__init__(bpf.enable_stats(StatsType.RUN_TIME))


def _fd(owner: HasFileno | None) -> int:
    return 0 if owner is None else owner.fileno()


def _newest(
    type: ProgramType, flags: ProgramFlags, attach_type: AttachType | None
) -> tuple[Version, str]:
    """The release that has everything asked for, and what of it came last."""
    dated = [(type.since, ""), (flags.since, f"the flag {flags}")]
    if attach_type is not None:
        dated.append((attach_type.since, f"the attach type {attach_type}"))
    # What has no name here has no release either.
    return max((since, what) for since, what in dated if since is not None)


def _code(
    insns: bytes | Assembly | Iterable[Any], maps: Mapping[str, HasFileno] | None
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

    assembly = insns if isinstance(insns, asm.Assembly) else asm.assemble(insns)
    return assembly.resolve({name: map.fileno() for name, map in (maps or {}).items()}), assembly


class _Loading:
    """One program on its way into the kernel, by as many BPF_PROG_LOAD as its log takes."""

    def __init__(
        self,
        request: dict[str, Any],
        action: str,
        needs: tuple[Version, str],
        assembly: Assembly | None,
    ) -> None:
        self.request = request
        self.action = action
        self.needs = needs
        self.assembly = assembly

    def load(self, level: int, size: int) -> tuple[int, str]:
        """The descriptor and the log, or the exception that explains best."""
        loaded = self._try(level, size)
        if loaded.result < 0 and not level:
            loaded = self._try(1, size)
        log = loaded.log.decode("utf-8", "replace")
        if loaded.result < 0 and log.strip():
            raise self._refused(-loaded.result, log)
        return loaded.checked(self.action, *self.needs), log

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
        refused = VerifierError(code, f"{self.action}: {summarize(log, self.assembly)}", log)
        helper = missing_helper(log)
        if helper is None or helper.since <= facts.kernel_version():
            return refused
        missing = NotSupportedError(
            f"{self.action}: the helper {helper.name.lower()}", helper.since, code
        )
        missing.__cause__ = refused
        return missing
