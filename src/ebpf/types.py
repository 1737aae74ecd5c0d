"""The numbers of the bpf() interface, each with the kernel release that introduced it.

Names are the uapi names of ``<linux/bpf.h>`` without their common prefix. Nothing here asks the
running kernel: ``since`` says which release is the first that can know a number.

Enumerations (``KernelEnum``): a number that this library does not know yet becomes a member
``UNKNOWN_<n>`` whose ``since`` is None. Flags (``KernelFlags``): bits without a name are kept.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

from ebpf.errors import Version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    _E = TypeVar("_E", bound="KernelEnum")

_ALL_BITS = (1 << 64) - 1  # no flags of the kernel are wider

# Every UNKNOWN_<n> that was asked for, so that the same number is always the same object.
# Kept outside the classes: in an Enum body a dict would become a member.
_unknown: dict[tuple[type[KernelEnum], int], KernelEnum] = {}


class KernelEnum(IntEnum):
    """A number of the kernel's interface that knows the release which introduced it.

    ``since`` is ``(major, minor)``, or None for a number that this library has no name for.
    ``str()`` is the bare name. A format specification that asks for an integer (``:d``, ``:x``)
    shows the number, any other the name, on every Python.
    """

    since: Version | None

    def __new__(cls: type[_E], value: int, since: Version | None = None) -> _E:
        member = int.__new__(cls, value)
        member._value_ = value
        member.since = since
        return member

    @classmethod
    def _missing_(cls, value: object) -> KernelEnum | None:
        """A pseudo member for a 32-bit number that a newer kernel introduced."""
        if not isinstance(value, int) or not 0 <= value < 1 << 32:
            return None
        member = int.__new__(cls, value)
        member._name_ = f"UNKNOWN_{int(value)}"
        member._value_ = int(value)
        member.since = None
        return _unknown.setdefault((cls, int(value)), member)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        # By value: Python 3.11 pickles by name, and UNKNOWN_<n> is no attribute of the class.
        return self.__class__, (self._value_,)

    def __str__(self) -> str:
        return self.name

    def __format__(self, spec: str) -> str:
        if spec and spec[-1] in "bcdnoxX":
            return int.__format__(self, spec)
        return format(self.name, spec)


# What is said letter by letter, and begins with the sound of a vowel.
_SPELLED = ("LPM", "LRU", "LSM", "LWT", "SK_", "XDP", "XSK")


def one(kind: KernelEnum) -> str:
    """``"an ARRAY"``, ``"a HASH"``: the name of a type in a sentence."""
    vowel = kind.name[0] in "AEIO" or kind.name.startswith(("UN", *_SPELLED))
    return f"{'an' if vowel else 'a'} {kind.name}"


class KernelFlags(IntFlag):
    """Flags of the kernel's interface. Bits that have no name here are kept.

    ``str()`` is the names joined by ``|``, unnamed bits in hexadecimal, and ``0`` for none.
    """

    @property
    def since(self) -> Version | None:
        """The first release that knows every bit which is set.

        None where one of them has no name here, ``(0, 0)`` where none is set.
        """
        newest: Version = (0, 0)
        releases = _FLAGS_SINCE[type(self)]
        for bit in _bits(self):
            if bit not in releases:
                return None
            newest = max(newest, releases[bit])
        return newest

    @classmethod
    def _missing_(cls, value: object) -> Any:
        # ~flags arrives here as a negative number. Enum would keep its named bits only, and then
        # flags & ~flag would drop what a newer kernel set.
        if isinstance(value, int) and value < 0:
            value &= _ALL_BITS
        return super()._missing_(value)

    def __str__(self) -> str:
        names = {int(flag): name for name, flag in type(self).__members__.items()}
        return "|".join(names.get(bit, hex(bit)) for bit in _bits(self)) or "0"

    def __format__(self, spec: str) -> str:
        if spec and spec[-1] in "bcdnoxX":
            return int.__format__(self, spec)
        return format(str(self), spec)


def _bits(value: int) -> list[int]:
    """The bits which are set, lowest first."""
    return [1 << n for n in range(value.bit_length()) if int(value) >> n & 1]


class Command(KernelEnum):
    """``enum bpf_cmd``: what a bpf() call is to do."""

    MAP_CREATE = 0, (3, 18)
    MAP_LOOKUP_ELEM = 1, (3, 18)
    MAP_UPDATE_ELEM = 2, (3, 18)
    MAP_DELETE_ELEM = 3, (3, 18)
    MAP_GET_NEXT_KEY = 4, (3, 18)
    PROG_LOAD = 5, (3, 18)
    OBJ_PIN = 6, (4, 4)
    OBJ_GET = 7, (4, 4)
    PROG_ATTACH = 8, (4, 10)
    PROG_DETACH = 9, (4, 10)
    PROG_TEST_RUN = 10, (4, 12)
    PROG_RUN = 10, (4, 12)  # the name that uapi gave PROG_TEST_RUN in 5.14
    PROG_GET_NEXT_ID = 11, (4, 13)
    MAP_GET_NEXT_ID = 12, (4, 13)
    PROG_GET_FD_BY_ID = 13, (4, 13)
    MAP_GET_FD_BY_ID = 14, (4, 13)
    OBJ_GET_INFO_BY_FD = 15, (4, 13)
    PROG_QUERY = 16, (4, 15)
    RAW_TRACEPOINT_OPEN = 17, (4, 17)
    BTF_LOAD = 18, (4, 18)
    BTF_GET_FD_BY_ID = 19, (4, 18)
    TASK_FD_QUERY = 20, (4, 18)
    MAP_LOOKUP_AND_DELETE_ELEM = 21, (4, 20)  # queue and stack; hash types: 5.14
    MAP_FREEZE = 22, (5, 2)
    BTF_GET_NEXT_ID = 23, (5, 4)
    MAP_LOOKUP_BATCH = 24, (5, 6)
    MAP_LOOKUP_AND_DELETE_BATCH = 25, (5, 6)
    MAP_UPDATE_BATCH = 26, (5, 6)
    MAP_DELETE_BATCH = 27, (5, 6)
    LINK_CREATE = 28, (5, 7)
    LINK_UPDATE = 29, (5, 7)
    LINK_GET_FD_BY_ID = 30, (5, 8)
    LINK_GET_NEXT_ID = 31, (5, 8)
    ENABLE_STATS = 32, (5, 8)
    ITER_CREATE = 33, (5, 8)
    LINK_DETACH = 34, (5, 9)
    PROG_BIND_MAP = 35, (5, 10)
    TOKEN_CREATE = 36, (6, 9)
    PROG_STREAM_READ_BY_FD = 37, (6, 17)
    PROG_ASSOC_STRUCT_OPS = 38, (7, 0)


# BPF_COMMON_ATTRS, 7.2: a bit of the command which says that the call carries a fourth and fifth
# argument, struct bpf_common_attr and its size.
COMMON_ATTRS = 1 << 16


class MapType(KernelEnum):
    """``enum bpf_map_type`` (``BPF_MAP_TYPE_*``)."""

    UNSPEC = 0, (3, 18)
    HASH = 1, (3, 19)
    ARRAY = 2, (3, 19)
    PROG_ARRAY = 3, (4, 2)
    PERF_EVENT_ARRAY = 4, (4, 3)
    PERCPU_HASH = 5, (4, 6)
    PERCPU_ARRAY = 6, (4, 6)
    STACK_TRACE = 7, (4, 6)
    CGROUP_ARRAY = 8, (4, 8)
    LRU_HASH = 9, (4, 10)
    LRU_PERCPU_HASH = 10, (4, 10)
    LPM_TRIE = 11, (4, 11)
    ARRAY_OF_MAPS = 12, (4, 12)
    HASH_OF_MAPS = 13, (4, 12)
    DEVMAP = 14, (4, 14)
    SOCKMAP = 15, (4, 14)
    CPUMAP = 16, (4, 15)
    XSKMAP = 17, (4, 18)
    SOCKHASH = 18, (4, 18)
    CGROUP_STORAGE = 19, (4, 19)  # deprecated: CGRP_STORAGE replaces it
    CGROUP_STORAGE_DEPRECATED = 19, (4, 19)
    REUSEPORT_SOCKARRAY = 20, (4, 19)
    PERCPU_CGROUP_STORAGE = 21, (4, 20)  # deprecated: CGRP_STORAGE with a per-CPU kptr
    PERCPU_CGROUP_STORAGE_DEPRECATED = 21, (4, 20)
    QUEUE = 22, (4, 20)
    STACK = 23, (4, 20)
    SK_STORAGE = 24, (5, 2)
    DEVMAP_HASH = 25, (5, 4)
    STRUCT_OPS = 26, (5, 6)
    RINGBUF = 27, (5, 8)
    INODE_STORAGE = 28, (5, 10)
    TASK_STORAGE = 29, (5, 11)
    BLOOM_FILTER = 30, (5, 16)
    USER_RINGBUF = 31, (6, 1)
    CGRP_STORAGE = 32, (6, 2)
    ARENA = 33, (6, 9)
    INSN_ARRAY = 34, (6, 19)
    RHASH = 35, (7, 2)


class ProgramType(KernelEnum):
    """``enum bpf_prog_type`` (``BPF_PROG_TYPE_*``)."""

    UNSPEC = 0, (3, 18)
    SOCKET_FILTER = 1, (3, 19)
    KPROBE = 2, (4, 1)
    SCHED_CLS = 3, (4, 1)
    SCHED_ACT = 4, (4, 1)
    TRACEPOINT = 5, (4, 7)
    XDP = 6, (4, 8)
    PERF_EVENT = 7, (4, 9)
    CGROUP_SKB = 8, (4, 10)
    CGROUP_SOCK = 9, (4, 10)
    LWT_IN = 10, (4, 10)
    LWT_OUT = 11, (4, 10)
    LWT_XMIT = 12, (4, 10)
    SOCK_OPS = 13, (4, 13)
    SK_SKB = 14, (4, 14)
    CGROUP_DEVICE = 15, (4, 15)
    SK_MSG = 16, (4, 17)
    RAW_TRACEPOINT = 17, (4, 17)
    CGROUP_SOCK_ADDR = 18, (4, 17)
    LWT_SEG6LOCAL = 19, (4, 18)
    LIRC_MODE2 = 20, (4, 18)
    SK_REUSEPORT = 21, (4, 19)
    FLOW_DISSECTOR = 22, (4, 20)
    CGROUP_SYSCTL = 23, (5, 2)
    RAW_TRACEPOINT_WRITABLE = 24, (5, 2)
    CGROUP_SOCKOPT = 25, (5, 3)
    TRACING = 26, (5, 5)
    STRUCT_OPS = 27, (5, 6)
    EXT = 28, (5, 6)
    LSM = 29, (5, 7)
    SK_LOOKUP = 30, (5, 9)
    SYSCALL = 31, (5, 14)
    NETFILTER = 32, (6, 4)


class AttachType(KernelEnum):
    """``enum bpf_attach_type`` (``BPF_*``): the hook that a program is written for."""

    CGROUP_INET_INGRESS = 0, (4, 10)
    CGROUP_INET_EGRESS = 1, (4, 10)
    CGROUP_INET_SOCK_CREATE = 2, (4, 10)
    CGROUP_SOCK_OPS = 3, (4, 13)
    SK_SKB_STREAM_PARSER = 4, (4, 14)
    SK_SKB_STREAM_VERDICT = 5, (4, 14)
    CGROUP_DEVICE = 6, (4, 15)
    SK_MSG_VERDICT = 7, (4, 17)
    CGROUP_INET4_BIND = 8, (4, 17)
    CGROUP_INET6_BIND = 9, (4, 17)
    CGROUP_INET4_CONNECT = 10, (4, 17)
    CGROUP_INET6_CONNECT = 11, (4, 17)
    CGROUP_INET4_POST_BIND = 12, (4, 17)
    CGROUP_INET6_POST_BIND = 13, (4, 17)
    CGROUP_UDP4_SENDMSG = 14, (4, 18)
    CGROUP_UDP6_SENDMSG = 15, (4, 18)
    LIRC_MODE2 = 16, (4, 18)
    FLOW_DISSECTOR = 17, (4, 20)
    CGROUP_SYSCTL = 18, (5, 2)
    CGROUP_UDP4_RECVMSG = 19, (5, 2)
    CGROUP_UDP6_RECVMSG = 20, (5, 2)
    CGROUP_GETSOCKOPT = 21, (5, 3)
    CGROUP_SETSOCKOPT = 22, (5, 3)
    TRACE_RAW_TP = 23, (5, 5)
    TRACE_FENTRY = 24, (5, 5)
    TRACE_FEXIT = 25, (5, 5)
    MODIFY_RETURN = 26, (5, 7)
    LSM_MAC = 27, (5, 7)
    TRACE_ITER = 28, (5, 8)
    CGROUP_INET4_GETPEERNAME = 29, (5, 8)
    CGROUP_INET6_GETPEERNAME = 30, (5, 8)
    CGROUP_INET4_GETSOCKNAME = 31, (5, 8)
    CGROUP_INET6_GETSOCKNAME = 32, (5, 8)
    XDP_DEVMAP = 33, (5, 8)
    CGROUP_INET_SOCK_RELEASE = 34, (5, 9)
    XDP_CPUMAP = 35, (5, 9)
    SK_LOOKUP = 36, (5, 9)
    XDP = 37, (5, 9)
    SK_SKB_VERDICT = 38, (5, 13)
    SK_REUSEPORT_SELECT = 39, (5, 14)
    SK_REUSEPORT_SELECT_OR_MIGRATE = 40, (5, 14)
    PERF_EVENT = 41, (5, 15)
    TRACE_KPROBE_MULTI = 42, (5, 18)
    LSM_CGROUP = 43, (6, 0)
    STRUCT_OPS = 44, (6, 4)
    NETFILTER = 45, (6, 4)
    TCX_INGRESS = 46, (6, 6)
    TCX_EGRESS = 47, (6, 6)
    TRACE_UPROBE_MULTI = 48, (6, 6)
    CGROUP_UNIX_CONNECT = 49, (6, 7)
    CGROUP_UNIX_SENDMSG = 50, (6, 7)
    CGROUP_UNIX_RECVMSG = 51, (6, 7)
    CGROUP_UNIX_GETPEERNAME = 52, (6, 7)
    CGROUP_UNIX_GETSOCKNAME = 53, (6, 7)
    NETKIT_PRIMARY = 54, (6, 7)
    NETKIT_PEER = 55, (6, 7)
    TRACE_KPROBE_SESSION = 56, (6, 10)
    TRACE_UPROBE_SESSION = 57, (6, 13)
    TRACE_FSESSION = 58, (7, 0)
    TRACE_FENTRY_MULTI = 59, (7, 2)
    TRACE_FEXIT_MULTI = 60, (7, 2)
    TRACE_FSESSION_MULTI = 61, (7, 2)


class LinkType(KernelEnum):
    """``enum bpf_link_type`` (``BPF_LINK_TYPE_*``): what a link's info says it is."""

    UNSPEC = 0, (5, 8)
    RAW_TRACEPOINT = 1, (5, 8)
    TRACING = 2, (5, 8)
    CGROUP = 3, (5, 8)
    ITER = 4, (5, 8)
    NETNS = 5, (5, 8)
    XDP = 6, (5, 9)
    PERF_EVENT = 7, (5, 15)
    KPROBE_MULTI = 8, (5, 18)
    STRUCT_OPS = 9, (6, 4)  # the number is reserved since 5.19
    NETFILTER = 10, (6, 4)
    TCX = 11, (6, 6)
    UPROBE_MULTI = 12, (6, 6)
    NETKIT = 13, (6, 7)
    SOCKMAP = 14, (6, 10)
    TRACING_MULTI = 15, (7, 2)


