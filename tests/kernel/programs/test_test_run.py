"""BPF_PROG_TEST_RUN: what goes in, what comes out, and how long it may take."""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from ebpf import (
    AttachType,
    BpfError,
    Map,
    MapType,
    NotSupportedError,
    Program,
    ProgramFlags,
    ProgramType,
    TestRunFlags,
)
from ebpf._sys import facts
from ebpf.asm import (
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R10,
    Label,
    add,
    atomic_add,
    call,
    exit_,
    jeq,
    jgt,
    jlt,
    ld_map_fd,
    ldxdw,
    ldxw,
    mov,
    stb,
    stw,
    stxdw,
    stxw,
)
from tests.kernel.samples import PASS, load, python

PACKET = bytes(range(64))

# struct __sk_buff, include/uapi/linux/bpf.h
SKB_MARK, SKB_PRIORITY, SKB_CB = 8, 32, 48
# struct xdp_md
XDP_DATA, XDP_DATA_END, XDP_DATA_META = 0, 4, 8


def test_the_return_value_is_what_the_program_left_in_r0() -> None:
    """All 32 bits of it, without a sign."""
    with load(ProgramType.SOCKET_FILTER, [mov(R0, -2), exit_()]) as program:
        assert program.test_run(PACKET).return_value == 0xFFFF_FFFE


@pytest.mark.everywhere
@pytest.mark.parametrize("form", [bytes, bytearray, memoryview])
def test_the_packet_comes_back_as_the_program_left_it(form: type) -> None:
    """The input stays as it was: the kernel works on a copy."""
    insns = [
        stb(R10 - 1, 0xAB),
        mov(R2, 20),
        mov(R3, R10),
        add(R3, -1),
        mov(R4, 1),
        mov(R5, 0),
        call("skb_store_bytes"),
        *PASS,
    ]
    with load(ProgramType.SCHED_CLS, insns) as program:
        given = form(PACKET)
        run = program.test_run(given)
        assert run.data == PACKET[:20] + b"\xab" + PACKET[21:]
        assert bytes(given) == PACKET


def grown(bytes_in_front: int) -> Program:
    """An XDP program that adds room in front of the packet and writes 0x77 there."""
    return load(
        ProgramType.XDP,
        [
            mov(R6, R1),
            mov(R2, -bytes_in_front),
            call("xdp_adjust_head"),
            mov(R0, 2),
            ldxw(R2, R6 + XDP_DATA),
            ldxw(R3, R6 + XDP_DATA_END),
            mov(R4, R2),
            add(R4, 1),
            jgt(R4, R3, "end"),
            stb(R2 + 0, 0x77),
            Label("end"),
            exit_(),
        ],
    )


def test_a_packet_that_grew_comes_back_whole() -> None:
    """The room behind the input has to be there without being asked for."""
    with grown(64) as program:
        run = program.test_run(PACKET)
        assert run.return_value == 2
        assert len(run.data) == 128
        assert run.data[0] == 0x77
        assert run.data[64:] == PACKET


def test_a_packet_too_long_for_the_given_room_says_both_sizes() -> None:
    """ENOSPC alone would send the reader to the disk."""
    with grown(64) as program:
        assert len(program.test_run(PACKET, data_out_size=128).data) == 128
        with pytest.raises(BpfError, match="has 128 bytes, data_out_size is 127"):
            program.test_run(PACKET, data_out_size=127)


def test_a_packet_nobody_wants_back_is_not_fetched() -> None:
    """And its length is no error then."""
    with grown(64) as program:
        run = program.test_run(PACKET, data_out_size=0)
        assert (run.data, run.return_value) == (b"", 2)


