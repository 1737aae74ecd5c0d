"""LPM_TRIE: the entry with the longest prefix that matches."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

import pytest

import ebpf
from ebpf import HashMap, LpmTrieMap, MapFlags, MapType, UpdateFlags
from tests.kernel.maps.support import dumped


def net(text: str) -> tuple[int, bytes]:
    network = ipaddress.ip_network(text)
    return network.prefixlen, network.network_address.packed


@pytest.fixture
def routes() -> Iterator[HashMap[Any, int]]:
    with HashMap.create(MapType.LPM_TRIE, key="I4s", value="I", max_entries=16) as m:
        yield m


def test_the_longest_prefix_wins(routes: HashMap[Any, int]) -> None:
    """A lookup finds a shorter prefix than there is, or one that doesn't match."""
    table = {"0.0.0.0/0": 0, "10.0.0.0/8": 1, "10.1.0.0/16": 2, "10.1.2.0/24": 3, "10.1.2.3/32": 4}
    for text, hop in table.items():
        routes[net(text)] = hop
    for address, hop in {
        "10.1.2.3": 4,
        "10.1.2.4": 3,
        "10.1.3.1": 2,
        "10.2.0.1": 1,
        "11.0.0.1": 0,
    }.items():
        assert routes[net(f"{address}/32")] == hop
    assert dumped(routes) == {
        struct.pack("I4s", *net(text)): struct.pack("I", hop) for text, hop in table.items()
    }


def test_flag_that_the_type_needs_is_added(routes: HashMap[Any, int]) -> None:
    """Creating a trie fails unless one knows that it takes NO_PREALLOC."""
    assert routes.info().flags == MapFlags.NO_PREALLOC


def test_it_iterates_entries_exactly(routes: HashMap[Any, int]) -> None:
    """Iteration gives the value of a shorter prefix, or misses entries."""
    expected = {net("10.0.0.0/8"): 1, net("10.1.0.0/16"): 2, net("192.168.0.0/16"): 3}
    routes.update(expected)
    assert routes.to_dict() == expected
    assert len(routes) == 3


def test_writes_and_deletes_mean_the_exact_prefix(routes: HashMap[Any, int]) -> None:
    """setdefault, pop or del of a prefix touch the shorter one that contains it."""
    routes[net("10.0.0.0/8")] = 1
    routes[net("10.1.0.0/16")] = 2
    assert routes.pop(net("10.1.0.0/16")) == 2
    assert routes.pop(net("10.1.0.0/16"), None) is None
    with pytest.raises(KeyError):
        del routes[net("10.1.0.0/16")]
    assert routes.to_dict() == {net("10.0.0.0/8"): 1}
    routes.clear()
    assert routes.to_dict() == {}


def test_flags_and_setdefault_mean_the_exact_prefix(routes: HashMap[Any, int]) -> None:
    """NOEXIST replaces an entry, as the kernel does it before 6.13, or minds a shorter prefix."""
    routes[net("10.0.0.0/8")] = 1
    assert routes.setdefault(net("10.1.0.0/16"), 2) == 2
    assert routes.setdefault(net("10.1.0.0/16"), 5) == 2
    with pytest.raises(FileExistsError, match=r"NOEXIST, and it is there"):
        routes.put(net("10.0.0.0/8"), 5, UpdateFlags.NOEXIST)
    with pytest.raises(FileNotFoundError, match=r"EXIST, and it is not there"):
        routes.put(net("10.2.0.0/16"), 5, UpdateFlags.EXIST)
    assert routes.to_dict() == {net("10.0.0.0/8"): 1, net("10.1.0.0/16"): 2}


def test_ipv6() -> None:
    """Keys of 20 bytes don't work."""
    with HashMap.create(MapType.LPM_TRIE, key="I16s", value="Q", max_entries=4) as m:
        m[net("2001:db8::/32")] = 6
        assert m[net("2001:db8:1::1/128")] == 6
        assert net("2001:db9::1/128") not in m


def test_a_prefix_longer_than_the_key(routes: HashMap[Any, int]) -> None:
    """A prefix of 33 bits is stored as if it were valid."""
    with pytest.raises(ebpf.BpfError):
        routes[33, b"\x0a\0\0\0"] = 1
    assert routes.to_dict() == {}


def test_networks_of_ipaddress() -> None:
    """Not the network with the longest prefix is found, or it comes back as another one."""
    networks = [IPv4Network(text) for text in ("10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24")]
    with LpmTrieMap.create(key=IPv4Network, value="I", max_entries=8) as m:
        m.update({network: network.prefixlen for network in networks})
        assert m[IPv4Address("10.1.2.3")] == 24
        assert m[IPv4Address("10.1.3.3")] == 16
        assert m[IPv4Address("10.9.9.9")] == 8
        assert IPv4Address("11.0.0.1") not in m
        assert m[IPv4Network("10.1.2.128/25")] == 24
        assert sorted(m) == sorted(networks)
        del m[networks[2]]
        assert m[IPv4Address("10.1.2.3")] == 16
    with LpmTrieMap.create(key=IPv6Network, value="I", max_entries=8) as six:
        six[IPv6Network("2001:db8::/32")] = 1
        six[IPv6Network("::/0")] = 0
        assert six[IPv6Address("2001:db8::5")] == 1
        assert six[IPv6Address("fe80::1")] == 0
