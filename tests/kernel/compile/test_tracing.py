"""bpf/bpf_tracing.h and bpf/usdt.bpf.h: arguments by name, in programs that run."""

from __future__ import annotations

import ctypes
import os
import platform
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

import ebpf
from ebpf import kallsyms
from tests.kernel.compile.conftest import Load, since
from tests.kernel.compile.test_helpers import TOP, values
from tests.kernel.links.hooks import FENTRY

# uapi's struct pt_regs has x86's names of user programs; the kernel's names are in vmlinux.h.
TRACING = TOP + "#include <linux/ptrace.h>\n#include <bpf/bpf_tracing.h>\n"


def test_arguments_of_a_raw_tracepoint(load: Load) -> None:
    """An argument would have another's value, or lose its upper half."""
    objects = load(
        TRACING
        + """
        long long first, third; int second, fourth; char *pointer; int count;
        SEC("raw_tp") int BPF_PROG(run, long long a, int b, short c, unsigned char d, char *e)
        {
            first = a; second = b; third = c; fourth = d; pointer = e;
            return 7;
        }
        SEC("raw_tp") int BPF_PROG(none) { count = ctx[0]; return 8; }
        """
    )
    arguments = (1 << 40, -2, -3, 4, 5)
    context = b"".join(one.to_bytes(8, sys.byteorder, signed=True) for one in arguments)
    assert objects.programs["run"].test_run(ctx=context).return_value == 7
    seen = values(objects)
    assert [seen[n] for n in ("first", "second", "third", "fourth")] == [1 << 40, -2, -3, 4]
    assert seen["pointer"] == 5
    assert objects.programs["none"].test_run(ctx=(9).to_bytes(8, sys.byteorder)).return_value == 8
    assert values(objects)["count"] == 9


def test_structs_among_the_arguments(load: Load) -> None:
    """What follows a struct of two slots would be taken from the struct, or a small struct or
    integer from the wrong half of its slot."""
    objects = load(
        TRACING
        + """
        struct pair { long a; int b; };
        struct small { short a, b; };
        struct pair first; struct small second; int third; unsigned char fourth; char *fifth;
        int count;
        SEC("raw_tp") int BPF_PROG2(run, struct pair, p, struct small, q, int, r,
                                    unsigned char, s, char *, t)
        {
            first = p; second = q; third = r; fourth = s; fifth = t;
            return 7;
        }
        SEC("raw_tp") int BPF_PROG2(none) { count = ctx[0]; return 8; }
        """
    )
    small = int.from_bytes(struct.pack("=hh", -5, 6), sys.byteorder)
    arguments = (1 << 40, 2, small, -3, 4, 5)
    context = b"".join((one % (1 << 64)).to_bytes(8, sys.byteorder) for one in arguments)
    assert objects.programs["run"].test_run(ctx=context).return_value == 7
    seen = values(objects)
    assert (seen["first"].a, seen["first"].b) == (1 << 40, 2)
    assert (seen["second"].a, seen["second"].b) == (-5, 6)
    assert [seen[n] for n in ("third", "fourth", "fifth")] == [-3, 4, 5]
    assert objects.programs["none"].test_run(ctx=(9).to_bytes(8, sys.byteorder)).return_value == 8
    assert values(objects)["count"] == 9


