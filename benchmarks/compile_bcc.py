"""The peer: bcc with the program of compile.bpf.c, which it compiles whenever it is asked to.

Prints the nanoseconds from the source to loaded programs, and the peak of resident memory (KiB).
Runs under the system's Python, which has bcc, and needs headers of a kernel: the running one's, or
BCC_KERNEL_SOURCE.
"""

import time

from bcc import BPF  # type: ignore[import-not-found]

SOURCE = """
struct event {
    u64 nanoseconds;
    u32 process;
    u32 user;
    char name[16];
};

BPF_HASH(starts, u32, u64, 10240);
BPF_ARRAY(lifetimes, u64, 64);
BPF_RINGBUF_OUTPUT(events, 64);

int on_exec(void *context)
{
    u32 process = bpf_get_current_pid_tgid() >> 32;
    u64 now = bpf_ktime_get_ns();

    starts.update(&process, &now);
    return 0;
}

int on_exit(void *context)
{
    u32 process = bpf_get_current_pid_tgid() >> 32, slot = 0;
    u64 *start = starts.lookup(&process), *count;
    struct event event = {};

    if (!start)
        return 0;
    event.nanoseconds = bpf_ktime_get_ns() - *start;
    event.process = process;
    event.user = bpf_get_current_uid_gid();
    bpf_get_current_comm(event.name, sizeof(event.name));
    for (int i = 0; i < 63 && event.nanoseconds >> i > 1; i++)
        slot++;
    count = lifetimes.lookup(&slot);
    if (count)
        __sync_fetch_and_add(count, 1);
    events.ringbuf_output(&event, sizeof(event), 0);
    starts.delete(&process);
    return 0;
}
"""

start = time.perf_counter_ns()
bpf = BPF(text=SOURCE)
for name in ("on_exec", "on_exit"):
    bpf.load_func(name, BPF.RAW_TRACEPOINT)
elapsed = time.perf_counter_ns() - start
with open("/proc/self/status", encoding="ascii") as status:
    peak = next(line.split()[1] for line in status if line.startswith("VmHWM"))
print(elapsed, peak)