def test_a_socket_buffer_context_goes_in_and_comes_out() -> None:
    """Fields that the program reads are those given, and those that it writes come back."""
    ctx = bytearray(192)
    struct.pack_into("=I", ctx, SKB_PRIORITY, 7)
    struct.pack_into("=I", ctx, SKB_CB, 30)
    with load(
        ProgramType.SCHED_CLS,
        [
            ldxw(R0, R1 + SKB_PRIORITY),
            ldxw(R2, R1 + SKB_CB),
            add(R0, R2),
            stxw(R1 + SKB_CB, R0),
            exit_(),
        ],
    ) as program:
        run = program.test_run(PACKET, ctx=ctx)
        assert run.return_value == 37
        assert struct.unpack_from("=I", run.ctx, SKB_CB) == (37,)
        assert struct.unpack_from("=I", run.ctx, SKB_PRIORITY) == (7,)
        assert struct.unpack_from("=I", ctx, SKB_CB) == (30,)


def test_a_short_context_has_zeros_behind_it() -> None:
    """The context comes back in the kernel's length: room of the input's length is too little."""
    ctx = bytearray(SKB_PRIORITY + 4)
    struct.pack_into("=I", ctx, SKB_PRIORITY, 7)
    with load(ProgramType.SCHED_CLS, [ldxw(R0, R1 + SKB_PRIORITY), exit_()]) as program:
        run = program.test_run(PACKET, ctx=ctx)
        assert run.return_value == 7
        assert len(run.ctx) >= 192 - 8
        assert run.data == PACKET


def test_an_xdp_context_says_where_the_packet_is() -> None:
    """With metadata in front of it (5.15): data counts from there."""
    ctx = struct.pack("=IIIIII", 4, len(PACKET), 0, 0, 0, 0)
    with load(
        ProgramType.XDP,
        [
            ldxw(R2, R1 + XDP_DATA_META),
            ldxw(R3, R1 + XDP_DATA),
            mov(R0, 0),
            mov(R4, R2),
            add(R4, 4),
            jgt(R4, R3, "end"),
            ldxw(R0, R2 + 0),
            Label("end"),
            exit_(),
        ],
    ) as program:
        run = program.test_run(PACKET, ctx=ctx)
        assert run.return_value == int.from_bytes(PACKET[:4], sys.byteorder)
        assert struct.unpack_from("=II", run.ctx) == (4, len(PACKET))
        assert run.data == PACKET


def test_a_raw_tracepoint_program_sees_the_arguments_given() -> None:
    """It reads them, so nothing comes back but what it returns."""
    with load(
        ProgramType.RAW_TRACEPOINT,
        [ldxdw(R0, R1 + 0), ldxdw(R2, R1 + 8), add(R0, R2), exit_()],
    ) as program:
        run = program.test_run(ctx=struct.pack("=QQ", 40, 2))
        assert (run.return_value, run.data, run.ctx) == (42, b"", b"")


def test_a_context_shorter_than_what_the_program_reads_is_refused() -> None:
    """The kernel would have it read beyond the buffer."""
    with (
        load(ProgramType.RAW_TRACEPOINT, [ldxdw(R0, R1 + 8), exit_()]) as program,
        pytest.raises(BpfError, match=r"test run of .* Invalid argument"),
    ):
        program.test_run(ctx=bytes(8))


def test_a_raw_tracepoint_program_runs_on_the_cpu_asked_for() -> None:
    """Whatever CPU the test itself is on."""
    with load(ProgramType.RAW_TRACEPOINT, [call("get_smp_processor_id"), exit_()]) as program:
        for cpu in os.sched_getaffinity(0):
            run = program.test_run(flags=TestRunFlags.RUN_ON_CPU, cpu=cpu)
            assert run.return_value == cpu
        with pytest.raises(BpfError, match="test run of"):
            program.test_run(flags=TestRunFlags.RUN_ON_CPU, cpu=1 << 20)


