"""What the running kernel can do, found out by trying it, never by its version.

    maps       map_type, batch_operations, hash_lookup_and_delete, ring_buffer, object_names,
               exclusive_maps
    programs   program_type, helper
    hooks      perf_event_link, perf_event_cookie, raw_tracepoint_cookie, kprobe_pmu, fentry,
               lsm
    network    xdp_link, tcx, netkit, netfilter_link, cgroup_link, cgroup_order, netns_link,
               sockmap_link
    security   tokens, program_signatures
    machine    kernel_btf, memcg_accounting, jit

Every probe answers True or False, and keeps its answer for the life of the process. A probe
answers only to what it understands: a refusal that has another cause (missing capabilities, no
memory, a security module) is raised as the exception it is, and nothing is kept.

    BpfPermissionError   the kernel would not let this process try; the message lists the facts
    VerifierError        the verifier said something that the probe does not know
    BpfError             any other refusal
    TypeError, ValueError  an argument that is no such type, or one that cannot be probed
"""

from ebpf._sys.cache import clear_cache
from ebpf.features.hooks import (
    fentry,
    kprobe_pmu,
    lsm,
    perf_event_cookie,
    perf_event_link,
    raw_tracepoint_cookie,
)
from ebpf.features.machine import jit, kernel_btf, memcg_accounting
from ebpf.features.maps import (
    batch_operations,
    exclusive_maps,
    hash_lookup_and_delete,
    map_type,
    object_names,
    ring_buffer,
)
from ebpf.features.network import (
    cgroup_link,
    cgroup_order,
    netfilter_link,
    netkit,
    netns_link,
    sockmap_link,
    tcx,
    xdp_link,
)
from ebpf.features.programs import helper, program_type
from ebpf.features.security import program_signatures, tokens

__all__ = [
    "batch_operations",
    "cgroup_link",
    "cgroup_order",
    "clear_cache",
    "exclusive_maps",
    "fentry",
    "hash_lookup_and_delete",
    "helper",
    "jit",
    "kernel_btf",
    "kprobe_pmu",
    "lsm",
    "map_type",
    "memcg_accounting",
    "netfilter_link",
    "netkit",
    "netns_link",
    "object_names",
    "perf_event_cookie",
    "perf_event_link",
    "program_signatures",
    "program_type",
    "raw_tracepoint_cookie",
    "ring_buffer",
    "sockmap_link",
    "tcx",
    "tokens",
    "xdp_link",
]
