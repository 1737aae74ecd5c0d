"""What happens to objects after close(), without it, and to their descriptors."""

from __future__ import annotations

import gc
import inspect
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest

import ebpf
from ebpf import MapType, asm
from ebpf.maps.storage import StorageMap
from tests.kernel.maps.support import Btf, python


def hash_map() -> Any:
    return ebpf.HashMap.create(key="I", value="Q", max_entries=4, name="closed")


def storage_map() -> Any:
    types = Btf()
    number = types.integer("int", 4, signed=True)
    with types.load() as btf:
        return StorageMap.create(
            MapType.SK_STORAGE,
            value="i",
            name="closed",
            btf=btf,
            btf_key_type_id=number,
            btf_value_type_id=number,
        )


def program() -> Any:
    code = [asm.mov(asm.R0, 0), asm.exit_()]
    return ebpf.Program.load(ebpf.ProgramType.SOCKET_FILTER, code, name="closed")


Calls = dict[str, Callable[[Any], object]]

OWNER: Calls = {
    "fileno": lambda o: o.fileno(),
    "__enter__": lambda o: o.__enter__(),
}
MAP: Calls = {
    **OWNER,
    "info": lambda m: m.info(),
    "freeze": lambda m: m.freeze(),
    "duplicate": lambda m: m.duplicate(),
    "pin": lambda m: m.pin("/sys/fs/bpf/never"),
}
KEYED: Calls = {
    **MAP,
    "lookup": lambda m: m.lookup(0),
    "put": lambda m: m.put(0, 1),
    "to_dict": lambda m: m.to_dict(),
    "dump": lambda m: m.dump(),
    "__contains__": lambda m: 0 in m,
}
DELETING: Calls = {
    **KEYED,
    "delete": lambda m: m.delete(0),
    "__getitem__": lambda m: m[0],
    "__delitem__": lambda m: m.__delitem__(0),
}
LISTING: Calls = {
    "__iter__": lambda m: list(m),
    "items": lambda m: list(m.items()),
    "clear": lambda m: m.clear(),
}
BATCHED: Calls = {
    "lookup_batch": lambda m: m.lookup_batch(),
    "lookup_batch_into": lambda m: m.lookup_batch_into(bytearray(4), bytearray(8)),
    "batches": lambda m: m.batches(),
    "lookup_many": lambda m: m.lookup_many([]),
    "update_batch": lambda m: m.update_batch([], []),
    "update": lambda m: m.update({}),
    "to_numpy": lambda m: m.to_numpy(),
}
INDEXED: Calls = {
    "__len__": lambda m: len(m),
    "keys": lambda m: m.keys(),
    "__setitem__": lambda m: m.__setitem__(0, 1),
}

# Every public method of every class, as it is called.
METHODS: list[tuple[Callable[[], Any], Calls]] = [
    (
        hash_map,
        {
            **DELETING,
            **LISTING,
            **BATCHED,
            "delete_batch": lambda m: m.delete_batch([]),
            "lookup_and_delete_batch": lambda m: m.lookup_and_delete_batch(),
            "__setitem__": lambda m: m.__setitem__(0, 1),
            "__len__": lambda m: len(m),
            "keys": lambda m: list(m.keys()),
            "values": lambda m: list(m.values()),
            "get": lambda m: m.get(0),
            "pop": lambda m: m.pop(0),
            "popitem": lambda m: m.popitem(),
            "setdefault": lambda m: m.setdefault(0, 1),
            "lookup_and_delete": lambda m: m.lookup_and_delete(0),
        },
    ),
    (
        lambda: ebpf.ArrayMap.create(value="Q", max_entries=2, name="closed"),
        {
            **KEYED,
            **LISTING,
            **BATCHED,
            **INDEXED,
            "__getitem__": lambda m: m[0],
            "values": lambda m: list(m.values()),
            "memory_to_numpy": lambda m: m.memory_to_numpy(),
        },
    ),
    (
        lambda: ebpf.DescriptorArray.create(MapType.DEVMAP, max_entries=2, name="closed"),
        {**DELETING, **LISTING, **INDEXED},
    ),
    (
        lambda: ebpf.StackTraceMap.create(max_entries=2, name="closed"),
        # User space can't write stacks.
        {name: call for name, call in {**DELETING, **LISTING}.items() if name != "put"},
    ),
    (
        storage_map,
        {name: call for name, call in DELETING.items() if name not in ("dump", "to_dict")}
        | {"__setitem__": lambda m: m.__setitem__(0, 1)},
    ),
    (
        lambda: ebpf.QueueMap.create(value="Q", max_entries=2, name="closed"),
        {
            **MAP,
            "push": lambda m: m.push(1),
            "pop": lambda m: m.pop(),
            "peek": lambda m: m.peek(),
            "clear": lambda m: m.clear(),
        },
    ),
    (
        lambda: ebpf.BloomFilterMap.create(value="Q", max_entries=2, name="closed"),
        {**MAP, "add": lambda m: m.add(1), "__contains__": lambda m: 1 in m},
    ),
    (lambda: ebpf.Map.create(MapType.RINGBUF, max_entries=1 << 16, name="closed"), MAP),
]

