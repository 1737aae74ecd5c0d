"""Packets: headers one after the other, each with the check that the verifier asks for.

    from ebpf.asm import packet

    code = [
        packet.start(ProgramType.XDP, R1, cursor=R6, end=R7),
        packet.ethernet(R2, R6, R7, "pass"),             # R2 = the protocol, past VLAN tags
        jne(R2, packet.IPV4, "pass"),
        packet.ipv4(R2, R6, R7, "pass", header=R8),      # R8 = the header, R2 = the protocol in it
        jne(R2, packet.TCP, "pass"),
        packet.tcp(R6, R7, "pass", header=R9),
        packet.load(R2, R9, "tcphdr.dest"),              # in the machine's byte order
        ...
        Label("pass"), mov(R0, 2), exit_(),
    ]

Each parser moves `cursor` behind the header that it has checked, and jumps to `otherwise` for a
packet that is too short or malformed. Functions return lists of instructions, and clobber the
registers that they are given and `scratch`, no others. The registers of one call are all different;
`scratch` is R0 where no other is given.
"""

from __future__ import annotations

from ebpf.asm.alu import add, and_, be16, be32, be64, lsh, mov, rsh
from ebpf.asm.checksums import checksum as checksum
from ebpf.asm.checksums import checksum_diff as checksum_diff
from ebpf.asm.checksums import fold as fold
from ebpf.asm.checksums import replace_l3_checksum as replace_l3_checksum
from ebpf.asm.checksums import replace_l4_checksum as replace_l4_checksum
from ebpf.asm.checksums import store_bytes as store_bytes
from ebpf.asm.checksums import update_checksum as update_checksum
from ebpf.asm.checksums import update_checksum_by as update_checksum_by
from ebpf.asm.fresh import fresh
from ebpf.asm.instruction import Instruction, Label
from ebpf.asm.jumps import call, ja, jeq, jgt, jlt, jne
from ebpf.asm.memory import ldxb, ldxdw, ldxh, ldxw
from ebpf.asm.operands import in_range, register
from ebpf.asm.registers import R0, R1, R2, Register
from ebpf.errors import AsmError
from ebpf.plain import NamedTuple
from ebpf.types import ProgramType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    Code: TypeAlias = list[Instruction | Label]

# uapi linux/if_ether.h: what `ethernet` leaves.
IPV4, IPV6, ARP = 0x0800, 0x86DD, 0x0806
_VLAN, _VLAN_OUTER = 0x8100, 0x88A8

# uapi linux/in.h, in6.h: what `ipv4` and `ipv6` leave.
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
_EXTENSIONS = _HOP_BY_HOP, _ROUTING, _FRAGMENT, _DESTINATION = 0, 43, 44, 60

# struct xdp_md and struct __sk_buff of uapi linux/bpf.h: where data and data_end are.
_BOUNDS = {
    ProgramType.XDP: (0, 4),
    **dict.fromkeys(
        (
            ProgramType.SCHED_CLS, ProgramType.SCHED_ACT, ProgramType.CGROUP_SKB,
            ProgramType.LWT_IN, ProgramType.LWT_OUT, ProgramType.LWT_XMIT,
            ProgramType.SK_SKB,
        ),
        (76, 80),
    ),
}  # fmt: skip


class Field(NamedTuple):
    """Where a header has a field, in bytes."""

    offset: int
    size: int


# The structs of uapi linux/if_ether.h, ip.h, ipv6.h, tcp.h, udp.h, icmp.h and icmpv6.h.
FIELDS = {
    "ethhdr.h_dest": Field(0, 6),
    "ethhdr.h_source": Field(6, 6),
    "ethhdr.h_proto": Field(12, 2),
    "iphdr.tos": Field(1, 1),
    "iphdr.tot_len": Field(2, 2),
    "iphdr.id": Field(4, 2),
    "iphdr.frag_off": Field(6, 2),
    "iphdr.ttl": Field(8, 1),
    "iphdr.protocol": Field(9, 1),
    "iphdr.check": Field(10, 2),
    "iphdr.saddr": Field(12, 4),
    "iphdr.daddr": Field(16, 4),
    "ipv6hdr.payload_len": Field(4, 2),
    "ipv6hdr.nexthdr": Field(6, 1),
    "ipv6hdr.hop_limit": Field(7, 1),
    "ipv6hdr.saddr": Field(8, 16),
    "ipv6hdr.daddr": Field(24, 16),
    "tcphdr.source": Field(0, 2),
    "tcphdr.dest": Field(2, 2),
    "tcphdr.seq": Field(4, 4),
    "tcphdr.ack_seq": Field(8, 4),
    "tcphdr.flags": Field(13, 1),
    "tcphdr.window": Field(14, 2),
    "tcphdr.check": Field(16, 2),
    "udphdr.source": Field(0, 2),
    "udphdr.dest": Field(2, 2),
    "udphdr.len": Field(4, 2),
    "udphdr.check": Field(6, 2),
    "icmphdr.type": Field(0, 1),
    "icmphdr.code": Field(1, 1),
    "icmphdr.checksum": Field(2, 2),
    "icmphdr.id": Field(4, 2),
    "icmphdr.sequence": Field(6, 2),
}
FIELDS.update(
    {f"icmp6hdr.icmp6_{name}": FIELDS[f"icmphdr.{old}"] for name, old in (
        ("type", "type"), ("code", "code"), ("cksum", "checksum"),
        ("identifier", "id"), ("sequence", "sequence"),
    )}
)  # fmt: skip
_LOADS = {1: ldxb, 2: ldxh, 4: ldxw, 8: ldxdw}
_FROM_NETWORK = {2: be16, 4: be32, 8: be64}


