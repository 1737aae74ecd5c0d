"""One function per bpf() command (``enum bpf_cmd``) that no loop of the core makes.

Each takes the command's fields by their uapi names, as integers and bytes, and returns a
descriptor, an id or what the kernel wrote. `action` replaces the start of the error message;
`needs` dates what is asked for where the command and its fields alone don't.
"""

from __future__ import annotations

import errno

from ebpf._ffi import ffi
from ebpf._sys.call import Attribute, address, call, call_fd, checked, run, run_fd, run_once
from ebpf._sys.tokens import by_token, is_active
from ebpf.errors import BpfError, BpfPermissionError, NotSupportedError, Version, from_errno
from ebpf.types import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Fields = dict[str, Any]


def map_create(action: str | None = None, needs: Version | None = None, **fields: Any) -> int:
    """MAP_CREATE: a descriptor."""
    try:
        attribute = Attribute("map_create", **by_token("map", fields))
        return call_fd(Command.MAP_CREATE, attribute, action, needs)
    except NotSupportedError:
        raise
    except BpfError as error:
        if error.errno != errno.E2BIG:
            raise
        sizes = [fields.get(name, 0) for name in ("max_entries", "key_size", "value_size")]
        raise from_errno(
            errno.E2BIG, f"{action or 'bpf(MAP_CREATE)'}: {_TOO_LARGE.format(*sizes)}"
        ) from None


# Hash maps count buckets of 16 bytes in 32 bits, and allocate key and value in one piece.
_TOO_LARGE = (
    "{} entries with keys of {} and values of {} bytes are more than the kernel takes; a hash has"
    " up to 134217728 entries (2**27), and an entry less than 4 MiB"
)


def map_create_unchecked(**fields: Any) -> int:
    """MAP_CREATE: a descriptor or -errno, for callers that know what to do about the errno."""
    return run_fd(Command.MAP_CREATE, Attribute("map_create", **by_token("map", fields)))


def _elem(command: Command, fd: int, key: Any, value: Any, flags: int) -> int:
    key_buffer = ffi.NULL if key is None else ffi.from_buffer(key)
    value_buffer = ffi.NULL if value is None else ffi.from_buffer(value)
    attribute = Attribute(
        "map_elem",
        map_fd=fd,
        key=address(key_buffer),
        value=address(value_buffer),
        flags=flags,
    )
    return call(command, attribute)


def map_lookup_elem(fd: int, key: bytes | None, value_size: int, flags: int = 0) -> bytes:
    """MAP_LOOKUP_ELEM. The hot path is ``lib.ebpf_map_lookup``."""
    value = bytearray(value_size)
    _elem(Command.MAP_LOOKUP_ELEM, fd, key, value, flags)
    return bytes(value)


def map_update_elem(fd: int, key: bytes | None, value: bytes, flags: int = 0) -> None:
    """MAP_UPDATE_ELEM. The hot path is ``lib.ebpf_map_update``."""
    _elem(Command.MAP_UPDATE_ELEM, fd, key, value, flags)


def map_delete_elem(fd: int, key: bytes) -> None:
    """MAP_DELETE_ELEM. The hot path is ``lib.ebpf_map_delete``."""
    _elem(Command.MAP_DELETE_ELEM, fd, key, None, 0)


def map_lookup_and_delete_elem(
    fd: int, key: bytes | None, value_size: int, flags: int = 0
) -> bytes:
    """MAP_LOOKUP_AND_DELETE_ELEM. The hot path is ``lib.ebpf_map_lookup_and_delete``."""
    value = bytearray(value_size)
    _elem(Command.MAP_LOOKUP_AND_DELETE_ELEM, fd, key, value, flags)
    return bytes(value)


def map_freeze(fd: int, action: str | None = None) -> None:
    """MAP_FREEZE: no more writes from user space."""
    call(Command.MAP_FREEZE, Attribute("map_freeze", map_fd=fd), action)


def map_lookup_batch(**fields: Any) -> tuple[int, int]:
    """MAP_LOOKUP_BATCH: (0 or -errno, entries read); buffers are passed as addresses.

    The kernel writes `count` whether it succeeds or not. The hot paths, and the other batches, are
    in the core.
    """
    attribute = Attribute("map_batch", ("count",), **fields)
    result = run(Command.MAP_LOOKUP_BATCH, attribute)
    return result, int(attribute.data.count)


