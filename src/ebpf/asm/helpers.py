"""The helpers of the kernel: number, the release that introduced each, how many arguments.

Numbers: ``enum bpf_func_id`` of linux/bpf.h, whose names in lower case these are. The list is
complete: since Linux 6.2 the kernel adds kfuncs instead of helpers.
"""

from __future__ import annotations

from enum import IntEnum

from ebpf.errors import AsmError

_PREFIX = "bpf_"


class Helper(IntEnum):
    """A helper's number.

    `since` is the first kernel release with it, as (major, minor); `arguments` how many registers,
    from R1 on, every verifier wants to be set when it is called. trace_printk prints up to three
    more; get_branch_snapshot has flags in R3 that nobody looks at before it runs; and
    get_cgroup_classid takes the packet from some types of programs only.
    """

    since: tuple[int, int]
    arguments: int

    def __new__(cls, number: int, since: tuple[int, int], arguments: int) -> Helper:
        member = int.__new__(cls, number)
        member._value_ = number
        member.since = since
        member.arguments = arguments
        return member

    MAP_LOOKUP_ELEM = 1, (3, 19), 2
    MAP_UPDATE_ELEM = 2, (3, 19), 4
    MAP_DELETE_ELEM = 3, (3, 19), 2
    PROBE_READ = 4, (4, 1), 3
    KTIME_GET_NS = 5, (4, 1), 0
    TRACE_PRINTK = 6, (4, 1), 2
    GET_PRANDOM_U32 = 7, (4, 1), 0
    GET_SMP_PROCESSOR_ID = 8, (4, 1), 0
    SKB_STORE_BYTES = 9, (4, 1), 5
    L3_CSUM_REPLACE = 10, (4, 1), 5
    L4_CSUM_REPLACE = 11, (4, 1), 5
    TAIL_CALL = 12, (4, 2), 3
    CLONE_REDIRECT = 13, (4, 2), 3
    GET_CURRENT_PID_TGID = 14, (4, 2), 0
    GET_CURRENT_UID_GID = 15, (4, 2), 0
    GET_CURRENT_COMM = 16, (4, 2), 2
    GET_CGROUP_CLASSID = 17, (4, 3), 0
    SKB_VLAN_PUSH = 18, (4, 3), 3
    SKB_VLAN_POP = 19, (4, 3), 1
    SKB_GET_TUNNEL_KEY = 20, (4, 3), 4
    SKB_SET_TUNNEL_KEY = 21, (4, 3), 4
    PERF_EVENT_READ = 22, (4, 3), 2
    REDIRECT = 23, (4, 4), 2
    GET_ROUTE_REALM = 24, (4, 4), 1
    PERF_EVENT_OUTPUT = 25, (4, 4), 5
    SKB_LOAD_BYTES = 26, (4, 5), 4
    GET_STACKID = 27, (4, 6), 3
    CSUM_DIFF = 28, (4, 6), 5
    SKB_GET_TUNNEL_OPT = 29, (4, 6), 3
    SKB_SET_TUNNEL_OPT = 30, (4, 6), 3
    SKB_CHANGE_PROTO = 31, (4, 8), 3
    SKB_CHANGE_TYPE = 32, (4, 8), 2
    SKB_UNDER_CGROUP = 33, (4, 8), 3
    GET_HASH_RECALC = 34, (4, 8), 1
    GET_CURRENT_TASK = 35, (4, 8), 0
    PROBE_WRITE_USER = 36, (4, 8), 3
    CURRENT_TASK_UNDER_CGROUP = 37, (4, 9), 2
    SKB_CHANGE_TAIL = 38, (4, 9), 3
    SKB_PULL_DATA = 39, (4, 9), 2
    CSUM_UPDATE = 40, (4, 9), 2
    SET_HASH_INVALID = 41, (4, 9), 1
    GET_NUMA_NODE_ID = 42, (4, 10), 0
    SKB_CHANGE_HEAD = 43, (4, 10), 3
    XDP_ADJUST_HEAD = 44, (4, 10), 2
    PROBE_READ_STR = 45, (4, 11), 3
    GET_SOCKET_COOKIE = 46, (4, 12), 1
    GET_SOCKET_UID = 47, (4, 12), 1
    SET_HASH = 48, (4, 13), 2
    SETSOCKOPT = 49, (4, 13), 5
    SKB_ADJUST_ROOM = 50, (4, 13), 4
    REDIRECT_MAP = 51, (4, 14), 3
    SK_REDIRECT_MAP = 52, (4, 14), 4
    SOCK_MAP_UPDATE = 53, (4, 14), 4
    XDP_ADJUST_META = 54, (4, 15), 2
    PERF_EVENT_READ_VALUE = 55, (4, 15), 4
    PERF_PROG_READ_VALUE = 56, (4, 15), 3
    GETSOCKOPT = 57, (4, 15), 5
    OVERRIDE_RETURN = 58, (4, 16), 2
    SOCK_OPS_CB_FLAGS_SET = 59, (4, 16), 2
    MSG_REDIRECT_MAP = 60, (4, 17), 4
    MSG_APPLY_BYTES = 61, (4, 17), 2
    MSG_CORK_BYTES = 62, (4, 17), 2
    MSG_PULL_DATA = 63, (4, 17), 4
    BIND = 64, (4, 17), 3
    XDP_ADJUST_TAIL = 65, (4, 18), 2
    SKB_GET_XFRM_STATE = 66, (4, 18), 5
    GET_STACK = 67, (4, 18), 4
    SKB_LOAD_BYTES_RELATIVE = 68, (4, 18), 5
    FIB_LOOKUP = 69, (4, 18), 4
    SOCK_HASH_UPDATE = 70, (4, 18), 4
    MSG_REDIRECT_HASH = 71, (4, 18), 4
    SK_REDIRECT_HASH = 72, (4, 18), 4
    LWT_PUSH_ENCAP = 73, (4, 18), 4
    LWT_SEG6_STORE_BYTES = 74, (4, 18), 4
    LWT_SEG6_ADJUST_SRH = 75, (4, 18), 3
    LWT_SEG6_ACTION = 76, (4, 18), 4
    RC_REPEAT = 77, (4, 18), 1
    RC_KEYDOWN = 78, (4, 18), 4
    SKB_CGROUP_ID = 79, (4, 18), 1
    GET_CURRENT_CGROUP_ID = 80, (4, 18), 0
    GET_LOCAL_STORAGE = 81, (4, 19), 2
    SK_SELECT_REUSEPORT = 82, (4, 19), 4
    SKB_ANCESTOR_CGROUP_ID = 83, (4, 19), 2
    SK_LOOKUP_TCP = 84, (4, 20), 5
    SK_LOOKUP_UDP = 85, (4, 20), 5
    SK_RELEASE = 86, (4, 20), 1
    MAP_PUSH_ELEM = 87, (4, 20), 3
    MAP_POP_ELEM = 88, (4, 20), 2
    MAP_PEEK_ELEM = 89, (4, 20), 2
    MSG_PUSH_DATA = 90, (4, 20), 4
    MSG_POP_DATA = 91, (5, 0), 4
    RC_POINTER_REL = 92, (5, 0), 3
    SPIN_LOCK = 93, (5, 1), 1
    SPIN_UNLOCK = 94, (5, 1), 1
    SK_FULLSOCK = 95, (5, 1), 1
    TCP_SOCK = 96, (5, 1), 1
    SKB_ECN_SET_CE = 97, (5, 1), 1
    GET_LISTENER_SOCK = 98, (5, 1), 1
    SKC_LOOKUP_TCP = 99, (5, 2), 5
    TCP_CHECK_SYNCOOKIE = 100, (5, 2), 5
    SYSCTL_GET_NAME = 101, (5, 2), 4
    SYSCTL_GET_CURRENT_VALUE = 102, (5, 2), 3
    SYSCTL_GET_NEW_VALUE = 103, (5, 2), 3
    SYSCTL_SET_NEW_VALUE = 104, (5, 2), 3
    STRTOL = 105, (5, 2), 4
    STRTOUL = 106, (5, 2), 4
    SK_STORAGE_GET = 107, (5, 2), 4
    SK_STORAGE_DELETE = 108, (5, 2), 2
    SEND_SIGNAL = 109, (5, 3), 1
    TCP_GEN_SYNCOOKIE = 110, (5, 4), 5
    SKB_OUTPUT = 111, (5, 5), 5
    PROBE_READ_USER = 112, (5, 5), 3
    PROBE_READ_KERNEL = 113, (5, 5), 3
    PROBE_READ_USER_STR = 114, (5, 5), 3
    PROBE_READ_KERNEL_STR = 115, (5, 5), 3
    TCP_SEND_ACK = 116, (5, 6), 2
    SEND_SIGNAL_THREAD = 117, (5, 6), 1
    JIFFIES64 = 118, (5, 6), 0
    READ_BRANCH_RECORDS = 119, (5, 7), 4
    GET_NS_CURRENT_PID_TGID = 120, (5, 7), 4
    XDP_OUTPUT = 121, (5, 7), 5
    GET_NETNS_COOKIE = 122, (5, 7), 1
    GET_CURRENT_ANCESTOR_CGROUP_ID = 123, (5, 7), 1
    SK_ASSIGN = 124, (5, 7), 3
    KTIME_GET_BOOT_NS = 125, (5, 8), 0
    SEQ_PRINTF = 126, (5, 8), 5
    SEQ_WRITE = 127, (5, 8), 3
    SK_CGROUP_ID = 128, (5, 8), 1
    SK_ANCESTOR_CGROUP_ID = 129, (5, 8), 2
    RINGBUF_OUTPUT = 130, (5, 8), 4
    RINGBUF_RESERVE = 131, (5, 8), 3
    RINGBUF_SUBMIT = 132, (5, 8), 2
    RINGBUF_DISCARD = 133, (5, 8), 2
    RINGBUF_QUERY = 134, (5, 8), 2
    CSUM_LEVEL = 135, (5, 8), 2
    SKC_TO_TCP6_SOCK = 136, (5, 9), 1
    SKC_TO_TCP_SOCK = 137, (5, 9), 1
    SKC_TO_TCP_TIMEWAIT_SOCK = 138, (5, 9), 1
    SKC_TO_TCP_REQUEST_SOCK = 139, (5, 9), 1
    SKC_TO_UDP6_SOCK = 140, (5, 9), 1
    GET_TASK_STACK = 141, (5, 9), 4
    LOAD_HDR_OPT = 142, (5, 10), 4
    STORE_HDR_OPT = 143, (5, 10), 4
    RESERVE_HDR_OPT = 144, (5, 10), 3
    INODE_STORAGE_GET = 145, (5, 10), 4
    INODE_STORAGE_DELETE = 146, (5, 10), 2
    D_PATH = 147, (5, 10), 3
    COPY_FROM_USER = 148, (5, 10), 3
    SNPRINTF_BTF = 149, (5, 10), 5
    SEQ_PRINTF_BTF = 150, (5, 10), 4
    SKB_CGROUP_CLASSID = 151, (5, 10), 1
    REDIRECT_NEIGH = 152, (5, 10), 4
    PER_CPU_PTR = 153, (5, 10), 2
    THIS_CPU_PTR = 154, (5, 10), 1
    REDIRECT_PEER = 155, (5, 10), 2
    TASK_STORAGE_GET = 156, (5, 11), 4
    TASK_STORAGE_DELETE = 157, (5, 11), 2
    GET_CURRENT_TASK_BTF = 158, (5, 11), 0
    BPRM_OPTS_SET = 159, (5, 11), 2
    KTIME_GET_COARSE_NS = 160, (5, 11), 0
    IMA_INODE_HASH = 161, (5, 11), 3
    SOCK_FROM_FILE = 162, (5, 11), 1
    CHECK_MTU = 163, (5, 12), 5
    FOR_EACH_MAP_ELEM = 164, (5, 13), 4
    SNPRINTF = 165, (5, 13), 5
    SYS_BPF = 166, (5, 14), 3
    BTF_FIND_BY_NAME_KIND = 167, (5, 14), 4
    SYS_CLOSE = 168, (5, 14), 1
    TIMER_INIT = 169, (5, 15), 3
    TIMER_SET_CALLBACK = 170, (5, 15), 2
    TIMER_START = 171, (5, 15), 3
    TIMER_CANCEL = 172, (5, 15), 1
    GET_FUNC_IP = 173, (5, 15), 1
    GET_ATTACH_COOKIE = 174, (5, 15), 1
    TASK_PT_REGS = 175, (5, 15), 1
    GET_BRANCH_SNAPSHOT = 176, (5, 16), 2
    TRACE_VPRINTK = 177, (5, 16), 4
    SKC_TO_UNIX_SOCK = 178, (5, 16), 1
    KALLSYMS_LOOKUP_NAME = 179, (5, 16), 4
    FIND_VMA = 180, (5, 17), 5
    LOOP = 181, (5, 17), 4
    STRNCMP = 182, (5, 17), 3
    GET_FUNC_ARG = 183, (5, 17), 3
    GET_FUNC_RET = 184, (5, 17), 2
    GET_FUNC_ARG_CNT = 185, (5, 17), 1
    GET_RETVAL = 186, (5, 18), 0
    SET_RETVAL = 187, (5, 18), 1
    XDP_GET_BUFF_LEN = 188, (5, 18), 1
    XDP_LOAD_BYTES = 189, (5, 18), 4
    XDP_STORE_BYTES = 190, (5, 18), 4
    COPY_FROM_USER_TASK = 191, (5, 18), 5
    SKB_SET_TSTAMP = 192, (5, 18), 3
    IMA_FILE_HASH = 193, (5, 18), 3
    KPTR_XCHG = 194, (5, 19), 2
    MAP_LOOKUP_PERCPU_ELEM = 195, (5, 19), 3
    SKC_TO_MPTCP_SOCK = 196, (5, 19), 1
    DYNPTR_FROM_MEM = 197, (5, 19), 4
    RINGBUF_RESERVE_DYNPTR = 198, (5, 19), 4
    RINGBUF_SUBMIT_DYNPTR = 199, (5, 19), 2
    RINGBUF_DISCARD_DYNPTR = 200, (5, 19), 2
    DYNPTR_READ = 201, (5, 19), 5
    DYNPTR_WRITE = 202, (5, 19), 5
    DYNPTR_DATA = 203, (5, 19), 3
    TCP_RAW_GEN_SYNCOOKIE_IPV4 = 204, (6, 0), 3
    TCP_RAW_GEN_SYNCOOKIE_IPV6 = 205, (6, 0), 3
    TCP_RAW_CHECK_SYNCOOKIE_IPV4 = 206, (6, 0), 2
    TCP_RAW_CHECK_SYNCOOKIE_IPV6 = 207, (6, 0), 2
    KTIME_GET_TAI_NS = 208, (6, 1), 0
    USER_RINGBUF_DRAIN = 209, (6, 1), 4
    CGRP_STORAGE_GET = 210, (6, 2), 4
    CGRP_STORAGE_DELETE = 211, (6, 2), 2


def helper_number(helper: object) -> int:
    """The number of a helper given by name, with or without ``bpf_``, by `Helper` or by number.

    Raises:
        AsmError: no helper has this name, or a number below 1.
        TypeError: `helper` is something else.
    """
    if isinstance(helper, str):
        name = helper[len(_PREFIX) :] if helper.startswith(_PREFIX) else helper
        member = Helper.__members__.get(name.upper()) if name.islower() else None
        if member is None:
            raise AsmError(f"unknown helper {helper!r}{_suggestion(name)}")
        return int(member)
    if isinstance(helper, bool) or not isinstance(helper, int):
        raise TypeError(
            f"helper must be a name, a Helper or a number, not {type(helper).__name__} {helper!r}"
        )
    if not 1 <= helper < 2**31:
        raise AsmError(f"helper must be in 1..{2**31 - 1}, not {int(helper)}")
    return int(helper)


def _suggestion(name: str) -> str:
    # Imported here because it is slow to import and used once in a failing program's life.
    import difflib

    known = [member.lower() for member in Helper.__members__]
    near = difflib.get_close_matches(name.lower(), known, n=3)
    if not near:
        return "; Helper lists all that there are"
    return "; did you mean " + " or ".join(repr(candidate) for candidate in near) + "?"
