"""ebpf.types against the kernel's own lists: the uapi header at hand and the running kernel's BTF.

``EBPF_UAPI_INCLUDE`` names another directory with ``linux/bpf.h`` and ``linux/version.h``.
"""

from __future__ import annotations

import copy
import json
import os
import pickle
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ebpf import types
from ebpf.errors import Version
from ebpf.types import KernelEnum, KernelFlags

INCLUDE = Path(os.environ.get("EBPF_UAPI_INCLUDE", "/usr/include"))
VMLINUX = Path("/sys/kernel/btf/vmlinux")

# enum of the uapi -> our class and the prefix that its names lose.
ENUMS: dict[str, tuple[type[KernelEnum], str]] = {
    "bpf_cmd": (types.Command, "BPF_"),
    "bpf_map_type": (types.MapType, "BPF_MAP_TYPE_"),
    "bpf_prog_type": (types.ProgramType, "BPF_PROG_TYPE_"),
    "bpf_attach_type": (types.AttachType, "BPF_"),
    "bpf_link_type": (types.LinkType, "BPF_LINK_TYPE_"),
    "bpf_perf_event_type": (types.PerfEventType, "BPF_PERF_EVENT_"),
    "bpf_task_fd_type": (types.TaskFdType, "BPF_FD_TYPE_"),
    "bpf_stats_type": (types.StatsType, "BPF_STATS_"),
    "bpf_cgroup_iter_order": (types.CgroupIterOrder, "BPF_CGROUP_ITER_"),
    "bpf_stack_build_id_status": (types.StackBuildIdStatus, "BPF_STACK_BUILD_ID_"),
    "xdp_action": (types.XdpAction, "XDP_"),
    "nf_inet_hooks": (types.NetfilterHook, "NF_INET_"),
    "perf_hw_id": (types.PerfHardware, "PERF_COUNT_HW_"),
    "perf_sw_ids": (types.PerfSoftware, "PERF_COUNT_SW_"),
}

# Names of those enumerations that are deliberately no member.
NOT_MEMBERS = {
    "BPF_COMMON_ATTRS",  # a bit of the command: types.COMMON_ATTRS
    "NF_INET_NUMHOOKS",
    "NF_INET_INGRESS",  # of an interface, which takes no BPF program there
    "PERF_COUNT_HW_MAX",
    "PERF_COUNT_SW_MAX",
}

# Classes of constants that the uapi gives no enumeration of their own.
LOOSE: dict[str, dict[str, KernelEnum | KernelFlags]] = {
    "Stream": {f"BPF_STREAM_{m.name}": m for m in types.Stream},
    "UpdateFlags": {
        "BPF_ANY": types.UpdateFlags.ANY,
        "BPF_NOEXIST": types.UpdateFlags.NOEXIST,
        "BPF_EXIST": types.UpdateFlags.EXIST,
        "BPF_F_LOCK": types.UpdateFlags.LOCK,
        "BPF_F_CPU": types.UpdateFlags.CPU,
        "BPF_F_ALL_CPUS": types.UpdateFlags.ALL_CPUS,
    },
}
FLAG_PREFIXES: dict[type[KernelFlags], str] = {
    types.MapFlags: "BPF_F_",
    types.PinFlags: "BPF_F_",
    types.OpenFlags: "BPF_F_",
    types.BtfFlags: "BPF_F_",
    types.ProgramFlags: "BPF_F_",
    types.AttachFlags: "BPF_F_",
    types.QueryFlags: "BPF_F_QUERY_",
    types.TestRunFlags: "BPF_F_TEST_",
    types.KprobeMultiFlags: "BPF_F_KPROBE_MULTI_",
    types.UprobeMultiFlags: "BPF_F_UPROBE_MULTI_",
    types.NetfilterFlags: "BPF_F_NETFILTER_",
}
for _cls, _prefix in FLAG_PREFIXES.items():
    LOOSE[_cls.__name__] = {_prefix + n: m for n, m in _cls.__members__.items()}

