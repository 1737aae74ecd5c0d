"""The example of packets, between two network namespaces."""

from __future__ import annotations

import signal
import socket

import pytest

from tests.kernel.examples.support import run, running
from tests.kernel.net.network import Network


@pytest.fixture
def packets() -> list[tuple[int, bytes]]:
    """(port, what is in the packet)"""
    return [(7777, b"a"), (7778, b""), (7777, b"b"), (7777, bytes(300))]


@pytest.mark.parametrize("options", [[], ["--live"]], ids=["table", "live"])
def test_ports_counts_what_arrives(packets: list[tuple[int, bytes]], options: list[str]) -> None:
    """A packet would be counted for another port, twice, or not at all."""
    with Network() as network:

        def body() -> str:
            ready = "tracing" if options else "counting"
            with running("ports", "far0", *options, ready=ready, stop=signal.SIGTERM) as output:
                for port, data in packets:
                    with network.receiver(port) as receiver:
                        network.send(data, port)
                        assert receiver.recv(1000) == data
            return output.text

        lines = network.far.inside(body).splitlines()
    rows = [line.split() for line in lines]
    assert rows[-3:] == [["PORT", "PACKETS"], ["7777/udp", "3"], ["7778/udp", "1"]]
    if options:
        shown = [line for line in lines if "->" in line]
        # Once a second for each port, however long the packets took.
        assert shown[0] == f"{network.near_address} -> 7777/udp"
        assert shown.count(f"{network.near_address} -> 7778/udp") == 1


def test_ports_knows_tcp() -> None:
    """A connection would be taken for something else."""
    with Network() as network:

        def body() -> str:
            with running("ports", "far0", ready="counting", stop=signal.SIGTERM) as output:
                listening = network.far.socket(socket.AF_INET, socket.SOCK_STREAM)
                connecting = network.near.socket(socket.AF_INET, socket.SOCK_STREAM)
                with listening, connecting:
                    listening.bind((network.far_address, 8080))
                    listening.listen()
                    connecting.connect((network.far_address, 8080))
            return output.text

        assert "8080/tcp" in network.far.inside(body)


def test_ports_names_an_interface_that_is_not_there() -> None:
    """The error would be a number."""
    assert "nowhere" in run("ports", "nowhere", status=1)
