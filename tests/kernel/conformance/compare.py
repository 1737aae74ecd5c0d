"""One object through libbpf and through this library, on the running kernel."""

from __future__ import annotations

import json
import mmap
import os
import shutil
import struct
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ebpf._sys import bpf
from ebpf.errors import BpfFileNotFoundError, EbpfError
from ebpf.spec import CollectionSpec
from ebpf.types import MapType, ProgramType
from tests.kernel.conformance.libbpf import driver

_INSTRUCTION = struct.Struct("=BBhi")
_LDIMM64 = 0x18

# How names began that libbpf took before 1.0, with the type of the program.
EARLIER_SECTIONS = {
    "socket": ProgramType.SOCKET_FILTER,
    "classifier": ProgramType.SCHED_CLS,
    "tc": ProgramType.SCHED_CLS,
    "action": ProgramType.SCHED_ACT,
    "xdp": ProgramType.XDP,
    "perf_event": ProgramType.PERF_EVENT,
    "sockops": ProgramType.SOCK_OPS,
    "sk_skb": ProgramType.SK_SKB,
    "sk_msg": ProgramType.SK_MSG,
    "cgroup/sock": ProgramType.CGROUP_SOCK,
    "cgroup/skb": ProgramType.CGROUP_SKB,
}
_MAP_FD, _MAP_VALUE = 1, 2


@dataclass
class Outcome:
    """What one of the two made of an object; `error` is empty where it loads."""

    error: str = ""
    log: str = ""
    programs: dict[str, dict[str, Any]] = field(default_factory=dict)
    maps: list[dict[str, Any]] = field(default_factory=list)
    #: How many programs libbpf finds, whether they are to be loaded or not.
    known: int = 0


@contextmanager
def pin_root(label: str) -> Iterator[str]:
    """A directory of its own on a bpffs, so that neither finds the other's maps."""
    root = Path("/sys/fs/bpf") / f"{label}-{os.getpid()}"
    root.mkdir()
    try:
        yield str(root)
    finally:
        shutil.rmtree(root)


def missing(path: Path) -> str:
    """What the object leaves to who loads it, as lines for the driver; none where it is refused.

    Section names that say no type to libbpf 1 mean what they meant to its releases before, by
    their first letters. Rings without a size get a page.
    """
    try:
        spec = CollectionSpec.from_file(path)
    except EbpfError:
        return ""
    lines = []
    for program in spec.programs.values():
        for start, type in EARLIER_SECTIONS.items():
            if program.type == ProgramType.UNSPEC and program.section.startswith(start):
                lines.append(f"program {program.name} {type:d}\n")
                break
    for one in spec.maps.values():
        if one.type in (MapType.RINGBUF, MapType.USER_RINGBUF) and not one.max_entries:
            lines.append(f"map {one.name} {mmap.PAGESIZE}\n")
    return "".join(lines)


def complete(spec: CollectionSpec, lines: str) -> None:
    """Does what the driver does with the lines of `missing`."""
    for line in lines.splitlines():
        kind, name, value = line.split()
        if kind == "map":
            spec.maps[name].max_entries = int(value)
        for program in spec.programs.values():
            if kind == "program" and program.name == name:
                program.type = ProgramType(int(value))


def with_libbpf(
    path: Path, programs: Sequence[str], kconfig: dict[str, str], lacking: str = ""
) -> Outcome:
    lines = "".join(f"{name}={value}\n" for name, value in kconfig.items())
    with pin_root("libbpf") as root:
        command = [str(driver()), str(path), root, lines, lacking, *programs]
        done = subprocess.run(command, capture_output=True, check=True)
    found = json.loads(done.stdout)
    log = done.stderr.decode("utf-8", "replace")
    if found["error"]:
        return Outcome(f"{found['stage']}: {os.strerror(found['error'])}", log)
    outcome = _outcome(found["programs"], found["maps"], log)
    outcome.known = found["known"]
    return outcome


def with_ebpf(
    path: Path, programs: Sequence[str], kconfig: dict[str, str], lacking: str = ""
) -> Outcome:
    """What is no EbpfError is a bug and comes through."""
    try:
        spec = CollectionSpec.from_file(path)
        complete(spec, lacking)
        if programs:
            spec.select(*programs)
        with pin_root("ebpf") as root, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", RuntimeWarning)
            # libbpf passes over options that the object does not ask for.
            asked = {name: value for name, value in kconfig.items() if name in spec.externs}
            with spec.load(pin_root=root, kconfig=asked) as objects:
                loaded = objects.programs.items()
                made = [_program(one, spec.programs[key].name) for key, one in loaded]
                maps = [_map(one) for one in objects.maps.values()]
        return _outcome(made, maps, "\n".join(str(warning.message) for warning in caught))
    except EbpfError as error:
        return Outcome(f"{type(error).__name__}: {error}", getattr(error, "log", ""))


def _program(program: Any, name: str) -> dict[str, Any]:
    info = bpf.prog_info(program.fileno(), instructions=True)
    return {
        "name": name,
        "id": info["id"],
        "kernel_name": info["name"].decode(),
        "type": info["type"],
        "gpl": info["gpl_compatible"],
        "functions": info["nr_func_info"],
        "lines": info["nr_line_info"],
        "attach_btf_id": info["attach_btf_id"],
        "map_ids": info["map_ids"],
        "xlated": info["xlated_prog_insns"].hex(),
    }