class LoadResult:
    """What PROG_LOAD answered: `result` is a descriptor or -errno.

    `log_size` is the size that the whole log needs, 0 where the kernel doesn't say (before 6.4).
    """

    __slots__ = ("_attribute", "log", "log_size", "result")

    def __init__(self, attribute: Attribute, result: int, log: bytes) -> None:
        self._attribute = attribute
        self.result = result
        self.log = log
        self.log_size = int(attribute.data.log_true_size)

    def checked(self, action: str, needs: Version | None = None, asked: str = "") -> int:
        """The descriptor, or the exception for the errno."""
        return checked(Command.PROG_LOAD, self._attribute, self.result, action, needs, asked)


def prog_load(log_size: int = 0, log_level: int = 1, **fields: Any) -> LoadResult:
    """PROG_LOAD; the caller judges the result, because that takes the log.

    `insns`, `func_info`, `line_info`, `fd_array` and `signature` are bytes, `license` is
    NUL-terminated bytes.
    """
    kept = []
    fields["insn_cnt"] = len(fields["insns"]) // 8
    for name in ("insns", "license", "func_info", "line_info", "fd_array", "signature"):
        data = fields.pop(name, None)
        if data:
            kept.append(ffi.from_buffer(data))
            fields[name] = address(kept[-1])
    outputs: tuple[str, ...] = ()
    log = ffi.NULL
    if log_size:
        log = ffi.new("char[]", log_size)
        fields.update(log_buf=address(log), log_size=log_size, log_level=log_level)
        outputs = ("log_true_size",)
    attribute = Attribute("prog_load", outputs, **by_token("prog", fields))
    result = run_fd(Command.PROG_LOAD, attribute)
    return LoadResult(attribute, result, ffi.string(log, log_size) if log_size else b"")


def obj_pin(fd: int, path: bytes, file_flags: int = 0, action: str | None = None) -> None:
    """OBJ_PIN: a name on a bpffs for the object behind `fd`."""
    name = ffi.new("char[]", path)
    attribute = Attribute("obj", pathname=address(name), bpf_fd=fd, file_flags=file_flags)
    call(Command.OBJ_PIN, attribute, action)


def obj_get(path: bytes, file_flags: int = 0, action: str | None = None) -> int:
    """OBJ_GET: a descriptor for the object pinned at `path`."""
    name = ffi.new("char[]", path)
    attribute = Attribute("obj", pathname=address(name), file_flags=file_flags)
    return call_fd(Command.OBJ_GET, attribute, action)


def prog_attach(action: str | None = None, needs: Version | None = None, **fields: Any) -> None:
    """PROG_ATTACH: an attachment without a link."""
    call(Command.PROG_ATTACH, Attribute("prog_attach", **fields), action, needs)


def prog_detach(action: str | None = None, **fields: Any) -> None:
    """PROG_DETACH."""
    call(Command.PROG_DETACH, Attribute("prog_detach", **fields), action)


def prog_test_run(
    action: str | None = None,
    needs: Version | None = None,
    buffers: dict[str, Any] | None = None,
    **fields: Any,
) -> Fields:
    """PROG_TEST_RUN (PROG_RUN): retval, duration, data_size_out and ctx_size_out.

    `buffers` are data_in, data_out, ctx_in and ctx_out or None; those of output are writable.
    ENOSPC means that the result is longer than data_out; `data_size_out` has its length then,
    and ``errno`` is 28.
    """
    kept = []
    for name, buffer in (buffers or {}).items():
        if buffer is not None:
            kept.append(ffi.from_buffer(buffer))
            fields[name] = address(kept[-1])
            fields[name.replace("_", "_size_")] = len(kept[-1])
    attribute = Attribute("prog_test_run", ("retval", "duration"), **fields)
    # What ran before a signal came would have run twice.
    runs = run_once if fields.get("repeat", 0) > 1 else run
    result = runs(Command.PROG_TEST_RUN, attribute)
    if result != -errno.ENOSPC:
        checked(Command.PROG_TEST_RUN, attribute, result, action, needs)
    outputs = ("retval", "duration", "data_size_out", "ctx_size_out")
    return {
        "errno": -result if result < 0 else 0,
        **{name: int(getattr(attribute.data, name)) for name in outputs},
    }


def _next_id(command: Command, start_id: int) -> int | None:
    attribute = Attribute("get_next_id", ("next_id",), start_id=start_id)
    result = run(command, attribute)
    if result == -errno.ENOENT:
        return None
    checked(command, attribute, result)
    return int(attribute.data.next_id)