class PerfEventType(KernelEnum):
    """``enum bpf_perf_event_type`` (``BPF_PERF_EVENT_*``): the kind of event of a perf link."""

    UNSPEC = 0, (6, 6)
    UPROBE = 1, (6, 6)
    URETPROBE = 2, (6, 6)
    KPROBE = 3, (6, 6)
    KRETPROBE = 4, (6, 6)
    TRACEPOINT = 5, (6, 6)
    EVENT = 6, (6, 6)


class PerfHardware(KernelEnum):
    """``enum perf_hw_id`` (``PERF_COUNT_HW_*``): what a processor counts, where it does."""

    CPU_CYCLES = 0, (2, 6)
    INSTRUCTIONS = 1, (2, 6)
    CACHE_REFERENCES = 2, (2, 6)
    CACHE_MISSES = 3, (2, 6)
    BRANCH_INSTRUCTIONS = 4, (2, 6)
    BRANCH_MISSES = 5, (2, 6)
    BUS_CYCLES = 6, (2, 6)
    STALLED_CYCLES_FRONTEND = 7, (3, 0)
    STALLED_CYCLES_BACKEND = 8, (3, 0)
    REF_CPU_CYCLES = 9, (3, 3)


class PerfSoftware(KernelEnum):
    """``enum perf_sw_ids`` (``PERF_COUNT_SW_*``): what the kernel counts; clocks in ns."""

    CPU_CLOCK = 0, (2, 6)
    TASK_CLOCK = 1, (2, 6)
    PAGE_FAULTS = 2, (2, 6)
    CONTEXT_SWITCHES = 3, (2, 6)
    CPU_MIGRATIONS = 4, (2, 6)
    PAGE_FAULTS_MIN = 5, (2, 6)
    PAGE_FAULTS_MAJ = 6, (2, 6)
    ALIGNMENT_FAULTS = 7, (2, 6)
    EMULATION_FAULTS = 8, (2, 6)
    DUMMY = 9, (3, 12)
    BPF_OUTPUT = 10, (4, 4)
    CGROUP_SWITCHES = 11, (5, 13)


