"""Test runs: a program on input that the caller gives (BPF_PROG_TEST_RUN)."""

from __future__ import annotations

import errno

from ebpf._sys import bpf
from ebpf.errors import BpfError
from ebpf.info import Info
from ebpf.types import ProgramType, TestRunFlags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ebpf.errors import Version
    from ebpf.programs.program import Program

    Buffer = bytes | bytearray | memoryview

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

# Types that run by hand only since a release that is younger than the type.
_SINCE: dict[ProgramType, Version] = {
    ProgramType.RAW_TRACEPOINT: (5, 10),
    ProgramType.SK_LOOKUP: (5, 13),
}

# Types of which kernels before 5.18 look at no flags at all. What came with the first flag for them
# is refused there: frames at a time, as many as the kernel takes by itself (NAPI_POLL_WEIGHT).
_FLAGS_UNREAD = frozenset({ProgramType.XDP})
_BATCH = 64


class TestRun(Info):
    """The outcome of `Program.test_run`."""

    __test__ = False  # the name makes pytest take it for tests

    return_value: int  #: what the program returned, as u32
    duration: int  #: average time of one run, in nanoseconds
    data: bytes  #: the packet after the run; empty where the program type has none
    ctx: bytes  #: the context after the run; empty where none was given or it is read-only


class Buffers:
    """Where the kernel finds the input of one run, and leaves the output."""

    def __init__(
        self, type: ProgramType, data: Buffer | None, ctx: Buffer | None, data_out_size: int | None
    ) -> None:
        self._type = type
        self.data_in = None if data is None else _memory("data", data)
        room = 0 if self.data_in is None else self.data_in.nbytes + _OUTPUT_ROOM
        self.data_out = bytearray(room if data_out_size is None else data_out_size)
        in_place = ctx is None or type in _IN_PLACE
        self.ctx_in = None if ctx is None else bytearray(_memory("ctx", ctx))
        self.ctx_out = None if in_place else bytearray(len(self.ctx_in or b"") + _CONTEXT_ROOM)

    def fields(self) -> dict[str, Any]:
        return {
            "data_in": self.data_in,
            "data_out": self.data_out or None,
            "ctx_in": self.ctx_in,
            "ctx_out": self.ctx_out,
        }

    def hint(self, repeat: int) -> str:
        """What the kernel's EINVAL means where the program takes no such input."""
        if self._type in _IN_PLACE:
            if self.data_in is not None:
                return " on data, where programs of this type have ctx for all input"
            return f" with repeat {repeat}, where these run once" if repeat > 1 else ""
        length = 0 if self.data_in is None else self.data_in.nbytes
        if self._type not in _ETHERNET or length >= _ETHERNET_HEADER:
            return ""
        return f" on data of {length} bytes, where it takes {_ETHERNET_HEADER} or more (Ethernet)"

    def since(self) -> Version:
        """The release that runs a program of this type, or takes a context for it, where not all
        do."""
        if self.ctx_in is not None and self._type == ProgramType.XDP:
            return (5, 15)
        return _SINCE.get(self._type, (0, 0))

    def outcome(self, result: dict[str, Any]) -> TestRun:
        ctx = bytes(self.ctx_out or b"")[: result["ctx_size_out"]]
        if self._type == ProgramType.SYSCALL:
            ctx = bytes(self.ctx_in or b"")
        return TestRun(
            return_value=result["retval"],
            duration=result["duration"],
            data=bytes(self.data_out[: result["data_size_out"]]),
            ctx=ctx,
        )


def _memory(name: str, value: object) -> memoryview:
    try:
        return memoryview(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name}: {value!r} is not bytes, nor a buffer of them") from None


def test_run(program: Program, buffers: Buffers, repeat: int, flags: int, cpu: int) -> TestRun:
    """`Program.test_run`, its arguments checked."""
    asked = TestRunFlags(flags)
    with_flags = f" with the flag {asked!s}" if asked else ""
    result = bpf.prog_test_run(
        prog_fd=program.fileno(),
        # Types that run just once refuse any number here.
        repeat=repeat if repeat != 1 else 0,
        flags=int(flags),
        cpu=cpu,
        batch_size=_BATCH if asked and program.type in _FLAGS_UNREAD else 0,
        action=f"test run of {program!r}{with_flags}{buffers.hint(repeat)}",
        needs=max(buffers.since(), asked.since or (0, 0)),
        buffers=buffers.fields(),
    )
    if result["errno"]:
        raise BpfError(
            errno.ENOSPC,
            f"test run of {program!r}: the packet after the run has {result['data_size_out']}"
            f" bytes, data_out_size is {len(buffers.data_out)}",
        )
    return buffers.outcome(result)
