"""bpf/bpf_core_read.h: each macro in a program that reads the kernel's structs."""

from __future__ import annotations

import os
from pathlib import Path

from tests.kernel.compile.conftest import Load, since
from tests.kernel.compile.test_helpers import TOP, run, values

# Of the kernel's structs only what is used, in another order than the kernel's.
TYPES = (
    TOP
    + """
#include <bpf/bpf_core_read.h>
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct no_such_struct { int x; };
struct new_utsname { char nodename[65], sysname[65]; };
struct qstr { const unsigned char *name; };
struct dentry { struct qstr d_name; };
struct path { struct dentry *dentry; };
struct file { struct path f_path; };
struct mm_struct { unsigned long arg_start; struct file *exe_file; };
struct task_struct {
    char comm[16];
    int no_such_field;
    struct mm_struct *mm;
    struct task_struct *group_leader, *real_parent;
    int tgid;
    unsigned sched_reset_on_fork : 1, in_execve : 1;
};
enum bpf_map_type___kernel { BPF_MAP_TYPE_RINGBUF___kernel = 1, BPF_NO_SUCH_TYPE___kernel = 2 };
#pragma clang attribute pop
#define CURRENT ((struct task_struct *)bpf_get_current_task())
"""
)


def test_chains_of_fields(load: Load) -> None:
    """A field would be read from where this program declares it, or one of the chain be skipped."""
    objects = load(
        TYPES
        + """
        int direct, one, two, six; long status; char comm[16], name[32], argument[64];
        long comm_length, name_length, argument_length; int user, plain; char plain_text[16];
        SEC("raw_tp") int run(void *ctx)
        {
            struct task_struct *task = CURRENT;
            bpf_core_read(&direct, sizeof(direct), &task->tgid);
            one = BPF_CORE_READ(task, tgid);
            two = BPF_CORE_READ(task, real_parent, tgid);
            status = BPF_CORE_READ_INTO(&six, task, group_leader, group_leader, group_leader,
                                        group_leader, real_parent, tgid);
            comm_length = BPF_CORE_READ_STR_INTO(&comm, task, group_leader, comm);
            const unsigned char *text =
                BPF_CORE_READ(task, mm, exe_file, f_path.dentry, d_name.name);
            name_length = bpf_core_read_str(name, sizeof(name), text);
            const char *start = (const char *)BPF_CORE_READ(task, mm, arg_start);
            argument_length = bpf_core_read_user_str(argument, sizeof(argument), start);
            return 0;
        }
        """
    )
    run(objects)
    seen = values(objects)
    assert (seen["direct"], seen["one"]) == (os.getpid(), os.getpid())
    assert (seen["two"], seen["six"], seen["status"]) == (os.getppid(), os.getppid(), 0)
    comm = Path("/proc/self/comm").read_bytes().rstrip(b"\n")
    assert (seen["comm"], seen["comm_length"]) == (comm, len(comm) + 1)
    executable = os.fsencode(os.path.basename(os.readlink("/proc/self/exe")))
    assert (seen["name"], seen["name_length"]) == (executable, len(executable) + 1)
    first = Path("/proc/self/cmdline").read_bytes().partition(b"\0")[0]
    assert seen["argument"] == first[:63]


def test_chains_in_other_memory(load: Load) -> None:
    """User memory would be read as the kernel's, or a program's own struct be relocated."""
    objects = load(
        TYPES
        + """
        struct own { struct own *next; int number; char text[8]; };
        struct own last = {0, 7, "seven"}, middle = {0, 5, "five"};
        __u64 address, names_address; char nothing; int number, core, into, kernel, kernel_into;
        long failed, length, again;
        char text[8], core_text[65], kernel_text[8];
        SEC("raw_tp") int run(void *ctx)
        {
            struct own *user = (struct own *)address;
            struct new_utsname *names = (struct new_utsname *)names_address;
            number = BPF_PROBE_READ_USER(user, next, number);
            core = BPF_CORE_READ_USER(names, sysname[1]);
            BPF_PROBE_READ_USER_INTO(&into, user, next, number);
            length = BPF_PROBE_READ_USER_STR_INTO(&text, user, next, text);
            again = BPF_CORE_READ_USER_STR_INTO(&core_text, names, nodename);
            failed = BPF_CORE_READ_USER_INTO(&nothing, (struct new_utsname *)8, sysname[0]);
            middle.next = &last;
            kernel = BPF_PROBE_READ(&middle, next, number);
            BPF_PROBE_READ_INTO(&kernel_into, &middle, number);
            BPF_PROBE_READ_STR_INTO(&kernel_text, &middle, next, text);
            return 0;
        }
        """
    )
    import ctypes

    class Own(ctypes.Structure):
        _fields_ = (
            ("next", ctypes.c_void_p),
            ("number", ctypes.c_int),
            ("text", ctypes.c_char * 8),
        )

    inner = Own(None, 42, b"answer")
    outer = Own(ctypes.addressof(inner), 1, b"outer")
    names = ctypes.create_string_buffer(b"Linux".ljust(65, b"\0") + b"node".ljust(65, b"\0"), 390)
    objects.variables["address"].value = ctypes.addressof(outer)
    objects.variables["names_address"].value = ctypes.addressof(names)
    run(objects)
    seen = values(objects)
    assert (seen["number"], seen["core"], seen["into"]) == (42, ord("i"), 42)
    assert (seen["text"], seen["core_text"]) == (b"answer", b"node")
    assert (seen["length"], seen["again"]) == (7, 5)
    assert seen["failed"] == -14
    assert (seen["kernel"], seen["kernel_into"], seen["kernel_text"]) == (7, 5, b"seven")


