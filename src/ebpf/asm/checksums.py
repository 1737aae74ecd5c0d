"""The checksums of packets, and what is written into them: parts of `ebpf.asm.packet`.

A checksum covers words of 16 bits as they stand in the packet, so that no byte order matters: what
is passed here is in that of the packet (``network_order=True``).
"""

from __future__ import annotations

from ebpf.asm.alu import add, and_, mov, rsh, xor
from ebpf.asm.calls import invoke
from ebpf.asm.fresh import fresh
from ebpf.asm.instruction import Instruction, Label
from ebpf.asm.jumps import call, jeq, jne
from ebpf.asm.memory import ldxh, stxh
from ebpf.asm.operands import in_range, memory, register
from ebpf.asm.registers import R0, R1, R2, R3, R4, R5, Memory, Register
from ebpf.asm.structs import address_of
from ebpf.errors import AsmError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    Code: TypeAlias = list[Instruction | Label]
    Place: TypeAlias = Register | Memory

# Flags of helpers in uapi linux/bpf.h: BPF_F_ and these names.
RECOMPUTE_CSUM, INVALIDATE_HASH = 1 << 0, 1 << 1
PSEUDO_HDR, MARK_MANGLED_0 = 1 << 4, 1 << 5

# MAX_BPF_STACK: what csum_diff has room for, the old and the new bytes together.
_MOST = 512


def fold(dst: Register, scratch: Register) -> Code:
    """dst = a sum of words of 16 bits, whatever was carried out of them added to it."""
    once: Code = [mov(scratch, dst), rsh(scratch, 16), and_(dst, 0xFFFF), add(dst, scratch)]
    # 64 bits to 49, to 34, to 19, to 17, to 16.
    return [instruction for _ in range(5) for instruction in once]


def checksum(dst: Register, data: Place, size: int) -> Code:
    """dst = the Internet checksum (RFC 1071) of `size` bytes, as it stands in a packet.

    Of a header with its checksum in it the result is 0 where that is right; to make one, the
    field is to be 0. A multiple of 4 bytes, 512 at most, which the verifier knows to be there.
    Clobbers R0 to R5. For XDP, TC and the like (csum_diff).
    """
    _check_summed(size, _MOST)
    memory("data", data)
    return [
        *address_of(R3, data),
        mov(R1, 0), mov(R2, 0), mov(R4, size), mov(R5, 0),
        call("csum_diff"),
        *fold(R0, R1), xor(R0, 0xFFFF),
        *([] if dst == R0 else [mov(dst, R0)]),
    ]  # fmt: skip


def update_checksum(
    place: Place,
    old: Register,
    new: Register,
    scratch: Register = R0,
    other: Register = R1,
    *,
    udp: bool = False,
) -> Code:
    """The checksum at `place` after 16 bits that it covers became `new` from `old` (RFC 1624).

    Both as in the packet (``network_order=True``). `udp` is as that of `update_checksum_by`, and
    UDP packets need it. Clobbers `old`, `scratch` and `other`.
    """
    base, offset = memory("place", place)
    where = Memory(Register(base), offset)
    if len({base, *(register("registers", one) for one in (old, new, scratch, other))}) < 5:
        raise AsmError("place, old, new, scratch and other must be different registers")
    change: Code = [xor(old, 0xFFFF), and_(old, 0xFFFF), add(scratch, old), add(scratch, new)]
    return _changed(where, change, scratch, other, udp)