def start(type: ProgramType, context: Register, *, cursor: Register, end: Register) -> Code:
    """cursor = the packet's first byte, end = what is behind its last; `context` is R1's value.

    Of an skb the end of what is in one piece: `pull` gets more of it. `cursor` is not `context`.
    """
    if type not in _BOUNDS:
        raise AsmError(f"type: {type.name} programs have no packet in their context")
    data, data_end = _BOUNDS[type]
    if register("cursor", cursor) == register("context", context):
        raise AsmError("cursor must not be the register of context, which end is loaded from")
    _check_different({"cursor": cursor, "end": end})
    return [ldxw(cursor, context + data), ldxw(end, context + data_end)]


def pull(context: Register, size: int) -> Code:
    """Has the first `size` bytes of an skb in one piece; afterwards `start` again.

    Clobbers R0 to R5. R0 is 0, or negative where the packet is shorter. For TC, LWT and SK_SKB
    programs: others that have an skb, those of cgroups (CGROUP_SKB), see what is there.
    """
    code: Code = [] if context == R1 else [mov(R1, context)]
    return [*code, mov(R2, size), call("skb_pull_data")]


def need(
    cursor: Register, end: Register, size: int, otherwise: str, scratch: Register = R0
) -> Code:
    """Jumps to `otherwise` unless there are `size` more bytes, which may be used from then on."""
    in_range("size", size, 0, 0xFFFF)
    _check_different({"cursor": cursor, "end": end, "scratch": scratch})
    return [mov(scratch, cursor), add(scratch, size), jgt(scratch, end, otherwise)]


def load(dst: Register, header: Register, field: str, *, network_order: bool = False) -> Code:
    """dst = a field of the header, by its struct's name and its own: ``"iphdr.saddr"``.

    In the machine's byte order, or with `network_order` as it is in the packet. Of a field that is
    longer than 8 bytes, or of 6: see `address`. ``"tcphdr.flags"``: FIN is 1, SYN 2, RST 4, ACK 16.
    """
    place = _field(field)
    if place.size not in _LOADS:
        raise AsmError(f"{field} has {place.size} bytes, a register has 8: see packet.address")
    code: Code = [_LOADS[place.size](dst, header + place.offset)]
    return code if network_order or place.size == 1 else [*code, _FROM_NETWORK[place.size](dst)]


def address(dst: Register, header: Register, field: str) -> Code:
    """dst = the address of a field of the header."""
    return [mov(dst, header), add(dst, _field(field).offset)]


