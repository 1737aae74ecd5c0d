"""The peer: bcc doing what loader_event.py does, from C source that it compiles itself.

Prints the same two numbers. Runs under the system's Python, which has bcc, and needs headers of a
kernel: the running one's, or BCC_KERNEL_SOURCE. It reads no struct of the kernel, which takes less
time than what the others do, and lets the headers be those of another kernel.
"""

import os
import time

from bcc import BPF  # type: ignore[import-not-found]

SOURCE = """
struct event {
    u32 tgid;
    u32 pid;
    char comm[16];
};

BPF_RINGBUF_OUTPUT(events, 64);

RAW_TRACEPOINT_PROBE(sched_switch)
{
    u64 current = bpf_get_current_pid_tgid();
    struct event event = {};

    event.tgid = current >> 32;
    if (event.tgid != TARGET)
        return 0;
    event.pid = current;
    bpf_get_current_comm(&event.comm, sizeof(event.comm));
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
