"""The peer: bcc doing what loader_event.py does, from C source that it compiles itself.

Prints the same two numbers. Runs under the system's Python, which has bcc, and needs the headers
of the running kernel.
"""

import os
import time

from bcc import BPF  # type: ignore[import-not-found]

SOURCE = """
#include <linux/sched.h>

struct event {
    u32 tgid;
    u32 pid;
    u32 parent;
    char comm[16];
};

BPF_RINGBUF_OUTPUT(events, 64);

RAW_TRACEPOINT_PROBE(sched_switch)
{
    struct task_struct *task = (struct task_struct *)ctx->args[1];
    struct event event = {};

    event.tgid = task->tgid;
    if (event.tgid != TARGET)
        return 0;
    event.pid = task->pid;
    bpf_probe_read_kernel(&event.comm, sizeof(event.comm), task->comm);
    event.parent = task->real_parent->tgid;
    events.ringbuf_output(&event, sizeof(event), 0);
    return 0;
}
"""

arrived = []
bpf = BPF(text=SOURCE.replace("TARGET", str(os.getpid())))
bpf["events"].open_ring_buffer(lambda context, data, size: arrived.append(time.monotonic_ns()))
while not arrived:
    bpf.ring_buffer_poll()
with open("/proc/self/status", encoding="ascii") as status:
    peak = next(line.split()[1] for line in status if line.startswith("VmHWM"))
print(arrived[0], peak)