def test_a_syscall_program_writes_its_context() -> None:
    """It takes the context in place, so what it wrote is there afterwards."""
    with Program.load(
        ProgramType.SYSCALL,
        [ldxdw(R2, R1 + 0), add(R2, 1), stxdw(R1 + 8, R2), mov(R0, 3), exit_()],
        license="GPL",
        flags=ProgramFlags.SLEEPABLE,
    ) as program:
        given = bytearray(struct.pack("=QQ", 41, 0))
        run = program.test_run(ctx=given)
        assert run.return_value == 3
        assert run.ctx == struct.pack("=QQ", 41, 42)
        assert given == struct.pack("=QQ", 41, 0)


@pytest.fixture
def runs() -> Iterator[Any]:
    """A map that has the number of runs of the program in `counting`."""
    with Map.create(MapType.ARRAY, value="Q", max_entries=1) as map:
        yield map


def counting(runs: Any, steps: int = 0) -> list[Any]:
    """Counts its runs, and goes round a loop that often in each."""
    return [
        stw(R10 - 4, 0),
        ld_map_fd(R1, runs),
        mov(R2, R10),
        add(R2, -4),
        call("map_lookup_elem"),
        jeq(R0, 0, "end"),
        mov(R1, 1),
        atomic_add(R0 + 0, R1),
        mov(R6, 0),
        Label("again"),
        add(R6, 1),
        jlt(R6, steps, "again"),
        Label("end"),
        *PASS,
    ]


def test_repeat_runs_so_often_and_averages_the_time(runs: Any) -> None:
    """Counted by the program itself."""
    with load(ProgramType.SOCKET_FILTER, counting(runs)) as program:
        for repeat in (1, 2, 1000):
            runs[0] = 0
            run = program.test_run(PACKET, repeat=repeat)
            assert runs[0] == repeat
            assert 0 <= run.duration < 10**9


def test_a_signal_does_not_make_more_runs_of_them(runs: Any) -> None:
    """The kernel ends a run that a signal interrupts; what ran until then has run all the same."""
    fired = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: fired.append(number))
    try:
        with load(ProgramType.SOCKET_FILTER, counting(runs, steps=5_000)) as program:
            signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
            program.test_run(PACKET, repeat=1000)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert fired
    assert runs[0] == 1000


ETHERNET = bytes(12) + b"\x08\x00" + bytes.fromhex("45000028000040004006") + bytes(40)
# struct bpf_sk_lookup: a cookie, family and protocol, then addresses and ports.
LOOKUP = struct.pack("=QII", 0, socket.AF_INET, socket.IPPROTO_TCP) + bytes(48)


@pytest.mark.parametrize(
    ("type", "attach_type", "given", "value"),
    [
        (ProgramType.SCHED_CLS, None, {"data": ETHERNET}, 2),
        (ProgramType.SCHED_ACT, None, {"data": ETHERNET}, 3),
        (ProgramType.CGROUP_SKB, AttachType.CGROUP_INET_INGRESS, {"data": ETHERNET}, 1),
        (ProgramType.LWT_XMIT, None, {"data": ETHERNET}, 2),
        (ProgramType.SK_LOOKUP, AttachType.SK_LOOKUP, {"ctx": LOOKUP}, 1),
        (ProgramType.NETFILTER, AttachType.NETFILTER, {"data": ETHERNET}, 1),
    ],
    ids=lambda value: value.name if isinstance(value, ProgramType) else "",
)
def test_every_type_that_can_be_run_by_hand(
    type: ProgramType, attach_type: AttachType | None, given: dict[str, Any], value: int
) -> None:
    """Each takes another input: a context, or a packet that must not have one."""
    with Program.load(
        type, [mov(R0, value), exit_()], license="GPL", attach_type=attach_type
    ) as program:
        assert program.test_run(**given).return_value == value


def test_a_type_that_cannot_be_run_by_hand_says_so() -> None:
    """ENOTSUPP is 524, which errno and strerror do not know."""
    with load(ProgramType.KPROBE, PASS) as program:
        with pytest.raises(NotSupportedError, match=r"test run of .* does not support") as caught:
            program.test_run()
        assert caught.value.minimum_version is None


