"""Addresses and networks of ipaddress."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from ebpf.codec import codec
from ebpf.errors import CodecError


def test_addresses_are_what_sockets_have() -> None:
    """An address has its bytes in another order than struct in_addr."""
    made = codec(IPv4Address)
    assert made.size == 4
    assert made.pack(IPv4Address("10.1.2.3")) == socket.inet_aton("10.1.2.3")
    assert made.unpack(b"\x0a\1\2\3") == IPv4Address("10.1.2.3")
    six = codec(IPv6Address)
    assert six.pack(IPv6Address("fe80::1")) == socket.inet_pton(socket.AF_INET6, "fe80::1")
    assert six.unpack(six.pack(IPv6Address("::1"))) == IPv6Address("::1")


def test_networks_are_keys_of_a_trie() -> None:
    """The prefix length is not in front, or not a u32 of this machine."""
    made = codec(IPv4Network)
    assert made.pack(IPv4Network("10.1.0.0/16")) == struct.pack("=I", 16) + b"\x0a\1\0\0"
    assert made.pack(IPv4Address("10.1.2.3")) == struct.pack("=I", 32) + b"\x0a\1\2\3"
    assert made.unpack(struct.pack("=I", 8) + b"\x0a\1\2\3") == IPv4Network("10.0.0.0/8")
    six = codec(IPv6Network)
    assert six.size == 20
    assert six.unpack(six.pack(IPv6Network("2001:db8::/32"))) == IPv6Network("2001:db8::/32")


@pytest.mark.parametrize(
    ("spec", "bad"),
    [
        (IPv4Address, "10.0.0.1"),
        (IPv4Address, IPv6Address("::1")),
        (IPv4Network, IPv6Network("::/0")),
        (IPv4Network, IPv6Address("::1")),
        (IPv6Network, IPv4Network("0.0.0.0/0")),
        (IPv4Network, "10.0.0.0/8"),
        (IPv4Network, None),
    ],
)
def test_others_are_refused(spec: type, bad: object) -> None:
    """An address of another family, or a text, is packed as something."""
    with pytest.raises(CodecError, match=rf"is not an {spec.__name__}"):
        codec(spec).pack(bad)
    with pytest.raises(CodecError, match="got 3 bytes"):
        codec(spec).unpack(b"abc")