# BPF_F_* names that only programs use, as arguments of helpers and kfuncs: no system call has them.
HELPER_FLAGS = re.compile(
    r"BPF_F_(RECOMPUTE_CSUM|INVALIDATE_HASH|HDR_FIELD_MASK|PSEUDO_HDR|MARK_MANGLED_0|MARK_ENFORCE"
    r"|IPV6|TUNINFO_IPV6|SKIP_FIELD_MASK|USER_STACK|FAST_STACK_CMP|REUSE_STACKID|USER_BUILD_ID"
    r"|ZERO_CSUM_TX|DONT_FRAGMENT|SEQ_NUMBER|NO_TUNNEL_KEY|TUNINFO_FLAGS|INDEX_MASK|CURRENT_CPU"
    r"|CTXLEN_MASK|CURRENT_NETNS|ADJ_ROOM_\w+|SYSCTL_BASE_NAME|GET_BRANCH_RECORDS_SIZE"
    r"|BPRM_SECUREEXEC|INGRESS|EGRESS|BROADCAST|EXCLUDE_INGRESS|REDIRECT_FLAGS|TIMER_ABS"
    r"|TIMER_CPU_PIN|PAD_ZEROS)"
)

# A stable release got these before the release that introduced them.
BACKPORTED = {"BPF_F_PREORDER", "BPF_F_TEST_SKB_CHECKSUM_COMPLETE"}


# The number was reserved (5.19) releases before a link of this type could be made.
RESERVED_EARLIER = {types.LinkType.STRUCT_OPS}


class Header:
    """The enumerations of ``linux/bpf.h`` and those beside it, and BPF_F_* macros."""

    def __init__(self, include: Path) -> None:
        text = (include / "linux/bpf.h").read_text()
        text += (include / "linux/netfilter.h").read_text()
        perf = (include / "linux/perf_event.h").read_text()
        # The rest of that header has numbers that only a compiler can read.
        text += "".join(re.findall(r"^enum perf_(?:hw_id|sw_ids) \{.*?\};", perf, re.M | re.S))
        text = re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)
        self.enums: dict[str, dict[str, int]] = {}
        self.names: dict[str, int] = {}
        for name, body in re.findall(r"\benum\s+(\w*)\s*\{(.*?)\}", text, re.DOTALL):
            if name != "bpf_func_id":  # its members come out of a macro
                self._read_enum(name, body)
        for name, value in re.findall(r"^#define\s+(BPF_F_\w+)\s+(.+)$", text, re.MULTILINE):
            if name != value.strip():
                self.names[name] = self._number(value)
        code = re.search(r"LINUX_VERSION_CODE\s+(\d+)", (include / "linux/version.h").read_text())
        assert code is not None
        self.version: Version = (int(code[1]) >> 16, int(code[1]) >> 8 & 0xFF)

    def _read_enum(self, name: str, body: str) -> None:
        body = re.sub(r"^#define.*$", "", body, flags=re.MULTILINE)
        members: dict[str, int] = {}
        following = 0
        for item in filter(None, (part.strip() for part in body.split(","))):
            key, _, value = (part.strip() for part in item.partition("="))
            members[key] = following = self._number(value) if value else following
            self.names[key] = following
            following += 1
        if name:
            self.enums[name] = members

    def _number(self, expression: str) -> int:
        plain = re.sub(r"\b(0x[0-9a-fA-F]+|\d+)U?L{0,2}\b", r"\1", " ".join(expression.split()))
        value = eval(plain, {"__builtins__": {}}, dict(self.names))
        assert isinstance(value, int)
        return value


@pytest.fixture(scope="module")
def header() -> Header:
    if not (INCLUDE / "linux/bpf.h").exists():
        pytest.skip(f"no linux/bpf.h below {INCLUDE}")
    return Header(INCLUDE)


def is_counter(name: str) -> bool:
    return name.startswith(("__MAX_", "MAX_")) or name in NOT_MEMBERS