def prog_get_next_id(start_id: int) -> int | None:
    """PROG_GET_NEXT_ID: the lowest program id above `start_id`, None if there is none."""
    return _next_id(Command.PROG_GET_NEXT_ID, start_id)


def map_get_next_id(start_id: int) -> int | None:
    """MAP_GET_NEXT_ID: the lowest map id above `start_id`, None if there is none."""
    return _next_id(Command.MAP_GET_NEXT_ID, start_id)


def btf_get_next_id(start_id: int) -> int | None:
    """BTF_GET_NEXT_ID: the lowest BTF id above `start_id`, None if there is none."""
    return _next_id(Command.BTF_GET_NEXT_ID, start_id)


def link_get_next_id(start_id: int) -> int | None:
    """LINK_GET_NEXT_ID: the lowest link id above `start_id`, None if there is none."""
    return _next_id(Command.LINK_GET_NEXT_ID, start_id)


def _fd_by_id(command: Command, id: int, open_flags: int, action: str | None) -> int:
    return call_fd(command, Attribute("get_fd_by_id", id=id, open_flags=open_flags), action)


def prog_get_fd_by_id(id: int, action: str | None = None) -> int:
    """PROG_GET_FD_BY_ID."""
    return _fd_by_id(Command.PROG_GET_FD_BY_ID, id, 0, action)


def map_get_fd_by_id(id: int, open_flags: int = 0, action: str | None = None) -> int:
    """MAP_GET_FD_BY_ID."""
    return _fd_by_id(Command.MAP_GET_FD_BY_ID, id, open_flags, action)


def btf_get_fd_by_id(id: int, action: str | None = None) -> int:
    """BTF_GET_FD_BY_ID, which takes a token where it takes one (6.15)."""
    try:
        return _fd_by_id(Command.BTF_GET_FD_BY_ID, id, 0, action)
    except BpfPermissionError:
        if not is_active():
            raise
    attribute = Attribute("get_fd_by_id", **by_token("fd_by_id", {"id": id}, "open_flags"))
    return call_fd(Command.BTF_GET_FD_BY_ID, attribute, action)


def link_get_fd_by_id(id: int, action: str | None = None) -> int:
    """LINK_GET_FD_BY_ID."""
    return _fd_by_id(Command.LINK_GET_FD_BY_ID, id, 0, action)


def get_info(fd: int, info: Any, action: str | None = None) -> int:
    """OBJ_GET_INFO_BY_FD: fill the struct behind the cffi pointer `info`.

    The number of bytes of it that the kernel has.
    """
    attribute = Attribute(
        "info_by_fd",
        bpf_fd=fd,
        info_len=ffi.sizeof(ffi.typeof(info).item),
        info=address(info),
    )
    call(Command.OBJ_GET_INFO_BY_FD, attribute, action)
    return int(attribute.data.info_len)


def plain(info: Any) -> Fields:
    """A cffi struct as integers and bytes; char arrays end at their NUL."""
    fields: Fields = {}
    for name, _ in ffi.typeof(info).item.fields:
        value = getattr(info, name)
        if isinstance(value, int):
            fields[name] = value
        elif ffi.typeof(value).item is ffi.typeof("char"):
            fields[name] = ffi.string(value)
        else:
            fields[name] = bytes(ffi.buffer(value))
    return fields


def obj_get_info_by_fd(fd: int, kind: str) -> Fields:
    """OBJ_GET_INFO_BY_FD for `kind` map, btf or token: the fields of ``struct bpf_<kind>_info``."""
    info = ffi.new(f"struct ebpf_{kind}_info *")
    get_info(fd, info)
    return plain(info)


def btf_name(fd: int) -> str:
    """The name of a BTF object: "vmlinux", a module, or "" for what a process loaded (5.11)."""
    name = ffi.new("char[]", 128)
    info = ffi.new("struct ebpf_btf_info *", {"name": address(name), "name_len": len(name)})
    get_info(fd, info)
    return bytes(ffi.string(name)).decode("ascii", "replace")


def btf_data(fd: int) -> bytes:
    """The types of a BTF object."""
    sizes = ffi.new("struct ebpf_btf_info *")
    get_info(fd, sizes)
    data = ffi.new("unsigned char[]", int(sizes.btf_size))
    info = ffi.new("struct ebpf_btf_info *", {"btf": address(data), "btf_size": len(data)})
    get_info(fd, info)
    return bytes(ffi.buffer(data))


def prog_type(fd: int, action: str | None = None) -> int:
    """OBJ_GET_INFO_BY_FD for a program, of which just the type is asked for."""
    info = ffi.new("struct ebpf_prog_info *")
    get_info(fd, info, action)
    return int(info.type)