class TaskFdType(KernelEnum):
    """``enum bpf_task_fd_type`` (``BPF_FD_TYPE_*``): what TASK_FD_QUERY found."""

    RAW_TRACEPOINT = 0, (4, 18)
    TRACEPOINT = 1, (4, 18)
    KPROBE = 2, (4, 18)
    KRETPROBE = 3, (4, 18)
    UPROBE = 4, (4, 18)
    URETPROBE = 5, (4, 18)


class StatsType(KernelEnum):
    """``enum bpf_stats_type`` (``BPF_STATS_*``): what ENABLE_STATS turns on."""

    RUN_TIME = 0, (5, 8)


class Stream(KernelEnum):
    """The streams of a program (``BPF_STREAM_*``) that PROG_STREAM_READ_BY_FD reads."""

    STDOUT = 1, (6, 17)
    STDERR = 2, (6, 17)


class CgroupIterOrder(KernelEnum):
    """``enum bpf_cgroup_iter_order`` (``BPF_CGROUP_ITER_*``): which cgroups an iterator visits."""

    ORDER_UNSPEC = 0, (6, 1)
    SELF_ONLY = 1, (6, 1)
    DESCENDANTS_PRE = 2, (6, 1)
    DESCENDANTS_POST = 3, (6, 1)
    ANCESTORS_UP = 4, (6, 1)
    CHILDREN = 5, (7, 0)


