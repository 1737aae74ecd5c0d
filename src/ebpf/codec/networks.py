"""IP addresses and networks of the standard library's ipaddress, as the kernel keeps them."""

from __future__ import annotations

import struct

from ebpf.codec.base import Codec
from ebpf.codec.layout import shown
from ebpf.errors import CodecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ebpf.codec.base import Buffer

_ADDRESSES = {"IPv4Address": 4, "IPv6Address": 16}
_NETWORKS = {"IPv4Network": 4, "IPv6Network": 16}


class AddressCodec(Codec["Any"]):
    """An IPv4Address or IPv6Address: its bytes in network order (``struct in_addr``)."""

    def __init__(self, cls: type) -> None:
        self._cls = cls
        self.size = _ADDRESSES[cls.__name__]
        self.format = f"{self.size}s"

    def pack(self, value: Any) -> bytes:
        if not isinstance(value, self._cls):
            raise CodecError(f"{shown(value)} is not an {self._cls.__name__}")
        packed: bytes = value.packed  # type: ignore[attr-defined]
        return packed

    def unpack(self, buffer: Buffer) -> Any:
        data = bytes(memoryview(buffer))
        if len(data) != self.size:
            raise self._wrong_size(data)
        return self._cls(data)

    def _meaning(self) -> tuple[object, ...]:
        return (AddressCodec, self._cls)

    def __repr__(self) -> str:
        return f"codec({self._cls.__name__})"


class NetworkCodec(Codec["Any"]):
    """An IPv4Network or IPv6Network as the key of an LPM_TRIE (``struct bpf_lpm_trie_key``): the
    prefix length, then the address in network order.

    An address stands for the network that has it alone: looked up, it finds the network with the
    longest prefix that it is in.
    """

    def __init__(self, cls: type) -> None:
        self._cls = cls
        self._struct = struct.Struct(f"=I{_NETWORKS[cls.__name__]}s")
        self._address = cls.__name__.replace("Network", "Address")
        self.size = self._struct.size

    def pack(self, value: Any) -> bytes:
        if isinstance(value, self._cls):
            network: Any = value
            return self._struct.pack(network.prefixlen, network.network_address.packed)
        if type(value).__name__ != self._address or type(value).__module__ != "ipaddress":
            raise CodecError(
                f"{shown(value)} is not an {self._cls.__name__}, nor an {self._address}"
            )
        return self._struct.pack(value.max_prefixlen, value.packed)

    def unpack(self, buffer: Buffer) -> Any:
        try:
            prefix, address = self._struct.unpack(buffer)
        except struct.error:
            raise self._wrong_size(buffer) from None
        # A program may leave bits behind the prefix, which the kernel does not look at.
        return self._cls((address, prefix), strict=False)

    def _meaning(self) -> tuple[object, ...]:
        return (NetworkCodec, self._cls)

    def __repr__(self) -> str:
        return f"codec({self._cls.__name__})"


def from_ipaddress(cls: type) -> Codec[Any]:
    """The codec for a class of ipaddress.

    Raises:
        TypeError: for one that is neither an address nor a network.
    """
    if cls.__name__ in _ADDRESSES:
        return AddressCodec(cls)
    if cls.__name__ in _NETWORKS:
        return NetworkCodec(cls)
    raise TypeError(f"{cls!r} is no codec: of ipaddress, addresses and networks are")
