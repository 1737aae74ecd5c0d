"""bpf/bpf_helpers.h and bpf/bpf_endian.h: each macro in a program whose effect is seen."""

from __future__ import annotations

import struct
from pathlib import Path

import ebpf
from ebpf import tracefs
from ebpf.kernel_btf import kernel_btf
from tests.kernel.compile.conftest import Load, since
from tests.kernel.samples import wait_until

TOP = """
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
"""


def values(objects: ebpf.Collection) -> dict[str, object]:
    return {name: variable.value for name, variable in objects.variables.items()}


def run(objects: ebpf.Collection, name: str = "run") -> int:
    return objects.programs[name].test_run().return_value


def test_maps_are_what_their_definitions_say(load: Load) -> None:
    """A map of another type, size or layout would be made, or inner maps be missing."""
    objects = load(
        TOP
        + """
        struct inner { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1);
                       __type(key, int); __type(value, long long); } first SEC(".maps");
        struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 7);
                 __uint(map_flags, BPF_F_NO_PREALLOC);
                 __type(key, __u32); __type(value, __u64); } counts SEC(".maps");
        struct { __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS); __uint(max_entries, 2);
                 __type(key, int); __array(values, struct inner); } outer SEC(".maps") = {
            .values = { [1] = &first },
        };
        SEC("raw_tp") int run(void *ctx)
        {
            int at = 1, zero = 0; __u32 key = 5; __u64 value = 6;
            void *map = bpf_map_lookup_elem(&outer, &at);
            long long *found = map ? bpf_map_lookup_elem(map, &zero) : NULL;
            if (likely(found)) *found = 40;
            return bpf_map_update_elem(&counts, &key, &value, BPF_NOEXIST);
        }
        """
    )
    assert run(objects) == 0
    assert dict(objects.maps["counts"].items()) == {5: 6}
    assert objects.maps["counts"].max_entries == 7
    assert objects.maps["first"][0] == 40


def test_byte_order(load: Load) -> None:
    """A port or address would be compared the wrong way round, as a constant or a value."""
    objects = load(
        TOP
        + """
        __u16 half = 0x1234; __u32 word = 0x12345678; __u64 whole = 0x123456789abcdef0;
        __u16 half_be; __u32 word_be; __u64 whole_be; int back;
        __u16 constant = bpf_htons(0x1234), old = __bpf_constant_htons(0x1234);
        SEC("raw_tp") int run(void *ctx)
        {
            half_be = bpf_htons(half); word_be = bpf_htonl(word);
            whole_be = bpf_cpu_to_be64(whole);
            back = bpf_ntohs(half_be) == half && bpf_ntohl(word_be) == word &&
                   bpf_be64_to_cpu(whole_be) == whole && __bpf_ntohl(word_be) == word;
            return 0;
        }
        """
    )
    run(objects)
    seen = values(objects)
    for name, code, value in (
        ("half_be", "H", 0x1234),
        ("constant", "H", 0x1234),
        ("old", "H", 0x1234),
        ("word_be", "I", 0x12345678),
        ("whole_be", "Q", 0x123456789ABCDEF0),
    ):
        (expected,) = struct.unpack(f"={code}", struct.pack(f">{code}", value))
        assert seen[name] == expected, name
    assert seen["back"] == 1


def test_loops(load: Load) -> None:
    """A loop would run too often, or its variable leave the bounds that the verifier is told, or
    be behind the loop another one than with libbpf's headers: that of the last round, if any."""
    since("bpf_iter_num_new", 6, 4)
    objects = load(
        TOP
        + """
        struct bpf_iter_num { __u64 opaque[1]; } __attribute__((aligned(8)));
        int numbers[10], after, untouched, repeats, each, empty, nested;
        int start = 2, end = 9;
        SEC("raw_tp") int run(void *ctx)
        {
            int i, j, *one;
            bpf_for(i, start, end) { if (i < 0 || i > 9) break; numbers[i] = i; }
            after = i;
            bpf_repeat(5) repeats++;
            bpf_for_each(num, one, 3, 6) each = each * 10 + *one;
            i = 70;
            bpf_for(i, 4, 4) empty = 1;
            untouched = i;
            bpf_for(i, 0, 3) bpf_for(j, 0, 4) { if (j > i) break; nested++; }
            return 0;
        }
        """
    )
    run(objects)
    seen = values(objects)
    assert seen["numbers"] == (0, 0, 2, 3, 4, 5, 6, 7, 8, 0)
    assert (seen["after"], seen["untouched"]) == (8, 70)
    assert (seen["repeats"], seen["each"], seen["empty"], seen["nested"]) == (5, 345, 0, 6)


def test_snprintf(load: Load) -> None:
    """An argument would be lost, come in another order, or lose its sign or upper half."""
    since("bpf_snprintf", 5, 13)
    objects = load(
        TOP
        + """
        char out[80], none[8]; long length, without; char name[] = "abc";
        SEC("raw_tp") int run(void *ctx)
        {
            signed char small = -5;
            length = BPF_SNPRINTF(out, sizeof(out), "%d %s %llx %u %d %d %d %d %d %d %d %d",
                                  small, name, 0x123456789abcULL, 1u << 31,
                                  1, 2, 3, 4, 5, 6, 7, 8);
            without = BPF_SNPRINTF(none, sizeof(none), "plain");
            return 0;
        }
        """
    )
    run(objects)
    seen = values(objects)
    text = b"-5 abc 123456789abc 2147483648 1 2 3 4 5 6 7 8"
    assert (seen["out"], seen["length"]) == (text, len(text) + 1)
    assert seen["none"] == b"plain"
    assert seen["without"] == 6


