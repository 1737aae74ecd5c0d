"""What programs of each type get in R1 (include/linux/bpf_types.h of Linux 7.3)."""

from __future__ import annotations

from ebpf.types import ProgramType

# As the programs see it, which is not what the kernel has there.
CONTEXTS = {
    **dict.fromkeys(
        (
            ProgramType.SOCKET_FILTER, ProgramType.SCHED_CLS, ProgramType.SCHED_ACT,
            ProgramType.CGROUP_SKB, ProgramType.LWT_IN, ProgramType.LWT_OUT,
            ProgramType.LWT_XMIT, ProgramType.LWT_SEG6LOCAL, ProgramType.SK_SKB,
            ProgramType.FLOW_DISSECTOR,
        ),
        "__sk_buff",
    ),
    ProgramType.XDP: "xdp_md",
    ProgramType.CGROUP_SOCK: "bpf_sock",
    ProgramType.CGROUP_SOCK_ADDR: "bpf_sock_addr",
    ProgramType.SOCK_OPS: "bpf_sock_ops",
    ProgramType.SK_MSG: "sk_msg_md",
    ProgramType.SK_REUSEPORT: "sk_reuseport_md",
    ProgramType.SK_LOOKUP: "bpf_sk_lookup",
    ProgramType.CGROUP_DEVICE: "bpf_cgroup_dev_ctx",
    ProgramType.CGROUP_SYSCTL: "bpf_sysctl",
    ProgramType.CGROUP_SOCKOPT: "bpf_sockopt",
    ProgramType.KPROBE: "pt_regs",
    ProgramType.PERF_EVENT: "bpf_perf_event_data",
    ProgramType.NETFILTER: "bpf_nf_ctx",
}  # fmt: skip