def _field(name: str) -> Field:
    if name not in FIELDS:
        import difflib

        near = difflib.get_close_matches(name, FIELDS, n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else "; packet.FIELDS has them all"
        raise AsmError(f"field: no header has {name!r}{hint}")
    return FIELDS[name]


def ethernet(
    protocol: Register,
    cursor: Register,
    end: Register,
    otherwise: str,
    *,
    header: Register | None = None,
    scratch: Register = R0,
    vlans: int = 2,
) -> Code:
    """protocol = what the frame carries (IPV4, IPV6, ARP), in the machine's byte order.

    Up to `vlans` VLAN tags (802.1Q, 802.1ad) are passed over. `header` gets the frame's start.
    """
    done = fresh("ethernet")
    code: Code = [
        *_header(14, cursor, end, otherwise, header, scratch, protocol),
        ldxh(protocol, cursor + 12), be16(protocol), add(cursor, 14),
    ]  # fmt: skip
    for _ in range(vlans):
        tagged = fresh("vlan")
        code += [
            jeq(protocol, _VLAN, tagged),
            jne(protocol, _VLAN_OUTER, done),
            Label(tagged),
            *need(cursor, end, 4, otherwise, scratch),
            ldxh(protocol, cursor + 2),
            be16(protocol),
            add(cursor, 4),
        ]
    return [*code, Label(done)]


def ipv4(
    protocol: Register,
    cursor: Register,
    end: Register,
    otherwise: str,
    *,
    header: Register | None = None,
    scratch: Register = R0,
) -> Code:
    """protocol = what the packet carries (TCP, UDP, ICMP); options are passed over.

    The second and later fragments of a packet go to `otherwise`: they have no header of a
    transport. `header` gets the start of the IPv4 header, of which 20 bytes may be used.
    """
    return [
        *_header(20, cursor, end, otherwise, header, scratch, protocol),
        # All but the flags: where the fragment belongs.
        ldxh(protocol, cursor + 6),
        be16(protocol),
        and_(protocol, 0x1FFF),
        jne(protocol, 0, otherwise),
        ldxb(scratch, cursor + 0),
        mov(protocol, scratch),
        rsh(protocol, 4),
        jne(protocol, 4, otherwise),
        and_(scratch, 0x0F),
        jlt(scratch, 5, otherwise),
        lsh(scratch, 2),
        ldxb(protocol, cursor + 9),
        add(cursor, scratch),
        jgt(cursor, end, otherwise),
    ]


def ipv6(
    protocol: Register,
    cursor: Register,
    end: Register,
    otherwise: str,
    *,
    header: Register | None = None,
    scratch: Register = R0,
    extensions: int = 4,
) -> Code:
    """protocol = what the packet carries (TCP, UDP, ICMPV6), behind up to `extensions` headers.

    Passed over are those of hop-by-hop, routing, fragment and destination options. A packet with
    more of them goes to `otherwise`, and so do the second and later fragments of one. `header` gets
    the start of the IPv6 header.
    """
    done = fresh("ipv6")
    code: Code = [
        *_header(40, cursor, end, otherwise, header, scratch, protocol),
        ldxb(scratch, cursor + 0),
        rsh(scratch, 4),
        jne(scratch, 6, otherwise),
        ldxb(protocol, cursor + 6),
        add(cursor, 40),
    ]
    for _ in range(extensions):
        code += _extension(protocol, cursor, end, otherwise, scratch, done)
    return [*code, *(jeq(protocol, one, otherwise) for one in _EXTENSIONS), Label(done)]


def _extension(
    protocol: Register,
    cursor: Register,
    end: Register,
    otherwise: str,
    scratch: Register,
    done: str,
) -> Code:
    """One more header of IPv6, or the end of them."""
    sized, fragment, behind = fresh("sized"), fresh("fragment"), fresh("behind")
    return [
        jeq(protocol, _FRAGMENT, fragment),
        jeq(protocol, _HOP_BY_HOP, sized),
        jeq(protocol, _ROUTING, sized),
        jne(protocol, _DESTINATION, done),
        Label(sized),
        *need(cursor, end, 8, otherwise, scratch),
        ldxb(protocol, cursor + 0),
        # In units of 8 bytes, the first not counted.
        ldxb(scratch, cursor + 1),
        add(scratch, 1),
        lsh(scratch, 3),
        add(cursor, scratch),
        jgt(cursor, end, otherwise),
        ja(behind),
        Label(fragment),
        *need(cursor, end, 8, otherwise, scratch),
        ldxh(scratch, cursor + 2),
        be16(scratch),
        and_(scratch, 0xFFF8),
        jne(scratch, 0, otherwise),
        ldxb(protocol, cursor + 0),
        add(cursor, 8),
        Label(behind),
    ]


def tcp(
    cursor: Register,
    end: Register,
    otherwise: str,
    *,
    header: Register | None = None,
    scratch: Register = R0,
) -> Code:
    """Passes over a TCP header with its options; `header` gets its start, 20 bytes may be used."""
    return [
        *_header(20, cursor, end, otherwise, header, scratch),
        ldxb(scratch, cursor + 12),
        rsh(scratch, 4),
        jlt(scratch, 5, otherwise),
        lsh(scratch, 2),
        add(cursor, scratch),
        jgt(cursor, end, otherwise),
    ]


def udp(
    cursor: Register,
    end: Register,
    otherwise: str,
    *,
    header: Register | None = None,
    scratch: Register = R0,
) -> Code:
    """Passes over a UDP header; `header` gets its start."""
    return [*_header(8, cursor, end, otherwise, header, scratch), add(cursor, 8)]


def icmp(
    cursor: Register,
    end: Register,
    otherwise: str,
    *,
    header: Register | None = None,
    scratch: Register = R0,
) -> Code:
    """Passes over the first 8 bytes of ICMP, or of ICMPv6; `header` gets their start."""
    return udp(cursor, end, otherwise, header=header, scratch=scratch)


def _header(
    size: int,
    cursor: Register,
    end: Register,
    otherwise: str,
    header: Register | None,
    scratch: Register,
    protocol: Register | None = None,
) -> Code:
    own = {"cursor": cursor, "end": end, "header": header, "scratch": scratch}
    _check_different({"protocol": protocol, **own})
    code = need(cursor, end, size, otherwise, scratch)
    return code if header is None else [*code, mov(header, cursor)]


def _check_different(registers: dict[str, Register | None]) -> None:
    taken: dict[int, str] = {}
    for name, one in registers.items():
        if one is None:
            continue
        other = taken.setdefault(register(name, one), name)
        if other != name:
            raise AsmError(
                f"{', '.join(registers)} must be different registers: {other} and {name} are both"
                f" {one!r}"
            )