def checksum_diff(
    dst: Register,
    old: Place | None,
    new: Place | None,
    size: int,
    *,
    seed: Register | int = 0,
) -> Code:
    """dst = what a checksum has to learn when `size` bytes at `old` become those at `new`.

    For `update_checksum_by` and, with size=0, `replace_l3_checksum` and `replace_l4_checksum`.

    Args:
        old, new: where the bytes are, which the verifier has to know: in the packet (see `need`),
            on the stack (``R10 - 16``), in a map's value. None for bytes that are only added, or
            only taken away. They begin at an even place of what is summed up.
        size: a multiple of 4, 512 at most, 256 with both `old` and `new`.
        seed: the diff of another change, to have one for both.

    Clobbers R0 to R5. For XDP, TC and the like (csum_diff).
    """
    if old is None and new is None:
        raise AsmError("checksum_diff takes old, new or both")
    _check_summed(size, _MOST if old is None or new is None else _MOST // 2)
    before: tuple[Place | int, int] = (0, 0) if old is None else (old, size)
    after: tuple[Place | int, int] = (0, 0) if new is None else (new, size)
    code = invoke(call("csum_diff"), *before, *after, seed)
    return [*code, *([] if dst == R0 else [mov(dst, R0)])]


def _check_summed(size: int, most: int) -> None:
    if in_range("size", size, 4, most) % 4:
        raise AsmError(f"size must be a multiple of 4, not {size}")


def update_checksum_by(
    place: Place,
    diff: Register,
    scratch: Register = R0,
    other: Register = R1,
    *,
    udp: bool = False,
) -> Code:
    """The checksum at `place` after a change of which `diff` is the `checksum_diff`.

    With `udp` one of 0, by which UDP over IPv4 says that there is none, stays 0; and what comes
    out as 0 is written as 0xffff, which is the same sum. Clobbers `scratch` and `other`.
    """
    base, offset = memory("place", place)
    where = Memory(Register(base), offset)
    if len({base, *(register("registers", one) for one in (diff, scratch, other))}) < 4:
        raise AsmError("place, diff, scratch and other must be different registers")
    return _changed(where, [add(scratch, diff)], scratch, other, udp)


def _changed(where: Memory, change: Code, scratch: Register, other: Register, udp: bool) -> Code:
    """The checksum at `where` with what `change` adds to its sum, which is in `scratch`."""
    code: Code = [xor(scratch, 0xFFFF), *change, *fold(scratch, other), xor(scratch, 0xFFFF)]
    if not udp:
        return [ldxh(scratch, where), *code, stxh(where, scratch)]
    none, some = fresh("none"), fresh("some")
    return [
        ldxh(scratch, where), jeq(scratch, 0, none),
        *code, jne(scratch, 0, some), mov(scratch, 0xFFFF),
        Label(some), stxh(where, scratch),
        Label(none),
    ]  # fmt: skip


def store_bytes(
    context: Register,
    offset: Register | int,
    source: Place,
    size: Register | int,
    *,
    recompute: bool = False,
    invalidate_hash: bool = False,
) -> Code:
    """Writes `size` bytes at `source` into an skb, `offset` bytes behind its start.

    R0 is 0, or negative where the packet is shorter. What was known of the packet's bounds is
    not any more: `start` again. Clobbers R0 to R5. For TC, LWT_XMIT and SK_SKB (skb_store_bytes).

    Args:
        source: memory: ``R10 - 8``, or a register with an address.
        recompute: keep the sum that a network card has taken of the whole packet. Not where a
            checksum in the packet makes up for the change, by `replace_l4_checksum` or
            `replace_l3_checksum`: the sum is then the same.
        invalidate_hash: the bytes tell flows apart; what the kernel has made of them is dropped.
    """
    flags = RECOMPUTE_CSUM * recompute | INVALIDATE_HASH * invalidate_hash
    return [*invoke(call("skb_store_bytes"), context, offset, source, size, flags)]


def replace_l3_checksum(
    context: Register,
    offset: Register | int,
    old: Register | int,
    new: Register | int,
    size: int = 2,
) -> Code:
    """The checksum of an IPv4 header, `offset` bytes behind an skb's start, after a change.

    `old` became `new`, numbers of `size` bytes (2 or 4) as they are in the packet; with a size of
    0 `old` is 0 and `new` a `checksum_diff`. R0 is 0, or negative where the packet is shorter.
    What was known of the packet's bounds is not any more: `start` again. Clobbers R0 to R5. For
    TC (l3_csum_replace).
    """
    _check_replaced(old, size)
    return [*invoke(call("l3_csum_replace"), context, offset, old, new, size)]


def replace_l4_checksum(
    context: Register,
    offset: Register | int,
    old: Register | int,
    new: Register | int,
    size: int = 2,
    *,
    pseudo: bool = False,
    udp: bool = False,
) -> Code:
    """The checksum of TCP, UDP or ICMPv6, `offset` bytes behind an skb's start, after a change.

    As `replace_l3_checksum`, for TC (l4_csum_replace).

    Args:
        pseudo: what changed is in the header that only the checksum has: the addresses.
        udp: a checksum of 0 is none, and stays one.
    """
    _check_replaced(old, size)
    flags = size | PSEUDO_HDR * pseudo | MARK_MANGLED_0 * udp
    return [*invoke(call("l4_csum_replace"), context, offset, old, new, flags)]


def _check_replaced(old: Register | int, size: int) -> None:
    if size not in (0, 2, 4):
        raise AsmError(f"size must be 2 or 4, or 0 for a checksum_diff, not {size}")
    if size == 0 and (isinstance(old, Register) or old != 0):
        raise AsmError("old must be 0 with a size of 0: new is then the diff of both")