def _map(map: Any) -> dict[str, Any]:
    info = bpf.obj_get_info_by_fd(map.fileno(), "map")
    value = b""
    if info["type"] == MapType.ARRAY and info["max_entries"] == 1:
        value = bpf.map_lookup_elem(map.fileno(), bytes(4), -(-info["value_size"] // 8) * 8)
    return {
        "id": info["id"],
        "name": info["name"].decode(),
        "type": info["type"],
        "key_size": info["key_size"],
        "value_size": info["value_size"],
        "max_entries": info["max_entries"],
        "flags": info["map_flags"],
        "map_extra": info["map_extra"],
        "key_type_id": info["btf_key_type_id"],
        "value_type_id": info["btf_value_type_id"],
        "value": value[: info["value_size"]].hex(),
        "slots": _slots(map.fileno(), info),
    }


def _slots(fd: int, info: dict[str, Any]) -> dict[str, int]:
    found = {}
    if info["type"] in (MapType.PROG_ARRAY, MapType.ARRAY_OF_MAPS):
        for index in range(info["max_entries"]):
            with suppress(BpfFileNotFoundError):
                value = bpf.map_lookup_elem(fd, index.to_bytes(4, sys.byteorder), 4)
                found[str(index)] = int.from_bytes(value, sys.byteorder)
    return found


def _outcome(programs: list[dict[str, Any]], maps: list[dict[str, Any]], log: str) -> Outcome:
    """Ids, which differ from load to load, become places in the object."""
    numbers = {map.pop("id"): number for number, map in enumerate(maps)}
    names = {program.pop("id"): program["name"] for program in programs}
    for program in programs:
        program["map_ids"] = sorted(numbers.get(id, -1) for id in program["map_ids"])
        program["xlated"] = plain_code(bytes.fromhex(program["xlated"]), numbers)
    for map in maps:
        places: dict[int, Any] = names if map["type"] == MapType.PROG_ARRAY else numbers
        map["slots"] = {index: places.get(id, "?") for index, id in map["slots"].items()}
    return Outcome(log=log, programs={p["name"]: p for p in programs}, maps=maps)


def plain_code(code: bytes, numbers: dict[int, int]) -> list[str]:
    """Translated instructions, one a line, with what differs from load to load taken out.

    Ids of maps become their numbers, and addresses of memory that the kernel allocated a dash;
    addresses of its symbols stay, as they are the same for both.
    """
    lines = []
    slots = list(_INSTRUCTION.iter_unpack(code))
    for at, (opcode, registers, offset, imm) in enumerate(slots):
        shown = str(imm)
        if opcode == _LDIMM64 and registers >> 4 in (_MAP_FD, _MAP_VALUE):
            shown = f"map {numbers.get(imm, imm)}"
        elif _allocated(slots, at) or (at and _allocated(slots, at - 1)):
            shown = "-"
        lines.append(f"{opcode:02x} {registers:02x} {offset} {shown}")
    return lines


def _allocated(slots: Sequence[tuple[int, ...]], at: int) -> bool:
    """Whether `at` begins an ldimm64 of an address in the kernel that is none of a symbol."""
    opcode, registers, _, _ = slots[at]
    if opcode != _LDIMM64 or registers >> 4 in (_MAP_FD, _MAP_VALUE):
        return False
    # With five levels of page tables, addresses of memory begin at 0xff00000000000000.
    return 0xFF000000 <= slots[at + 1][3] & 0xFFFFFFFF < 0xFFFFFF00


def differences(theirs: Outcome, ours: Outcome) -> list[str]:
    """What is not equal, a line each; none where both refuse the object."""
    if bool(theirs.error) != bool(ours.error):
        return [f"libbpf: {theirs.error or 'loads'}; ebpf: {ours.error or 'loads'}"]
    found = []
    if theirs.maps != ours.maps:
        found += _unequal("map", _by_name(theirs.maps), _by_name(ours.maps))
    found += _unequal("program", theirs.programs, ours.programs)
    return found


def _by_name(maps: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {f"{number} {map['name']}": map for number, map in enumerate(maps)}


def _unequal(
    kind: str, theirs: dict[str, dict[str, Any]], ours: dict[str, dict[str, Any]]
) -> list[str]:
    found = []
    if list(theirs) != list(ours):
        found.append(f"{kind}s: libbpf {list(theirs)}; ebpf {list(ours)}")
    for name in theirs.keys() & ours.keys():
        for key, wanted in theirs[name].items():
            got = ours[name][key]
            if got != wanted and key == "xlated":
                found.append(f"{kind} {name!r}: {_first_difference(wanted, got)}")
            elif got != wanted:
                found.append(f"{kind} {name!r} {key}: libbpf {wanted}; ebpf {got}")
    return found


def _first_difference(theirs: list[str], ours: list[str]) -> str:
    for at, (wanted, got) in enumerate(zip(theirs, ours, strict=False)):
        if wanted != got:
            return f"instruction {at}: libbpf {wanted}; ebpf {got}"
    return f"libbpf {len(theirs)} instructions; ebpf {len(ours)}"


def programs_of(path: Path) -> list[str]:
    """The names of the object's programs; none where it cannot be read or a name is not unique."""
    try:
        names = [program.name for program in CollectionSpec.from_file(path).programs.values()]
    except EbpfError:
        return []
    return names if len(set(names)) == len(names) else []