def wrong_members(cls: type[KernelEnum], prefix: str, names: dict[str, int]) -> list[str]:
    """What the kernel's list has and `cls` has not, or has with another value."""
    members = cls.__members__
    return [
        f"{name} = {value}"
        for name, value in names.items()
        if not is_counter(name) and members.get(name.removeprefix(prefix)) != value
    ]


@pytest.mark.parametrize("enum", ENUMS)
def test_every_name_of_the_header_is_a_member_with_its_value(header: Header, enum: str) -> None:
    """A missing or wrong member would send the kernel another command or type than asked for."""
    if enum not in header.enums:
        assert all((m.since or (0, 0)) > header.version for m in ENUMS[enum][0])
        return
    cls, prefix = ENUMS[enum]
    assert wrong_members(cls, prefix, header.enums[enum]) == []


@pytest.mark.parametrize("enum", ENUMS)
def test_releases_of_members_agree_with_the_header(header: Header, enum: str) -> None:
    """A wrong `since` would make an error message name a kernel that cannot do it, either."""
    cls, prefix = ENUMS[enum]
    here = {name.removeprefix(prefix) for name in header.enums.get(enum, {})}
    for member in cls:
        if any(member is reserved for reserved in RESERVED_EARLIER):
            continue
        assert member.since is not None
        assert (member.name in here) == (member.since <= header.version), member


@pytest.mark.parametrize("group", LOOSE)
def test_loose_constants_have_the_value_of_the_header(header: Header, group: str) -> None:
    """A wrong bit would ask the kernel for something else, or be refused."""
    for name, member in LOOSE[group].items():
        if name in header.names:
            assert header.names[name] == member, name
        else:
            assert member.since is None or member.since > header.version, name


def introduced() -> list[tuple[str, Version]]:
    """Each uapi name of a flag and the release of the oldest command that takes it."""
    releases: dict[str, Version] = {}
    for group in LOOSE.values():
        for name, member in group.items():
            assert member.since is not None, name
            releases[name] = min(releases.get(name, member.since), member.since)
    return list(releases.items())


@pytest.mark.parametrize(("name", "since"), introduced())
def test_releases_of_flags_agree_with_the_header(header: Header, name: str, since: Version) -> None:
    """A header older than `since` that has the flag shows that `since` is wrong."""
    if name in header.names and name not in BACKPORTED:
        assert since <= header.version


def test_no_flag_of_the_header_is_missing(header: Header) -> None:
    """A flag that a newer header has and no class of ours would not be reachable by name."""
    known = {name for group in LOOSE.values() for name in group}
    flags = {name for name in header.names if name.startswith("BPF_F_")}
    assert {n for n in flags - known if not HELPER_FLAGS.fullmatch(n)} == set()


def test_common_attrs_bit(header: Header) -> None:
    """Another bit would turn the command into an unknown one."""
    if header.version < (7, 2):
        pytest.skip("BPF_COMMON_ATTRS is in headers of 7.2 and later")
    assert header.enums["bpf_cmd"]["BPF_COMMON_ATTRS"] == types.COMMON_ATTRS