def test_a_packet_too_short_for_the_type_is_refused() -> None:
    """An Ethernet header has 14 bytes."""
    with load(ProgramType.SCHED_CLS, PASS) as program, pytest.raises(BpfError, match="Invalid arg"):
        program.test_run(bytes(13))


def test_a_flag_younger_than_the_kernel_names_its_release() -> None:
    """Live frames (5.18) are not returned: the program's verdict is carried out."""
    with load(ProgramType.XDP, [mov(R0, 1), exit_()]) as program:
        run = program.test_run(PACKET, flags=TestRunFlags.XDP_LIVE_FRAMES, data_out_size=0)
        assert run.return_value == 0


def test_a_flag_that_the_kernel_has_before_its_release(monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution's kernel has what is backported; its number says that it is too old."""
    with load(ProgramType.XDP, [mov(R0, 1), exit_()]) as program:
        program.test_run(PACKET, flags=TestRunFlags.XDP_LIVE_FRAMES, data_out_size=0)
        monkeypatch.setattr(facts, "kernel_version", lambda: (5, 14))
        program.test_run(PACKET, flags=TestRunFlags.XDP_LIVE_FRAMES, data_out_size=0)
        # And what it refuses is explained by the release, of which the number is all that is known.
        with pytest.raises(NotSupportedError, match="with the flag SKB_CHECKSUM_COMPLETE"):
            program.test_run(PACKET, flags=TestRunFlags.SKB_CHECKSUM_COMPLETE)


@pytest.mark.parametrize("type", [ProgramType.XDP, ProgramType.SCHED_CLS])
def test_a_flag_of_another_type_is_refused(type: ProgramType) -> None:
    """Kernels before 5.18 look at no flag of an XDP program, and run it on any CPU."""
    with load(type, PASS) as program, pytest.raises(BpfError, match="with the flag RUN_ON_CPU"):
        program.test_run(PACKET, flags=TestRunFlags.RUN_ON_CPU)


# A run that takes minutes unless something ends it.
LONG = """
import signal, sys, time, ebpf
from ebpf.asm import *
# About a millisecond each.
body = [mov(R0, 0), mov(R6, 0), Label("again"), [add(R0, 1) for _ in range(20)],
        add(R6, 1), jlt(R6, 2000, "again"), exit_()]
program = ebpf.Program.load(ebpf.ProgramType.SOCKET_FILTER, body)
"""


def test_ctrl_c_ends_a_long_run_while_other_signals_are_held_back() -> None:
    """The kernel answers EINTR; starting again without looking at the signal would run for ever."""
    told = python(
        f"""{LONG}
import os, threading
main = threading.main_thread().ident
signal.signal(signal.SIGALRM, lambda number, frame: None)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
def interrupt():
    # From then on the program runs.
    while signal.SIGALRM not in blocked():
        time.sleep(0.01)
    # One that comes before the system call begins does not interrupt it.
    while not stopped:
        signal.pthread_kill(main, signal.SIGINT)
        time.sleep(0.01)
def stop(number, frame):
    global stopped
    if not stopped:
        stopped = True
        raise KeyboardInterrupt
stopped = False
signal.signal(signal.SIGINT, stop)
def blocked():
    with open(f"/proc/{{os.getpid()}}/task/{{os.getpid()}}/status") as status:
        mask = next(int(line.split()[1], 16) for line in status if line.startswith("SigBlk"))
    return {{number for number in signal.valid_signals() if mask >> (number - 1) & 1}}
thread = threading.Thread(target=interrupt)
thread.start()
try:
    program.test_run(bytes(14), repeat=1 << 31)
except KeyboardInterrupt:
    signal.setitimer(signal.ITIMER_REAL, 0)
    print("interrupted")
thread.join()
"""
    )
    assert told == "interrupted\n"
