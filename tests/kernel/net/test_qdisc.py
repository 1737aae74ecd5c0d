"""A qdisc whose functions are programs."""

from __future__ import annotations

import pytest

from ebpf import CollectionSpec
from tests.kernel.net.network import Network
from tests.objects import compiled

pytestmark = pytest.mark.needs_config("CONFIG_NET_SCH_BPF")

QDISC = ("tc", "qdisc", "add", "dev", "near0", "root", "ebpf_test")


def test_packets_go_through_a_qdisc(network: Network) -> None:
    """They pass by it, it loses them or drops others; or it is there without its programs."""
    with CollectionSpec.from_file(compiled("struct_ops_qdisc")).load() as objects:
        variables = objects.variables
        link = objects.attach_struct_ops("fifo")
        network.near.command(*QDISC)
        assert "qdisc ebpf_test" in network.near.command("tc", "qdisc", "show", "dev", "near0")
        network.deliver()
        assert variables["enqueued"].value == variables["dequeued"].value == 1
        assert network.arrived(b"short") == [b"short"]
        variables["least"].value = 200
        assert network.arrived(b"short") == []
        assert variables["dropped"].value == 1
        link.close()
        # The interface keeps what it has, and no other gets it any more.
        assert network.arrived(b"short") == []
        assert variables["dropped"].value == 2
        with pytest.raises(AssertionError, match="unknown"):
            network.far.command(*QDISC[:4], "far0", *QDISC[5:])
    network.deliver(bytes(300))
    network.near.command("tc", "qdisc", "del", "dev", "near0", "root")
    network.deliver()