def test_printk(load: Load) -> None:
    """What a program prints would not be seen, with few arguments or with many."""
    since("bpf_trace_vprintk", 5, 16)
    objects = load(
        TOP
        + """
        SEC("raw_tp") int run(void *ctx)
        {
            bpf_printk("mine: nothing else");
            bpf_printk("mine: three %d %d %d", 1, -2, 3);
            bpf_printk("mine: five %d %d %d %d %s", 1, 2, 3, 4, "end");
            return 0;
        }
        """
    )
    # Loading switches this on; newer kernels do so a moment later.
    switch = Path(tracefs.find(), "events/bpf_trace/bpf_trace_printk/enable")
    wait_until(lambda: switch.read_text().strip() == "1", "bpf_trace_printk is switched on")
    with ebpf.TracePipe() as pipe:
        run(objects)
        lines: list[str] = []
        # Whatever else this machine traces comes through the same pipe.
        while len(lines) < 3 and pipe.poll(10):
            lines += [one.message for one in pipe.read() if one.message.startswith("mine: ")]
    assert lines == ["mine: nothing else", "mine: three 1 -2 3", "mine: five 1 2 3 4 end"]


def test_tail_call_with_a_constant_slot(load: Load) -> None:
    """The program would go on instead of jumping, or jump to another slot."""
    objects = load(
        TOP
        + """
        struct { __uint(type, BPF_MAP_TYPE_PROG_ARRAY); __uint(max_entries, 2);
                 __type(key, __u32); __type(value, __u32); } jumps SEC(".maps");
        SEC("raw_tp") int target(void *ctx) { return 42; }
        SEC("raw_tp") int run(void *ctx) { bpf_tail_call_static(ctx, &jumps, 1); return 1; }
        """
    )
    assert run(objects) == 1
    objects.maps["jumps"][1] = objects.programs["target"]
    assert run(objects) == 42


def test_kernel_symbols_and_options(load: Load) -> None:
    """A function that the kernel lacks would count as there, or an option have another value."""
    objects = load(
        TOP
        + """
        extern void bpf_rcu_read_lock(void) __ksym __weak;
        extern void bpf_no_such_function(void) __ksym __weak;
        extern enum libbpf_tristate CONFIG_BPF_SYSCALL __kconfig __weak;
        extern enum libbpf_tristate CONFIG_NO_SUCH_OPTION __kconfig __weak;
        extern unsigned int LINUX_KERNEL_VERSION __kconfig;
        int missing = -1, option, none, newer, older;
        SEC("raw_tp") int run(void *ctx)
        {
            missing = bpf_ksym_exists(bpf_no_such_function);
            option = CONFIG_BPF_SYSCALL == TRI_YES;
            none = CONFIG_NO_SUCH_OPTION == TRI_NO;
            newer = LINUX_KERNEL_VERSION >= KERNEL_VERSION(5, 10, 0);
            older = LINUX_KERNEL_VERSION < KERNEL_VERSION(5, 9, 999);
            return 0;
        }
        """
    )
    run(objects)
    seen = values(objects)
    assert [seen[n] for n in ("missing", "option", "none", "newer", "older")] == [0, 1, 1, 1, 0]


def test_functions_and_structs(load: Load) -> None:
    """container_of would leave the program's own struct, or a hidden function keep the verifier
    from seeing the pointer that it gets."""
    objects = load(
        TOP
        + """
        struct both { int first; long long second; };
        int found, offset;
        __hidden __noinline int through(struct both *both) { return both->first; }
        static __always_inline long long *second(struct both *both) { return &both->second; }
        SEC("raw_tp") int run(void *ctx)
        {
            struct both both = {3, 4};
            barrier();
            found = through(container_of(second(&both), struct both, second));
            barrier_var(found);
            offset = offsetof(struct both, second);
            return unlikely(found != 3);
        }
        """
    )
    assert run(objects) == 0
    seen = values(objects)
    assert (seen["found"], seen["offset"]) == (3, 8)


def test_a_fields_place_is_the_running_kernels(load: Load) -> None:
    """offsetof and container_of would go by the struct as it was compiled, here cut down to one
    field, and point elsewhere on every other kernel."""
    objects = load(
        TOP
        + """
        struct task_struct { int tgid; } __attribute__((preserve_access_index));
        __u64 offset; int back;
        SEC("raw_tp") int run(void *ctx)
        {
            struct task_struct *task = (void *)bpf_get_current_task();
            int *inner = &task->tgid;
            barrier_var(inner);
            offset = offsetof(struct task_struct, tgid);
            back = container_of(inner, struct task_struct, tgid) == task;
            return 0;
        }
        """
    )
    assert run(objects) == 0
    offset = kernel_btf().find_struct("task_struct").field("tgid").bit_offset // 8
    assert values(objects) == {"offset": offset, "back": 1}