@pytest.fixture(scope="module")
def btf() -> list[dict[str, int]]:
    """Every enumeration of the running kernel: name -> value, the enum's own name under ''."""
    tool = shutil.which("bpftool", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if tool is None or not VMLINUX.exists():
        pytest.skip("needs bpftool and a kernel with BTF")
    dump = subprocess.run(
        [tool, "btf", "dump", "file", str(VMLINUX), "-j"], capture_output=True, check=True
    )
    found = [t for t in json.loads(dump.stdout)["types"] if t["kind"] in ("ENUM", "ENUM64")]
    return [{f"enum {t['name']}": 0} | {v["name"]: v["val"] for v in t["values"]} for t in found]


@pytest.mark.parametrize("enum", ENUMS)
def test_every_name_of_the_running_kernel_is_a_member(btf: list[dict[str, int]], enum: str) -> None:
    """The running kernel's own numbers differ from ours, or it has one that we lack."""
    cls, prefix = ENUMS[enum]
    lists = [names for names in btf if f"enum {enum}" in names]
    if not lists:
        pytest.skip(f"this kernel's BTF has no enum {enum}")
    for names in lists:
        numbers = {n: v for n, v in names.items() if not n.startswith("enum ")}
        assert wrong_members(cls, prefix, numbers) == []


@pytest.mark.parametrize("group", ["Stream", "UpdateFlags", "MapFlags"])
def test_loose_constants_have_the_value_of_the_running_kernel(
    btf: list[dict[str, int]], group: str
) -> None:
    """These are enumerators, so the kernel's BTF has them: ours differ, or one is missing."""
    ours = LOOSE[group]
    lists = [names for names in btf if names.keys() & ours.keys()]
    if not lists:
        pytest.skip(f"this kernel's BTF has none of {group}")
    for names in lists:
        numbers = {n: v for n, v in names.items() if not n.startswith("enum ")}
        assert numbers.items() <= {n: int(m) for n, m in ours.items()}.items()


def test_member_knows_the_release_that_introduced_it() -> None:
    """Error messages would lack the kernel to ask for."""
    assert types.MapType.RINGBUF.since == (5, 8)
    assert types.MapType(27) is types.MapType.RINGBUF
    assert types.Command["PROG_RUN"] is types.Command.PROG_TEST_RUN


def test_unknown_number_becomes_one_pseudo_member() -> None:
    """A map type of a newer kernel would make this library unable to list maps."""
    unknown = types.MapType(4711)
    assert unknown is types.MapType(4711)
    assert (unknown.name, int(unknown), unknown.since) == ("UNKNOWN_4711", 4711, None)
    assert isinstance(unknown, types.MapType)
    assert not isinstance(types.LinkType(4711), types.MapType)
    assert unknown not in list(types.MapType)


@pytest.mark.parametrize("member", [types.MapType.HASH, types.MapType(4712)])
def test_members_survive_pickle_and_copy(member: types.MapType) -> None:
    """A Spec sent to another process would come back with other objects for its types."""
    assert pickle.loads(pickle.dumps(member)) is member
    assert copy.deepcopy(member) is member


@pytest.mark.parametrize("value", [-1, 1 << 32, "HASH", None, 1.5])
def test_what_no_kernel_could_say_is_refused(value: Any) -> None:
    """A wrong argument would pass as the number of a newer kernel."""
    with pytest.raises(ValueError, match="is not a valid MapType"):
        types.MapType(value)


def test_text_of_members_is_the_bare_name_on_every_python() -> None:
    """Messages would read differently on 3.10 and 3.11, where Enum's own rules changed."""
    assert f"{types.MapType.HASH}" == str(types.MapType.HASH) == "HASH"
    assert f"{types.MapType.HASH:>6}|{types.MapType.HASH:d}|{types.MapType(77)}" == (
        "  HASH|1|UNKNOWN_77"
    )


def test_flags_keep_unknown_bits() -> None:
    """A map with a flag of a newer kernel could not be reported, or its flag would be lost."""
    flags = types.MapFlags(1 << 10 | 1 << 30)
    assert int(flags) == 1 << 10 | 1 << 30
    assert types.MapFlags.MMAPABLE in flags
    assert f"{flags}" == "MMAPABLE|0x40000000"
    assert flags.since is None
    assert int(flags & ~types.MapFlags.MMAPABLE) == 1 << 30
    assert (str(types.MapFlags(0)), str(types.MapFlags.LINK | 1)) == ("0", "NO_PREALLOC|LINK")
    assert f"{types.MapFlags.LINK:#x}" == "0x2000"


def test_flags_since_is_the_newest_of_the_set_bits() -> None:
    """An error about flags would name a release that lacks one of them."""
    assert (types.MapFlags.MMAPABLE | types.MapFlags.LINK).since == (6, 4)
    assert types.MapFlags(0).since == (0, 0)


def test_cpu_number_rides_in_the_upper_half_of_update_flags() -> None:
    """An update of one CPU's slot would lose the CPU."""
    assert int(types.UpdateFlags.CPU | 3 << 32) == 0x3_0000_0008