def prog_info(fd: int, instructions: bool = False) -> Fields:
    """OBJ_GET_INFO_BY_FD for a program.

    `map_ids` is a list of ids; with `instructions`, `xlated_prog_insns` and `jited_prog_insns`
    are bytes (empty where the kernel does not show them to this process).
    """
    sizes = ffi.new("struct ebpf_prog_info *")
    get_info(fd, sizes)
    info = ffi.new("struct ebpf_prog_info *")
    # The program may not change between the two calls, but its map list may (BPF_PROG_BIND_MAP).
    ids = ffi.new("uint32_t[]", int(sizes.nr_map_ids) + 8)
    info.nr_map_ids, info.map_ids = len(ids), address(ids)
    code: dict[str, Any] = {}
    if instructions:
        for kind in ("xlated", "jited"):
            length = int(getattr(sizes, f"{kind}_prog_len"))
            code[kind] = ffi.new("unsigned char[]", length)
            setattr(info, f"{kind}_prog_len", length)
            setattr(info, f"{kind}_prog_insns", address(code[kind]))
    get_info(fd, info)
    fields = plain(info)
    fields["map_ids"] = list(ids[0 : min(int(info.nr_map_ids), len(ids))])
    for kind, buffer in code.items():
        shown = fields[f"{kind}_prog_insns"] != 0
        fields[f"{kind}_prog_insns"] = bytes(ffi.buffer(buffer)) if shown else b""
    return fields


def prog_query(outputs: tuple[str, ...], action: str | None = None, **fields: Any) -> Fields:
    """PROG_QUERY: the fields named in `outputs`; arrays are passed as addresses."""
    attribute = Attribute("prog_query", outputs, **fields)
    call(Command.PROG_QUERY, attribute, action)
    return {name: int(getattr(attribute.data, name)) for name in outputs}


# The arrays of PROG_QUERY, which have one number for each program.
QUERY_ARRAYS = ("prog_ids", "prog_attach_flags", "link_ids", "link_attach_flags")

# How many of them kernels take: those since 6.6, since 6.0, and before.
_QUERY_FORMS = (4, 2, 1)


def prog_query_arrays(
    room: int, action: str | None = None, *, arrays: int = 4, **fields: Any
) -> tuple[Fields, dict[str, list[int]]]:
    """PROG_QUERY with room for `room` programs.

    (prog_cnt, attach_flags and revision; the numbers of each of QUERY_ARRAYS). What the running
    kernel does not tell, or does not of this hook, is 0. Only the first `arrays` are asked for.

    Raises:
        BpfError: ENOSPC, there are more programs; and whatever else the kernel refused.
    """
    buffers = {name: ffi.new("uint32_t[]", room) for name in QUERY_ARRAYS}
    for form in _QUERY_FORMS:
        asked = QUERY_ARRAYS[: min(form, arrays)]
        outputs = ("attach_flags", "prog_cnt", *(("revision",) if form == 4 else ()))
        pointers = {name: address(buffers[name]) for name in asked}
        attribute = Attribute("prog_query", outputs, prog_cnt=room, **pointers, **fields)
        result = run(Command.PROG_QUERY, attribute)
        # What follows is more than this kernel knows; EINVAL is of other mistakes, too.
        if result not in (-errno.E2BIG, -errno.EINVAL) or form == _QUERY_FORMS[-1]:
            break
    checked(Command.PROG_QUERY, attribute, result, action)
    count = int(attribute.data.prog_cnt)
    answer = {name: int(getattr(attribute.data, name)) for name in (*outputs, "revision")}
    return answer, {name: list(buffer[0:count]) for name, buffer in buffers.items()}


def raw_tracepoint_open(
    name: bytes | None, prog_fd: int, cookie: int = 0, action: str | None = None
) -> int:
    """RAW_TRACEPOINT_OPEN: a link's descriptor; `name` is None for tp_btf, fentry and LSM."""
    text = ffi.NULL if name is None else ffi.new("char[]", name)
    attribute = Attribute("raw_tracepoint_open", name=address(text), prog_fd=prog_fd, cookie=cookie)
    return call_fd(Command.RAW_TRACEPOINT_OPEN, attribute, action)