class StackBuildIdStatus(KernelEnum):
    """``enum bpf_stack_build_id_status`` (``BPF_STACK_BUILD_ID_*``) of one stack frame."""

    EMPTY = 0, (4, 17)
    VALID = 1, (4, 17)
    IP = 2, (4, 17)


class XdpAction(KernelEnum):
    """``enum xdp_action`` (``XDP_*``): what an XDP program returns."""

    ABORTED = 0, (4, 8)
    DROP = 1, (4, 8)
    PASS = 2, (4, 8)
    TX = 3, (4, 8)
    REDIRECT = 4, (4, 14)


class NetfilterHook(KernelEnum):
    """``enum nf_inet_hooks`` (``NF_INET_*``): where netfilter looks at a packet."""

    PRE_ROUTING = 0, (2, 6)
    LOCAL_IN = 1, (2, 6)
    FORWARD = 2, (2, 6)
    LOCAL_OUT = 3, (2, 6)
    POST_ROUTING = 4, (2, 6)


class XdpMode(KernelEnum):
    """Where an XDP program runs (``XDP_ATTACHED_*`` of ``<linux/if_link.h>``).

    In the driver, as soon as a frame is received; GENERIC (SKB), in the kernel's own receive path,
    which every interface has; OFFLOAD (HW), on the card. MULTI: more than one of them at once.
    """

    NONE = 0, (4, 8)
    DRIVER = 1, (4, 12)
    DRV = 1, (4, 12)
    GENERIC = 2, (4, 12)
    SKB = 2, (4, 12)
    OFFLOAD = 3, (4, 13)
    HW = 3, (4, 13)
    MULTI = 4, (4, 19)