# What needs no kernel, or makes new objects; what is for values per CPU only.
HARMLESS = {
    *("lookup_cpu", "put_cpu"),
    *("create", "open", "from_id", "from_fd", "unpin", "close", "closed"),
    *("types", "default_type"),
    *("__init__", "__del__", "__exit__", "__bool__", "__eq__", "__hash__", "__repr__"),
}


def public_methods(cls: type[Any]) -> set[str]:
    """The methods that users call, of the classes that are this library's or a mapping's."""
    names = set()
    for base in cls.__mro__[:-1]:
        names |= {name for name, value in vars(base).items() if inspect.isroutine(value)}
    # What stands for an inherited method that this class does not have is no method.
    names = {name for name in names if inspect.isroutine(inspect.getattr_static(cls, name))}
    special = {name for name in names if name.startswith("__")}
    operations = {"__getitem__", "__setitem__", "__delitem__", "__iter__", "__len__"}
    operations |= {"__contains__", "__enter__"}
    return {name for name in names if name[0] != "_"} | (special & operations)


@pytest.mark.parametrize(("make", "calls"), METHODS, ids=lambda value: "")
def test_every_method_of_a_closed_map_raises(make: Callable[[], Any], calls: Calls) -> None:
    """A method of a closed map acts on another map that has got its descriptor's number."""
    m = make()
    number = m.fileno()
    m.close()
    assert public_methods(type(m)) - HARMLESS == set(calls)
    # A map of the same kind takes over the number: acting on it would succeed.
    with make() as other:
        taken = other.fileno() == number
        if not taken:
            os.dup2(other.fileno(), number)
        try:
            before = other.info()
            for name, call in calls.items():
                with pytest.raises(ebpf.ClosedError, match=r"'closed'.*closed"):
                    raise AssertionError(f"{name} returned {call(m)!r}")
            assert other.info() == before
            if isinstance(other, ebpf.HashMap):
                assert other.to_dict() == {}
        finally:
            if not taken:
                os.close(number)


def test_a_closed_program_raises() -> None:
    """A closed program is described, run, pinned or attached by a number that is not its own."""
    p = program()
    p.close()
    for call in (
        lambda: p.fileno(),
        lambda: p.info(),
        lambda: p.instructions(),
        lambda: p.test_run(bytes(14)),
        lambda: p.pin("/sys/fs/bpf/never"),
        lambda: p.attach_raw_tracepoint("sys_enter"),
        lambda: p.__enter__(),
    ):
        with pytest.raises(ebpf.ClosedError, match=r"'closed'.*closed"):
            call()


@pytest.mark.parametrize("make", [hash_map, program, ebpf.RunTimeStats])
def test_closing_twice_closes_once(make: Callable[[], Any]) -> None:
    """The second close() closes a file that has got the number meanwhile."""
    owner = make()
    number = owner.fileno()
    assert owner.closed is False
    owner.close()
    assert owner.closed is True
    read, write = os.pipe()
    os.dup2(read, number)
    owner.close()
    assert os.readlink(f"/proc/self/fd/{number}").startswith("pipe:")
    for fd in {read, write, number}:
        os.close(fd)


def test_a_context_manager_closes_also_on_an_exception() -> None:
    """An exception inside of the with block leaves the descriptor open."""
    with pytest.raises(RuntimeError), hash_map() as m:
        raise RuntimeError
    assert m.closed