def btf_load(btf: bytes, log_size: int = 0, **fields: Any) -> tuple[int, bytes]:
    """BTF_LOAD: (descriptor or -errno, log)."""
    data = ffi.from_buffer(btf)
    log = ffi.new("char[]", log_size) if log_size else None
    if log is not None:
        fields.update(btf_log_buf=address(log), btf_log_size=log_size, btf_log_level=1)
    fields.update(btf=address(data), btf_size=len(btf))
    attribute = Attribute("btf_load", **by_token("btf", fields))
    result = run_fd(Command.BTF_LOAD, attribute)
    return result, b"" if log is None else ffi.string(log, log_size)


def task_fd_query(pid: int, fd: int, action: str | None = None) -> Fields:
    """TASK_FD_QUERY: what the descriptor `fd` of process `pid` is attached to."""
    size = 4096
    name = ffi.new("char[]", size)
    attribute = Attribute(
        "task_fd_query",
        ("prog_id", "fd_type", "probe_offset", "probe_addr"),
        pid=pid,
        fd=fd,
        buf=address(name),
        buf_len=size,
    )
    call(Command.TASK_FD_QUERY, attribute, action)
    data = attribute.data
    fields = {
        field: int(getattr(data, field))
        for field in ("prog_id", "fd_type", "probe_offset", "probe_addr")
    }
    return {**fields, "name": ffi.string(name, size)}


def link_create(
    variant: str = "", action: str | None = None, needs: Version | None = None, **fields: Any
) -> int:
    """LINK_CREATE; `variant` names the member of the union: perf_event, kprobe_multi, tcx..."""
    struct = f"link_create_{variant}" if variant else "link_create"
    return call_fd(Command.LINK_CREATE, Attribute(struct, **fields), action, needs)


def link_update(action: str | None = None, **fields: Any) -> None:
    """LINK_UPDATE: another program (or struct_ops map) behind the same link."""
    call(Command.LINK_UPDATE, Attribute("link_update", **fields), action)


def link_detach(link_fd: int, action: str | None = None) -> None:
    """LINK_DETACH: end the attachment, whoever else holds the link."""
    call(Command.LINK_DETACH, Attribute("link_detach", link_fd=link_fd), action)


def enable_stats(type: int) -> int:
    """ENABLE_STATS: statistics are collected for as long as the descriptor is open."""
    # The type is an input although its only value is 0, so it is named as in use.
    attribute = Attribute("enable_stats", ("type",), type=type)
    return call_fd(Command.ENABLE_STATS, attribute, "enable BPF run-time statistics")


def iter_create(link_fd: int, action: str | None = None) -> int:
    """ITER_CREATE: a descriptor to read the iterator's output from."""
    return call_fd(Command.ITER_CREATE, Attribute("iter_create", link_fd=link_fd), action)


def iter_info(kind: str, **fields: int) -> bytes:
    """``union bpf_iter_link_info`` as its member `kind`: map, cgroup or task."""
    return bytes(ffi.buffer(ffi.new(f"struct ebpf_iter_info_{kind} *", fields)))


def prog_bind_map(prog_fd: int, map_fd: int, flags: int = 0) -> None:
    """PROG_BIND_MAP: the map lives as long as the program."""
    attribute = Attribute("prog_bind_map", prog_fd=prog_fd, map_fd=map_fd, flags=flags)
    call(Command.PROG_BIND_MAP, attribute)


def token_create(bpffs_fd: int, flags: int = 0, action: str | None = None) -> int:
    """TOKEN_CREATE: a token of the bpffs whose root directory is `bpffs_fd`."""
    attribute = Attribute("token_create", bpffs_fd=bpffs_fd, flags=flags)
    return call_fd(Command.TOKEN_CREATE, attribute, action)


def prog_stream_read_by_fd(prog_fd: int, stream_id: int, size: int) -> bytes:
    """PROG_STREAM_READ_BY_FD: up to `size` bytes of the program's stdout (1) or stderr (2)."""
    buffer = ffi.new("unsigned char[]", size)
    attribute = Attribute(
        "prog_stream_read",
        prog_fd=prog_fd,
        stream_id=stream_id,
        stream_buf=address(buffer),
        stream_buf_len=size,
    )
    length = call(Command.PROG_STREAM_READ_BY_FD, attribute)
    return bytes(ffi.buffer(buffer, length))


def prog_assoc_struct_ops(prog_fd: int, map_fd: int, flags: int = 0) -> None:
    """PROG_ASSOC_STRUCT_OPS: the struct_ops map that the program's kfuncs act for."""
    attribute = Attribute("prog_assoc_struct_ops", prog_fd=prog_fd, map_fd=map_fd, flags=flags)
    call(Command.PROG_ASSOC_STRUCT_OPS, attribute)
