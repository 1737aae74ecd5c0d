"""What a link's info holds, by its kind: which mirror struct, and which members are buffers."""

from __future__ import annotations

from ebpf._ffi import ffi
from ebpf._sys.bpf import get_info, plain
from ebpf._sys.call import address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ebpf._sys.bpf import Fields

# enum bpf_link_type -> struct ebpf_link_info_<kind>
_KINDS = {
    1: "raw_tracepoint",
    2: "tracing",
    3: "cgroup",
    4: "iter",
    5: "netns",
    6: "xdp",
    7: "perf_event",
    8: "kprobe_multi",
    9: "struct_ops",
    10: "netfilter",
    11: "tcx",
    12: "uprobe_multi",
    13: "netkit",
    14: "sockmap",
    15: "tracing_multi",
}

# enum bpf_perf_event_type -> struct ebpf_link_info_perf_event_<kind>; 0 before 6.6.
_PERF_EVENT_KINDS = {
    1: "uprobe",
    2: "uprobe",
    3: "kprobe",
    4: "kprobe",
    5: "tracepoint",
    6: "event",
}

# The iterators whose info has members of their own.
_ITER_KINDS = {"cgroup": "cgroup", "task": "task", "task_file": "task", "task_vma": "task"}

# Kind -> buffers that the kernel fills: (member, the member with its length, what it holds).
_BUFFERS = {
    "raw_tracepoint": [("tp_name", "tp_name_len", "char")],
    "iter": [("target_name", "target_name_len", "char")],
    "perf_event_uprobe": [("file_name", "name_len", "char")],
    "perf_event_kprobe": [("func_name", "name_len", "char")],
    "perf_event_tracepoint": [("tp_name", "name_len", "char")],
    "kprobe_multi": [("addrs", "count", "uint64_t"), ("cookies", "count", "uint64_t")],
    "uprobe_multi": [
        ("path", "path_size", "char"),
        ("offsets", "count", "uint64_t"),
        ("ref_ctr_offsets", "count", "uint64_t"),
        ("cookies", "count", "uint64_t"),
    ],
    "tracing_multi": [
        ("ids", "count", "uint32_t"),
        ("addrs", "count", "uint64_t"),
        ("cookies", "count", "uint64_t"),
    ],
}

# Enough for every symbol (512) and path (4096). Not every kernel that has a name says how long
# it is: for perf events only those since 6.9 do.
_TEXT_SIZE = 4096


def link_info(fd: int) -> Fields:
    """OBJ_GET_INFO_BY_FD for a link: the head, and the members of its kind where one is known.

    Names and paths are bytes, arrays are lists; the members that held their lengths are left out.
    Members that the running kernel does not know are 0, or empty.
    """
    head = ffi.new("struct ebpf_link_info *")
    get_info(fd, head)
    kind = _kind(head)
    if not kind:
        return {name: int(getattr(head, name)) for name in ("type", "id", "prog_id")}
    if kind not in _BUFFERS:
        return plain(_as(kind, head))
    fields = _with_buffers(fd, head, kind)
    if kind == "iter":
        own = _ITER_KINDS.get(fields["target_name"].decode("ascii", "replace"))
        if own:
            fields = {**plain(_as(f"iter_{own}", head)), **fields}
            del fields["target_name_len"]
    return fields


def _kind(head: Any) -> str:
    kind = _KINDS.get(int(head.type), "")
    if kind == "perf_event":
        event = _PERF_EVENT_KINDS.get(int(_as(kind, head).perf_event_type))
        return f"perf_event_{event}" if event else kind
    return kind


def _as(kind: str, head: Any) -> Any:
    return ffi.cast(f"struct ebpf_link_info_{kind} *", head)


def _with_buffers(fd: int, head: Any, kind: str) -> Fields:
    """The fields of `kind`, asked for once more with buffers for what points somewhere."""
    info = _as(kind, head)
    # A link with several targets that counts none is on a kernel that does not describe it.
    count = int(getattr(info, "count", 1))
    buffers: dict[str, Any] = {}
    for member, length, holds in _BUFFERS[kind] if count else ():
        room = _TEXT_SIZE if holds == "char" else count
        buffers[member] = ffi.new(f"{holds}[]", room)
        setattr(info, length, room)
        setattr(info, member, address(buffers[member]))
    if buffers:
        get_info(fd, head)
    fields = plain(info)
    for member, length, holds in _BUFFERS[kind]:
        buffer = buffers.get(member)
        if holds == "char":
            fields[member] = b"" if buffer is None else ffi.string(buffer)
            del fields[length]
        else:
            fields[member] = [] if buffer is None else list(buffer)
    return fields