@pytest.mark.parametrize("make", [hash_map, program], ids=["map", "program"])
def test_forgetting_to_close_warns_and_closes(make: Callable[[], Any]) -> None:
    """A forgotten object leaks its descriptor, or is closed without a word."""
    number = make().fileno  # keeps the object alive through the method
    fd = number()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del number
        gc.collect()
    (warning,) = caught
    assert warning.category is ResourceWarning
    assert "unclosed <ebpf." in str(warning.message)
    assert "'closed'" in str(warning.message)
    with pytest.raises(OSError, match=r"Bad file descriptor"):
        os.fstat(fd)


def test_closing_does_not_warn() -> None:
    """An object that was closed, or never opened, warns as if it had been forgotten."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hash_map().close()
        with pytest.raises(ValueError, match=r"max_entries"):
            ebpf.HashMap.create(key="I", value="Q")
        gc.collect()


def test_several_threads_close_at_once() -> None:
    """Two threads close the same number, the second of which may be another file's."""
    for _ in range(20):
        m = hash_map()
        number = m.fileno()
        barrier = threading.Barrier(4)
        reopened: list[int] = []

        def close(m: Any = m, barrier: Any = barrier, reopened: Any = reopened) -> None:
            barrier.wait()
            m.close()
            # Takes the number at once, so that a second close would hit it.
            reopened.append(os.open(os.devnull, os.O_RDONLY))

        threads = [threading.Thread(target=close) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert number in reopened
        assert len(set(reopened)) == 4
        for fd in reopened:
            os.close(fd)


CHILD = """
import os, sys
print([target for fd in os.listdir("/proc/self/fd")
       for target in [os.readlink(f"/proc/self/fd/{fd}") if os.path.lexists(f"/proc/self/fd/{fd}")
                      else ""] if "bpf" in target])
"""


def test_descriptors_are_close_on_exec() -> None:
    """A program that is executed inherits maps and programs, which keeps them alive."""
    with (
        hash_map() as m,
        program() as p,
        m.duplicate() as copy,
        ebpf.Map.from_id(m.info().id) as by_id,
        ebpf.Map.from_fd(m.fileno()) as by_fd,
        ebpf.Program.from_id(p.info().id) as same,
        ebpf.RunTimeStats() as stats,
    ):
        for owner in (m, p, copy, by_id, by_fd, same, stats):
            assert os.get_inheritable(owner.fileno()) is False
        assert python(CHILD, close_fds=False).strip() == "[]"


CLOSED_STREAMS = """
import os, sys
import ebpf
from ebpf.net.netlink import Netlink
from ebpf import asm
m = ebpf.HashMap.create(key="I", value="Q", max_entries=1)
m.pin(sys.argv[2])
code = [asm.mov(asm.R0, 0), asm.exit_()]
p = ebpf.Program.load(ebpf.ProgramType.SOCKET_FILTER, code)
owners = [
    m,
    m.duplicate(),
    ebpf.Map.from_id(m.info().id),
    ebpf.Map.from_fd(m.fileno()),
    ebpf.Map.open(sys.argv[2]),
    p,
    ebpf.Program.from_id(p.info().id),
    ebpf.Program.from_fd(p.fileno()),
    ebpf.RunTimeStats(),
    ebpf.RingBuffer(ebpf.Map.create(ebpf.MapType.RINGBUF, max_entries=4096)),
    ebpf.PerfBuffer(ebpf.Map.create(ebpf.MapType.PERF_EVENT_ARRAY)),
    ebpf.TracePipe(),
    Netlink(),
]
numbers = [owner.fileno() for owner in owners[:-1]]
def is_open(fd):
    try:
        return bool(os.fstat(fd))
    except OSError:
        return False
streams = [fd for fd in range(3) if is_open(fd)]
for owner in owners:
    owner.close()
with open(sys.argv[1], "w") as file:
    file.write(repr((sorted(numbers)[0] > 2, len(set(numbers)) == len(numbers), streams)))
"""


def test_descriptors_are_never_standard_streams(bpffs: Any, tmp_path: Any) -> None:
    """With closed standard streams, what is printed would be written into a BPF object."""
    result = tmp_path / "result"
    script = 'exec "$0" "$@" <&- >&- 2>&-'
    command = ["sh", "-c", script, sys.executable, "-c", CLOSED_STREAMS, result, bpffs / "m"]
    subprocess.run(command, check=True)
    assert result.read_text() == "(True, True, [])"