def test_questions_about_types(load: Load) -> None:
    """A program for many kernels would take the wrong branch."""
    objects = load(
        TYPES
        + """
        int has, has_not, type, no_type, size, offset, by_type, value, no_value, number, id, local;
        SEC("raw_tp") int run(void *ctx)
        {
            struct task_struct *task = CURRENT;
            has = bpf_core_field_exists(task->tgid);
            has_not = bpf_core_field_exists(task->no_such_field);
            by_type = bpf_core_field_exists(struct task_struct, tgid) * 10 +
                      bpf_core_field_exists(struct task_struct, no_such_field);
            size = bpf_core_field_size(task->comm);
            offset = bpf_core_field_offset(struct task_struct, tgid);
            type = bpf_core_type_exists(struct task_struct);
            no_type = bpf_core_type_exists(struct no_such_struct);
            value = bpf_core_enum_value_exists(enum bpf_map_type___kernel,
                                               BPF_MAP_TYPE_RINGBUF___kernel);
            no_value = bpf_core_enum_value_exists(enum bpf_map_type___kernel,
                                                  BPF_NO_SUCH_TYPE___kernel);
            number = bpf_core_enum_value(enum bpf_map_type___kernel,
                                         BPF_MAP_TYPE_RINGBUF___kernel);
            id = bpf_core_type_id_kernel(struct task_struct);
            local = bpf_core_type_id_local(struct task_struct);
            return bpf_core_type_size(struct task_struct) > 1000;
        }
        """
    )
    from ebpf.kernel_btf import kernel_btf

    assert run(objects) == 1
    seen = values(objects)
    task = kernel_btf().find_struct("task_struct")
    assert (seen["has"], seen["has_not"], seen["by_type"]) == (1, 0, 10)
    assert (seen["type"], seen["no_type"]) == (1, 0)
    assert seen["size"] == 16
    assert seen["offset"] == task.field("tgid").bit_offset // 8
    assert (seen["value"], seen["no_value"], seen["number"]) == (1, 0, 27)
    assert seen["id"] == kernel_btf().find("task_struct").id
    assert seen["local"] not in (0, seen["id"])


def test_bit_fields(load: Load) -> None:
    """Neighbours would be read or overwritten with a bit field."""
    objects = load(
        TYPES
        + """
        #pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
        struct tcphdr { __u16 window; __u16 syn : 1, doff : 4, rst : 1; };
        #pragma clang attribute pop
        __u64 doff, syn, rst, probed, probed_syn, after; int bytes[2];
        SEC("raw_tp") int run(void *ctx)
        {
            /* a TCP header of 6 words, with the flags SYN and ACK */
            __u64 words[3] = {};
            unsigned char *packet = (void *)words;
            packet[12] = 0x60; packet[13] = 0x12;
            struct tcphdr *tcp = (void *)packet;
            doff = BPF_CORE_READ_BITFIELD(tcp, doff);
            syn = BPF_CORE_READ_BITFIELD(tcp, syn);
            rst = BPF_CORE_READ_BITFIELD(tcp, rst);
            probed = BPF_CORE_READ_BITFIELD_PROBED(tcp, doff);
            probed_syn = BPF_CORE_READ_BITFIELD_PROBED(tcp, syn);
            BPF_CORE_WRITE_BITFIELD(tcp, doff, 0xf9);
            BPF_CORE_WRITE_BITFIELD(tcp, syn, 0);
            after = BPF_CORE_READ_BITFIELD(tcp, doff);
            barrier();
            bytes[0] = packet[12]; bytes[1] = packet[13];
            return 0;
        }
        """
    )
    run(objects)
    seen = values(objects)
    assert [seen[n] for n in ("doff", "syn", "rst")] == [6, 1, 0]
    assert [seen[n] for n in ("probed", "probed_syn")] == [6, 1]
    assert seen["after"] == 9
    assert seen["bytes"] == (0x90, 0x10)


def test_a_cast_that_the_verifier_believes(load: Load) -> None:
    """Fields of a plain address could not be read without a helper."""
    since("bpf_rdonly_cast", 6, 2)
    objects = load(
        TYPES
        + """
        int tgid;
        SEC("raw_tp") int run(void *ctx)
        {
            tgid = bpf_core_cast(bpf_get_current_task(), struct task_struct)->real_parent->tgid;
            return 0;
        }
        """.replace("bpf_get_current_task()", "(void *)bpf_get_current_task()")
    )
    run(objects)
    assert values(objects)["tgid"] == os.getppid()
