"""Structs of functions that the kernel calls, as hooks.py has the hooks of tracing.

A scheduler (sched_ext) is not among them: there is one at a time for the whole machine, which may
have one. tests/kernel/collection/test_scheduler.py has it.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from ebpf import Collection, CollectionSpec, Link, Program
from tests.kernel.collection.hid import Device
from tests.kernel.links.hooks import Counts, Hook, Load, anywhere
from tests.kernel.links.network_hooks import forget_networks, network, packet
from tests.objects import compiled

# What this process has loaded, and its input device.
_collections: list[Collection] = []
_devices: list[Device] = []


def forget() -> None:
    while _collections:
        _collections.pop().close()
    while _devices:
        _devices.pop().close()


def functions(
    source: str,
    program: str,
    *left_out: str,
    prepare: Callable[[CollectionSpec], object] | None = None,
) -> Load:
    """Loads tests/bpf/SOURCE.bpf.c without some maps, as a program of it that counts."""

    def load(counts: Counts) -> Program:
        spec = CollectionSpec.from_file(compiled(source))
        spec.variables["loader"].value = os.getpid()
        counts[os.getpid()] = counts.lookup(os.getpid()) or 0
        for name in left_out:
            spec.maps[name].autocreate = False
        if prepare is not None:
            prepare(spec)
        _collections.append(spec.load(maps={"counts": counts}))
        return _collections[-1].programs[program]

    return load


def registers(name: str) -> Callable[[Program], Link]:
    """Attaches a struct of what was loaded last."""
    return lambda program: _collections[-1].attach_struct_ops(name)


# ---- congestion control

_AVAILABLE = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")


def available() -> list[str]:
    """The congestion controls that the kernel has."""
    return _AVAILABLE.read_text(encoding="ascii").split()


def congested(name: str) -> Callable[[Link | None], object]:
    """A connection with this congestion control, which is there while it is attached."""

    def trigger(link: Link | None) -> None:
        assert (name in available()) == (link is not None)
        with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
            if link is not None:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode())
            client.connect(server.getsockname())
            accepted, _ = server.accept()
            with accepted:
                for _ in range(3):
                    client.sendall(bytes(1000))
                    assert accepted.recv(1000)

    return trigger


# ---- a qdisc

_QDISC = ("qdisc", "add", "dev", "near0", "root", "ebpf_test")


def at_an_interface(program: Program) -> ExitStack:
    """Registers the qdisc, and has an interface use it.

    That keeps it, registered or not, until it is removed there; so a process that is to be killed
    has a network of its own, which ends with it.
    """
    with ExitStack() as stack:
        stack.enter_context(registers("fifo")(program))
        network().near.command("tc", *_QDISC)
        stack.callback(network().near.command, "tc", "qdisc", "del", *_QDISC[2:5])
        return stack.pop_all()


def forget_qdisc() -> None:
    forget()
    forget_networks()


# ---- an input device


def device() -> Device:
    """An input device; a child that is forked has the same one."""
    if not _devices:
        _devices.append(Device())
    return _devices[0]


def of_the_device(spec: CollectionSpec) -> None:
    spec.maps["inverted"].write(0, struct.pack("i", device().id))


def reports(link: Link | None) -> None:
    """A report, whose second byte is inverted while something is attached."""
    assert device().report(b"\x01\x02") == (b"\x01\x02" if link is None else b"\x01\xfd")


FUNCTION_HOOKS: dict[str, Hook] = {
    "struct_ops tcp_congestion_ops": Hook(
        functions("struct_ops_tcp", "test_cong_avoid", "linked"),
        registers("registered"),
        congested("ebpf_test_a"),
        cleanup=forget,
        stale=anywhere,
    ),
    "struct_ops.link tcp_congestion_ops": Hook(
        functions("struct_ops_tcp", "test_cong_avoid", "registered"),
        registers("linked"),
        congested("ebpf_test_b"),
        cleanup=forget,
    ),
    "struct_ops.link Qdisc_ops": Hook(
        functions("struct_ops_qdisc", "test_enqueue"),
        at_an_interface,
        packet,
        marks=(pytest.mark.needs_config("CONFIG_NET_SCH_BPF"),),
        cleanup=forget_qdisc,
        disown=forget_networks,
    ),
    "struct_ops.link hid_bpf_ops": Hook(
        functions("struct_ops_hid", "test_event", prepare=of_the_device),
        registers("inverted"),
        reports,
        marks=(pytest.mark.needs_config("CONFIG_HID_BPF", "CONFIG_UHID"),),
        cleanup=forget,
    ),
}