class UpdateFlags(KernelFlags):
    """Flags of an element (``BPF_*``, ``BPF_F_*``): update, lookup with LOCK, and the batches.

    CPU, with which the upper 32 bits of the flags are the number of the CPU, and ALL_CPUS are what
    `lookup_cpu` and `put_cpu` of a map pass; values of all CPUs are read and written without.
    """

    ANY = 0
    NOEXIST = 1
    EXIST = 2
    LOCK = 4
    CPU = 8
    ALL_CPUS = 16


class MapFlags(KernelFlags):
    """``map_flags`` of MAP_CREATE (``BPF_F_*``).

    The uapi keeps the flags of other commands in the same enumeration; those that MAP_CREATE does
    not take (PATH_FD) are here too, so that this class is the whole of it.
    """

    NO_PREALLOC = 1 << 0
    NO_COMMON_LRU = 1 << 1
    NUMA_NODE = 1 << 2
    RDONLY = 1 << 3
    WRONLY = 1 << 4
    STACK_BUILD_ID = 1 << 5
    ZERO_SEED = 1 << 6
    RDONLY_PROG = 1 << 7
    WRONLY_PROG = 1 << 8
    CLONE = 1 << 9
    MMAPABLE = 1 << 10
    PRESERVE_ELEMS = 1 << 11
    INNER_MAP = 1 << 12
    LINK = 1 << 13
    PATH_FD = 1 << 14
    VTYPE_BTF_OBJ_FD = 1 << 15
    TOKEN_FD = 1 << 16
    SEGV_ON_FAULT = 1 << 17
    NO_USER_CONV = 1 << 18
    RB_OVERWRITE = 1 << 19


