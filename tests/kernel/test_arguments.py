"""Arguments that the kernel would cut down to something else, or that fail inside the library."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ebpf
from ebpf import (
    ArrayMap,
    BpfError,
    Collection,
    HashMap,
    Link,
    LpmTrieMap,
    Map,
    MapType,
    Program,
    ProgramType,
    RingBuffer,
    links,
)
from ebpf.spec import CollectionSpec
from ebpf.types import AttachType
from tests.kernel import environment
from tests.kernel.samples import CLONED, NO_TIMES, PASS, bpftool, load
from tests.objects import compiled


def socket_filter(**arguments: Any) -> Any:
    return Program.load(ProgramType.SOCKET_FILTER, PASS, **arguments)


NAMED: dict[str, tuple[type[Exception], Callable[[Program], Any]]] = {
    "id: -1": (ValueError, lambda p: Program.from_id(-1)),
    "id: 4294967296": (ValueError, lambda p: Link.from_id(1 << 32)),
    "id: '7'": (TypeError, lambda p: Map.from_id("7")),  # type: ignore[arg-type]
    "cookie: -1": (ValueError, lambda p: p.attach_raw_tracepoint(CLONED[1], cookie=-1)),
    "cookie: 18446744073709551616": (
        ValueError,
        lambda p: p.attach_tracepoint(*CLONED, cookie=1 << 64),
    ),
    "cookie: 1.5": (TypeError, lambda p: p.attach_kprobe("x", cookie=1.5)),  # type: ignore[arg-type]
    "flags: 1099511627776": (ValueError, lambda p: socket_filter(flags=1 << 40)),
    "flags: -1": (ValueError, lambda p: p.test_run(flags=-1)),
    "attach_type: -3": (ValueError, lambda p: socket_filter(attach_type=-3)),
    "attach_type: 'x'": (TypeError, lambda p: socket_filter(attach_type="x")),
    "attach_btf_id: -1": (ValueError, lambda p: socket_filter(attach_btf_id=-1)),
    "ifindex: -1": (ValueError, lambda p: socket_filter(ifindex=-1)),
    "log_size: -1": (ValueError, lambda p: socket_filter(log_size=-1)),
    "log_level: -1": (ValueError, lambda p: socket_filter(log_level=-1)),
    "btf: 7": (TypeError, lambda p: socket_filter(btf=7)),
    "attach_program: 7": (TypeError, lambda p: socket_filter(attach_program=7)),
    "license: b'GPL'": (TypeError, lambda p: socket_filter(license=b"GPL")),
    "license: 'GPL.x00x'": (ValueError, lambda p: socket_filter(license="GPL\0x")),
    "repeat: -1": (ValueError, lambda p: p.test_run(bytes(64), repeat=-1)),
    "cpu: -1": (ValueError, lambda p: p.test_run(bytes(64), cpu=-1)),
    "data_out_size: -1": (ValueError, lambda p: p.test_run(bytes(64), data_out_size=-1)),
    "inner: <object": (
        TypeError,
        lambda p: Map.create(MapType.ARRAY_OF_MAPS, value="I", max_entries=1, inner=object()),  # type: ignore[arg-type]
    ),
    "numa_node: 'x'": (
        TypeError,
        lambda p: ArrayMap.create(value="I", max_entries=1, numa_node="x"),  # type: ignore[arg-type]
    ),
    "symbol: 5": (TypeError, lambda p: p.attach_kprobe(5)),  # type: ignore[arg-type]
    "symbol: b'x'": (TypeError, lambda p: p.attach_kretprobe(b"x")),  # type: ignore[arg-type]
    "address: -1": (ValueError, lambda p: p.attach_kprobe(address=-1)),
    "category: 5": (TypeError, lambda p: p.attach_tracepoint(5, "x")),  # type: ignore[arg-type]
    "name: None": (TypeError, lambda p: p.attach_tracepoint("sched", None)),  # type: ignore[arg-type]
    "data: 'x'": (TypeError, lambda p: p.test_run("x")),  # type: ignore[arg-type]
    "data: 14": (TypeError, lambda p: p.test_run(14)),  # type: ignore[arg-type]
    "ctx: 'x'": (TypeError, lambda p: p.test_run(bytes(14), ctx="x")),  # type: ignore[arg-type]
    # bytearray(5) would be five zeros.
    "ctx: 5": (TypeError, lambda p: p.test_run(bytes(14), ctx=5)),  # type: ignore[arg-type]
    "maps: None": (TypeError, lambda p: RingBuffer(None)),  # type: ignore[arg-type]
    "maps: 3": (TypeError, lambda p: RingBuffer(3)),  # type: ignore[arg-type]
    "name: b'sys_enter'": (TypeError, lambda p: p.attach_raw_tracepoint(b"sys_enter")),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("told", NAMED)
def test_the_error_names_the_argument(told: str) -> None:
    """An OverflowError or AttributeError from inside names neither the argument nor its range."""
    kind, use = NAMED[told]
    with (
        load(ProgramType.SOCKET_FILTER, PASS) as program,
        pytest.raises(kind, match=f"^{told}"),
    ):
        use(program).close()


WRITES: dict[str, Callable[[Any, Any], object]] = {
    "put": lambda m, flags: m.put((32, b"a" * 4), 1, flags),
    "lookup": lambda m, flags: m.lookup((32, b"a" * 4), flags=flags),
    "lookup_and_delete": lambda m, flags: m.lookup_and_delete((32, b"a" * 4), flags=flags),
    "update_batch": lambda m, flags: m.update_batch([(32, b"a" * 4)], [1], flags=flags),
}


@pytest.mark.parametrize("method", WRITES)
@pytest.mark.parametrize("kind", [HashMap, LpmTrieMap])
def test_the_flags_of_a_map_are_named(kind: type[Any], method: str) -> None:
    """Of the texts and negative numbers that beginners pass for flags."""
    wrong = {"EXIST": TypeError, -1: ValueError, 1 << 64: ValueError}
    with kind.create(key="I4s", value="I", max_entries=1) as m:
        for flags, error in wrong.items():
            with pytest.raises(error, match=f"^flags: {flags!r} "):
                WRITES[method](m, flags)
        assert not dict(m.items())


@pytest.mark.parametrize("method", ["poll", "consume"])
def test_a_timeout_that_is_no_time_is_refused(method: str) -> None:
    """NaN is neither too early nor too late: what waits for it never ends."""
    with Map.create(MapType.RINGBUF, max_entries=1 << 16) as ring, RingBuffer(ring) as reader:
        use: Any = getattr(reader, method)
        arguments = [print] if method == "consume" else []
        for timeout, error in NO_TIMES:
            with pytest.raises(error, match=r"^timeout: "):
                use(*arguments, timeout=timeout)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"data": bytes(64)}, "on data, where programs of this type have ctx for all input"),
        ({"ctx": bytes(64), "repeat": 5}, "with repeat 5, where these run once"),
    ],
)
def test_what_raw_tracepoint_programs_take_is_told(arguments: dict[str, Any], told: str) -> None:
    """ "Invalid argument" may be anything."""
    with (
        load(ProgramType.RAW_TRACEPOINT, PASS) as program,
        pytest.raises(BpfError, match=rf"{told}: .*EINVAL"),
    ):
        program.test_run(**arguments)


def test_numbers_for_attach_types_are_taken() -> None:
    """A number is as good as its name: newer kernels have some that have no name here."""
    number = int(AttachType.CGROUP_INET4_CONNECT)
    with Program.load(
        ProgramType.CGROUP_SOCK_ADDR,
        [ebpf.asm.mov(ebpf.asm.R0, 1), ebpf.asm.exit_()],
        attach_type=number,  # type: ignore[arg-type]
    ) as program:
        assert program.type == ProgramType.CGROUP_SOCK_ADDR


def test_a_path_with_a_nul_pins_nothing(bpffs: Path) -> None:
    """The kernel would pin at what is before the NUL."""
    path = f"{bpffs}/a\0b"
    with load(ProgramType.RAW_TRACEPOINT, PASS) as program:
        link = program.attach_raw_tracepoint(CLONED[1])
        with HashMap.create(key="I", value="I", max_entries=1) as m:
            for use in (m.pin, program.pin, link.pin, Map.open, Program.open, ebpf.unpin):
                with pytest.raises(ValueError, match=r"path: .* has a NUL"):
                    use(path)
    assert list(bpffs.iterdir()) == []


def test_a_tracepoint_with_a_nul_attaches_nothing() -> None:
    """The kernel would attach to what is before the NUL."""
    with load(ProgramType.RAW_TRACEPOINT, PASS) as program:
        number = program.info().id
        with pytest.raises(ValueError, match=r"name: .* has a NUL"):
            links.attach_raw_tracepoint(program, f"{CLONED[1]}\0junk")
        assert not [link for link in bpftool("link", "show") if link.get("prog_id") == number]
    with load(ProgramType.TRACEPOINT, PASS) as program:
        for names in (("sched\0", CLONED[1]), ("sched", f"{CLONED[1]}\0")):
            with pytest.raises(ValueError, match="has a NUL"):
                program.attach_tracepoint(*names)


def test_an_object_with_a_nul_in_its_license_is_not_loaded() -> None:
    """A spec can be changed by hand; what is behind the NUL would be lost."""
    spec = CollectionSpec.from_file(compiled("tracer"))
    spec.license = "GPL\0x"
    with pytest.raises(ValueError, match=r"license: .* has a NUL"):
        spec.load(kconfig={"CONFIG_BPF": True})


@pytest.mark.parametrize("length", [None, 0, 13])
def test_a_packet_that_is_too_short_says_how_long_it_must_be(length: int | None) -> None:
    """ "Invalid argument" may be anything."""
    data = None if length is None else bytes(length)
    types = [ProgramType.SCHED_CLS, ProgramType.SOCKET_FILTER]
    if environment.kernel_version() >= (5, 18):
        # Kernels without XDP fragments run it on as little.
        types.append(ProgramType.XDP)
    for type in types:
        with (
            load(type, PASS) as program,
            pytest.raises(
                BpfError, match=rf"on data of {length or 0} bytes, where it takes 14 or more"
            ),
        ):
            program.test_run(data)


CALLED: dict[str, tuple[type[Any], list[Any]]] = {
    "Map.create": (Map, [MapType.HASH]),
    "HashMap.create": (HashMap, []),
    "ArrayMap.open": (ArrayMap, ["/sys/fs/bpf/counts"]),
    "Map.from_id": (Map, [7]),
    "Program.load": (Program, [ProgramType.XDP, PASS]),
    "Program.from_id": (Program, [7]),
    "spec.load": (Collection, [CollectionSpec("empty")]),
}


@pytest.mark.parametrize("remedy", CALLED)
def test_a_class_that_is_called_names_what_makes_its_objects(remedy: str) -> None:
    """Python would list arguments of the library's own, the first of them a descriptor."""
    kind, arguments = CALLED[remedy]
    with pytest.raises(TypeError, match=rf"^{kind.__name__}\(\.\.\.\) makes no .*{remedy}\("):
        kind(*arguments)
    with pytest.raises(TypeError, match=rf"{remedy}\("):
        kind(key="I", value="Q", max_entries=1)