@FENTRY
def test_a_kernel_function_that_takes_a_struct(load: Load) -> None:
    """The slots would be counted in another way than the kernel counts them."""
    since("functions with structs as arguments, in fentry programs,", 6, 1)
    # Other machines' trampolines learnt it later, each in its own release.
    if platform.machine() != "x86_64":
        return
    objects = load(
        TRACING
        + """
        struct sock;
        typedef struct { void *address; _Bool kernel : 1; } sockptr_t;
        int me, option, length, calls; void *address;
        SEC("fentry/tcp_setsockopt")
        int BPF_PROG2(run, struct sock *, sk, int, level, int, name, sockptr_t, value,
                      unsigned int, size)
        {
            if (bpf_get_current_pid_tgid() >> 32 != me)
                return 0;
            option = name; address = value.address; length = size; calls++;
            return 0;
        }
        """
    )
    objects.variables["me"].value = os.getpid()
    objects.attach()
    value = ctypes.create_string_buffer(b"\1", 7)
    with socket.socket() as connection:
        libc = ctypes.CDLL(None)
        wanted = (socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert libc.setsockopt(connection.fileno(), *wanted, value, len(value)) == 0
    seen = values(objects)
    assert (seen["option"], seen["length"], seen["calls"]) == (socket.TCP_NODELAY, 7, 1)
    assert seen["address"] == ctypes.addressof(value)


@pytest.mark.needs_config("CONFIG_UPROBES")
def test_arguments_and_result_of_a_function(load: Load, tmp_path: Path) -> None:
    """A register would be another argument's, or the result not that of the function."""
    source = tmp_path / "called.c"
    source.write_text("int called(int a, long b, short c, int d, int e, int f) { return a + 1; }\n")
    library = tmp_path / "called.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
    objects = load(
        TRACING
        + """
        int a, c, d, e, f, result; long b; unsigned long ip, sp, returns;
        SEC("uprobe") int BPF_UPROBE(enter, int pa, long pb, short pc, int pd, int pe)
        {
            a = pa; b = pb; c = pc; d = pd; e = pe;
            ip = PT_REGS_IP(ctx); sp = PT_REGS_SP(ctx);
            f = PT_REGS_PARM6(ctx);
            return 0;
        }
        SEC("uretprobe") int BPF_URETPROBE(leave, int value)
        {
            result = value; returns = PT_REGS_RC(ctx);
            return 0;
        }
        """
    )
    objects.programs["enter"].attach_uprobe(library, "called")
    objects.programs["leave"].attach_uretprobe(library, "called")
    called = ctypes.CDLL(str(library)).called
    called.argtypes = [ctypes.c_int, ctypes.c_long, ctypes.c_short, *[ctypes.c_int] * 3]
    assert called(11, 1 << 40, -13, 14, -15, 16) == 12
    seen = values(objects)
    assert [seen[n] for n in "abcdef"] == [11, 1 << 40, -13, 14, -15, 16]
    assert (seen["result"], seen["returns"]) == (12, 12)
    assert seen["ip"] == ctypes.cast(called, ctypes.c_void_p).value
    assert seen["sp"] != 0


@pytest.mark.needs_config("CONFIG_KPROBES")
def test_arguments_of_a_system_call(load: Load) -> None:
    """On kernels whose handlers get a pointer to the registers it would be taken for the first
    argument."""
    # Linux 7.0 gave the function another name.
    unlink = "do_unlinkat" if kallsyms.function_addresses("do_unlinkat") else "filename_unlinkat"
    objects = load(
        """
        #include "vmlinux.h"
        #include <bpf/bpf_helpers.h>
        #include <bpf/bpf_tracing.h>
        int me, pid, signal, calls; long result, caller;
        SEC("ksyscall/kill") int BPF_KSYSCALL(enter, int to, int number)
        {
            if (bpf_get_current_pid_tgid() >> 32 != me)
                return 0;
            pid = to; signal = number;
            struct pt_regs *regs = ctx;
            caller = PT_REGS_IP_CORE(regs) == PT_REGS_IP(ctx);
            return 0;
        }
        SEC("kretsyscall/kill") int BPF_KRETPROBE(leave, long value)
        {
            if (bpf_get_current_pid_tgid() >> 32 == me)
                result = value;
            return 0;
        }
        SEC("kprobe/do_unlinkat") int BPF_KPROBE(unlink, int directory)
        {
            if (bpf_get_current_pid_tgid() >> 32 == me && directory == -100)
                calls++;
            return 0;
        }
        """.replace("do_unlinkat", unlink)
    )
    objects.variables["me"].value = os.getpid()
    objects.attach()
    os.kill(os.getpid(), 0)
    # In a guest the root is read-only.
    with pytest.raises(OSError, match=r"No such file|Read-only"):
        os.unlink("/nonexistent")
    seen = values(objects)
    assert (seen["pid"], seen["signal"], seen["result"]) == (os.getpid(), 0, 0)
    assert (seen["caller"], seen["calls"]) == (1, 1)


# x86-64 only: the operands are written by hand, where sys/sdt.h would ask the compiler.
PROBE = """
#define NOTE(arguments) \\
    ".pushsection .note.stapsdt,\\"\\",\\"note\\"\\n.balign 4\\n.4byte 8, 2f-1f, 3\\n" \\
    ".asciz \\"stapsdt\\"\\n1: .8byte 9b, 0, 0\\n.asciz \\"mine\\"\\n.asciz \\"probe\\"\\n" \\
    ".asciz \\"" arguments "\\"\\n2: .balign 4\\n.popsection\\n"
int table[4] = {10, 20, -30, 40};
void fire(long number)
{
    asm volatile("9: nop\\n" NOTE("-4@$-7 8@%%rdi -4@8(%%rsi) -4@(%%rsi,%%rdx,4) 1@%%dil")
                 :: "D"(number), "S"(table), "d"(2L) : "memory");
}
"""


@pytest.mark.needs_config("CONFIG_UPROBES")
def test_arguments_of_a_usdt_probe(load: Load, tmp_path: Path) -> None:
    """A constant, register, place in memory or scaled index would be read as another kind, or a
    small or signed argument with its neighbours."""
    if platform.machine() != "x86_64":
        return
    source = tmp_path / "probe.c"
    source.write_text(PROBE)
    library = tmp_path / "probe.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
    objects = load(
        TRACING
        + """
        #include <bpf/usdt.bpf.h>
        int constant, count, size, fifth_size, missing;
        long number, memory, scaled, low, cookie, none;
        SEC("usdt") int BPF_USDT(run, int a, long b, long c, long d, long e)
        {
            constant = a; number = b; memory = c; scaled = d; low = e;
            count = bpf_usdt_arg_cnt(ctx);
            size = bpf_usdt_arg_size(ctx, 1); fifth_size = bpf_usdt_arg_size(ctx, 4);
            missing = bpf_usdt_arg(ctx, 5, &none);
            cookie = bpf_usdt_cookie(ctx);
            return 0;
        }
        """
    )
    program = objects.programs["run"]
    program.attach_usdt(library, "mine", "probe", cookie=99)
    ctypes.CDLL(str(library)).fire(ctypes.c_long(0x123456789A))
    seen = values(objects)
    assert [seen[n] for n in ("constant", "number", "memory", "scaled", "low")] == [
        *(-7, 0x123456789A, -30, -30, 0x9A)
    ]
    assert (seen["count"], seen["size"], seen["fifth_size"]) == (5, 8, 1)
    assert (seen["missing"], seen["cookie"]) == (-2, 99)


def test_other_machines_compile(load: Load) -> None:
    """The registers of a machine would be misspelt in the headers, which nobody here includes."""
    names = [*(f"PARM{i}" for i in range(1, 6)), "RET", "FP", "RC", "SP", "IP"]
    uses = "".join(
        f"sum += (long)PT_REGS_{name}(ctx) + PT_REGS_{name}_CORE(ctx);" for name in names
    )
    for i in range(1, 7):
        uses += f"sum += PT_REGS_PARM{i}_SYSCALL(ctx) + PT_REGS_PARM{i}_CORE_SYSCALL(ctx);"
    structs = {
        "x86": "struct pt_regs { long rdi, rsi, rdx, rcx, r8, r9, r10, rsp, rbp, rax, rip; };",
        "arm64": "struct user_pt_regs { __u64 regs[31], sp, pc, pstate; };",
        "riscv": "struct user_regs_struct "
        "{ long pc, ra, sp, s0, a0, a1, a2, a3, a4, a5, a6, a7; };",
        "s390": "typedef struct { struct { long addr; } psw; long gprs[16]; } user_pt_regs;",
    }
    for machine, registers in structs.items():
        spec = ebpf.compile_c(
            f"{TOP}{registers}\n#include <bpf/bpf_tracing.h>\nlong sum;\n"
            f'SEC("kprobe") int BPF_KPROBE(run, int a) {{ {uses} return a; }}\n',
            defines={f"__TARGET_ARCH_{machine}": None},
        )
        assert list(spec.programs) == ["run"], machine