class PinFlags(KernelFlags):
    """``file_flags`` of OBJ_PIN and OBJ_GET (``BPF_F_*``); OBJ_PIN takes PATH_FD only."""

    RDONLY = 1 << 3
    WRONLY = 1 << 4
    PATH_FD = 1 << 14


class OpenFlags(KernelFlags):
    """``open_flags`` of the ``*_GET_FD_BY_ID`` commands (``BPF_F_*``); RDONLY, WRONLY: maps."""

    RDONLY = 1 << 3
    WRONLY = 1 << 4
    TOKEN_FD = 1 << 16


class BtfFlags(KernelFlags):
    """``btf_flags`` of BTF_LOAD (``BPF_F_*``)."""

    TOKEN_FD = 1 << 16


class ProgramFlags(KernelFlags):
    """``prog_flags`` of PROG_LOAD (``BPF_F_*``)."""

    STRICT_ALIGNMENT = 1 << 0
    ANY_ALIGNMENT = 1 << 1
    TEST_RND_HI32 = 1 << 2
    TEST_STATE_FREQ = 1 << 3
    SLEEPABLE = 1 << 4
    XDP_HAS_FRAGS = 1 << 5
    XDP_DEV_BOUND_ONLY = 1 << 6
    TEST_REG_INVARIANTS = 1 << 7
    TOKEN_FD = 1 << 16


class AttachFlags(KernelFlags):
    """``attach_flags`` of PROG_ATTACH, and ``flags`` of LINK_CREATE where the hook orders its
    programs (``BPF_F_*``).

    ALLOW_OVERRIDE, ALLOW_MULTI, REPLACE and PREORDER are about cgroups; BEFORE, AFTER, ID and
    LINK say what ``relative_fd`` means for tcx and netkit (6.6) and for cgroups (6.17).
    """

    ALLOW_OVERRIDE = 1 << 0
    ALLOW_MULTI = 1 << 1
    REPLACE = 1 << 2
    BEFORE = 1 << 3
    AFTER = 1 << 4
    ID = 1 << 5
    PREORDER = 1 << 6
    LINK = 1 << 13


class QueryFlags(KernelFlags):
    """``query_flags`` of PROG_QUERY (``BPF_F_QUERY_*``)."""

    EFFECTIVE = 1 << 0


class TestRunFlags(KernelFlags):
    """``flags`` of PROG_TEST_RUN (``BPF_F_TEST_*``)."""

    __test__ = False  # the name makes pytest take it for tests

    RUN_ON_CPU = 1 << 0
    XDP_LIVE_FRAMES = 1 << 1
    SKB_CHECKSUM_COMPLETE = 1 << 2


class KprobeMultiFlags(KernelFlags):
    """``kprobe_multi.flags`` of LINK_CREATE (``BPF_F_KPROBE_MULTI_*``)."""

    RETURN = 1 << 0


class UprobeMultiFlags(KernelFlags):
    """``uprobe_multi.flags`` of LINK_CREATE (``BPF_F_UPROBE_MULTI_*``)."""

    RETURN = 1 << 0
    PATH_FD = 1 << 1


class NetfilterFlags(KernelFlags):
    """``netfilter.flags`` of LINK_CREATE (``BPF_F_NETFILTER_*``)."""

    IP_DEFRAG = 1 << 0


# The first release that knows each bit. A flag is of one command, so the same bit of the uapi may
# be older in one class than in another.
_FLAGS_SINCE: dict[type[KernelFlags], dict[int, Version]] = {
    UpdateFlags: {
        UpdateFlags.NOEXIST: (3, 19),
        UpdateFlags.EXIST: (3, 19),
        UpdateFlags.LOCK: (5, 1),
        UpdateFlags.CPU: (7, 0),
        UpdateFlags.ALL_CPUS: (7, 0),
    },
    MapFlags: {
        MapFlags.NO_PREALLOC: (4, 6),
        MapFlags.NO_COMMON_LRU: (4, 10),
        MapFlags.NUMA_NODE: (4, 14),
        MapFlags.RDONLY: (4, 15),
        MapFlags.WRONLY: (4, 15),
        MapFlags.STACK_BUILD_ID: (4, 17),
        MapFlags.ZERO_SEED: (5, 0),
        MapFlags.RDONLY_PROG: (5, 2),
        MapFlags.WRONLY_PROG: (5, 2),
        MapFlags.CLONE: (5, 4),
        MapFlags.MMAPABLE: (5, 5),
        MapFlags.PRESERVE_ELEMS: (5, 10),
        MapFlags.INNER_MAP: (5, 10),
        MapFlags.LINK: (6, 4),
        MapFlags.PATH_FD: (6, 5),
        MapFlags.VTYPE_BTF_OBJ_FD: (6, 9),
        MapFlags.TOKEN_FD: (6, 9),
        MapFlags.SEGV_ON_FAULT: (6, 9),
        MapFlags.NO_USER_CONV: (6, 9),
        MapFlags.RB_OVERWRITE: (6, 19),
    },
    PinFlags: {
        PinFlags.RDONLY: (4, 15),
        PinFlags.WRONLY: (4, 15),
        PinFlags.PATH_FD: (6, 5),
    },
    OpenFlags: {
        OpenFlags.RDONLY: (4, 15),
        OpenFlags.WRONLY: (4, 15),
        OpenFlags.TOKEN_FD: (6, 15),
    },
    BtfFlags: {BtfFlags.TOKEN_FD: (6, 9)},
    ProgramFlags: {
        ProgramFlags.STRICT_ALIGNMENT: (4, 12),
        ProgramFlags.ANY_ALIGNMENT: (5, 0),
        ProgramFlags.TEST_RND_HI32: (5, 3),
        ProgramFlags.TEST_STATE_FREQ: (5, 4),
        ProgramFlags.SLEEPABLE: (5, 10),
        ProgramFlags.XDP_HAS_FRAGS: (5, 18),
        ProgramFlags.XDP_DEV_BOUND_ONLY: (6, 3),
        ProgramFlags.TEST_REG_INVARIANTS: (6, 8),
        ProgramFlags.TOKEN_FD: (6, 9),
    },
    AttachFlags: {
        AttachFlags.ALLOW_OVERRIDE: (4, 10),
        AttachFlags.ALLOW_MULTI: (4, 15),
        AttachFlags.REPLACE: (5, 6),
        AttachFlags.BEFORE: (6, 6),
        AttachFlags.AFTER: (6, 6),
        AttachFlags.ID: (6, 6),
        AttachFlags.PREORDER: (6, 15),
        AttachFlags.LINK: (6, 6),
    },
    QueryFlags: {QueryFlags.EFFECTIVE: (4, 15)},
    TestRunFlags: {
        TestRunFlags.RUN_ON_CPU: (5, 10),
        TestRunFlags.XDP_LIVE_FRAMES: (5, 18),
        TestRunFlags.SKB_CHECKSUM_COMPLETE: (6, 11),
    },
    KprobeMultiFlags: {KprobeMultiFlags.RETURN: (5, 18)},
    UprobeMultiFlags: {UprobeMultiFlags.RETURN: (6, 6), UprobeMultiFlags.PATH_FD: (7, 2)},
    NetfilterFlags: {NetfilterFlags.IP_DEFRAG: (6, 6)},
}
