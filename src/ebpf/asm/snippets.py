"""What most programs do with maps, events and strings.

    from ebpf.asm import snippets

    code = [
        snippets.count(counts, R10 - 4, buffer=R10 - 16),        # counts[key] += 1
        snippets.ring_output(events, R10 - 40, 24),
        ...
    ]

Functions return lists of instructions. All of them call helpers, which leaves nothing in R0 to R5
but the result in R0, where one is mentioned; R6 to R9 are kept.
"""

from __future__ import annotations

from ebpf.asm.alu import add, mov, rsh, sub
from ebpf.asm.atomics import atomic_add
from ebpf.asm.fresh import fresh
from ebpf.asm.instruction import Instruction, Label
from ebpf.asm.jumps import call, ja, jeq, jge, jne, jsge, jsle
from ebpf.asm.memory import ld_map_fd, ld_map_value, ldxdw, stdw, stxdw, stxw
from ebpf.asm.operands import in_range, register
from ebpf.asm.registers import R0, R1, R2, R3, R4, Memory, Register
from ebpf.asm.structs import address_of
from ebpf.errors import AsmError
from ebpf.types import UpdateFlags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from ebpf.asm.instruction import MapReference

    Code: TypeAlias = list[Instruction | Label]
    Place: TypeAlias = Register | Memory


def lookup(map: MapReference, key: Place, absent: str | None = None) -> Code:
    """R0 = the address of the key's value; jumps to `absent` where the map has no such key.

    `key` is the memory that holds the key: ``R10 - 4``, or a register with its address. Without
    `absent` R0 is 0 for an absent key, which is to be checked before it is used.
    """
    code: Code = [*address_of(R2, key), ld_map_fd(R1, map), call("map_lookup_elem")]
    return code if absent is None else [*code, jeq(R0, 0, absent)]


def update(
    map: MapReference, key: Place, value: Place, flags: UpdateFlags | int = UpdateFlags.ANY
) -> Code:
    """map[key] = value; both are memory. R0 is 0, or a negative errno."""
    values = address_of(R3, value)
    keys = address_of(R2, key)
    # What comes second must not be made from what the first has overwritten.
    if isinstance(value, (Register, Memory)) and _base(value) == R2.number:
        keys, values = values, keys
        if _base(key) == R3.number:
            raise AsmError("key and value must not be in each other's registers, R3 and R2")
    return [*keys, *values, ld_map_fd(R1, map), mov(R4, int(flags)), call("map_update_elem")]


def delete(map: MapReference, key: Place) -> Code:
    """Takes the key out of the map. R0 is 0, or -ENOENT."""
    return [*address_of(R2, key), ld_map_fd(R1, map), call("map_delete_elem")]


def _base(place: Place) -> int:
    return place.number if isinstance(place, Register) else place.base.number


def count(map: MapReference, key: Memory, *, buffer: Memory, by: Register | int = 1) -> Code:
    """map[key] += by; the values are numbers of 64 bits, and a new key begins at 0.

    Nothing is counted when a hash is full. `by` is a number, or one of R6 to R9.

    Args:
        key: memory with the key, on the stack. Zero it before a helper fills a part of it, or a
            text: get_current_comm leaves alone what is behind the end of the name, on some kernels
            (6.1), and each rest is another key.
        buffer: 8 bytes on the stack.
    """
    _check_kept("by", by)
    found, done = fresh("found"), fresh("counted")
    return [
        *lookup(map, key), jne(R0, 0, found),
        # Zero first, and then as any other: another CPU may have added the key meanwhile.
        stdw(buffer, 0), *update(map, key, buffer, UpdateFlags.NOEXIST),
        *lookup(map, key, done),
        Label(found), mov(R1, by), atomic_add(R0 + 0, R1),
        Label(done),
    ]  # fmt: skip


def add_to(map: MapReference, offset: int = 0, by: Register | int = 1) -> Code:
    """Adds to 64 bits of the value of an array map with one entry, `offset` bytes in. Linux 5.2.

    The shortest counter: nothing is looked up. `by` is a number or any register but R1; clobbers
    R1, and R2 for a number.
    """
    if isinstance(by, Register):
        if by == R1:
            raise AsmError("by must not be R1, which takes the address of the value")
        return [ld_map_value(R1, map, offset), atomic_add(R1 + 0, by)]
    return [ld_map_value(R1, map, offset), mov(R2, by), atomic_add(R1 + 0, R2)]


def log2(dst: Register, value: Register, scratch: Register = R0) -> Code:
    """dst = the position of the highest bit of `value`, unsigned; 0 for 0 and for 1.

    Clobbers `value`.
    """
    if len({register("registers", one) for one in (dst, value, scratch)}) < 3:
        raise AsmError("dst, value and scratch must be different registers")
    code: Code = [mov(dst, 0)]
    # By halving: is there anything above bit 32, 16, ...?
    for bits in (32, 16, 8, 4, 2, 1):
        below = fresh(f"below{bits}_")
        code += [
            mov(scratch, value), rsh(scratch, bits), jeq(scratch, 0, below),
            mov(value, scratch), add(dst, bits),
            Label(below),
        ]  # fmt: skip
    return code


#: The slots of a histogram: negative numbers, 0, and one for each power of two.
HISTOGRAM_SLOTS = 66
_NEGATIVE, _ZERO, _FIRST_POWER = 0, 1, 2


def histogram(map: MapReference, value: Register, *, buffer: Memory, signed: bool = False) -> Code:
    """Counts `value` in an array map of HISTOGRAM_SLOTS numbers of 64 bits.

    Slot 0 counts negative numbers, slot 1 zeros, slot 2 + n those from 2**n up to 2**(n + 1) - 1:
    see `histogram_range`. Clobbers `value`, R0 to R5.

    Args:
        value: one of R2 to R9.
        buffer: 4 bytes on the stack.
        signed: without it a value is never negative, but may be up to 2**64 - 1.
    """
    if register("value", value) in (0, 1):
        raise AsmError(f"value must be one of R2 to R9, not {value!r}")
    positive, store, done = fresh("positive"), fresh("slot"), fresh("counted")
    code: Code = []
    if signed:
        code = [mov(R1, _NEGATIVE), jsge(value, 0, positive), ja(store), Label(positive)]
    return [
        *code,
        mov(R1, _ZERO), jeq(value, 0, store),
        *log2(R1, value), add(R1, _FIRST_POWER),
        Label(store), stxw(buffer, R1),
        *lookup(map, buffer, done), mov(R1, 1), atomic_add(R0 + 0, R1),
        Label(done),
    ]  # fmt: skip


def histogram_range(slot: int) -> tuple[int, int] | None:
    """The first and the last number that a slot of a `histogram` counts; None: negative ones."""
    if in_range("slot", slot, 0, HISTOGRAM_SLOTS - 1) == _NEGATIVE:
        return None
    if slot == _ZERO:
        return 0, 0
    low = 1 << (slot - _FIRST_POWER)
    return low, 2 * low - 1


def ring_output(ring: MapReference, record: Place, size: int | Register, flags: int = 0) -> Code:
    """Copies the record at `record` into a ring buffer. R0 is 0, or negative: it is full.

    `size` in bytes, or a register with it, whose bounds the verifier knows. Linux 5.8.
    """
    code: Code = []
    if isinstance(size, Register):
        if _base(record) == R3.number:
            raise AsmError("record must not be in R3, which takes the size")
        code = [] if size == R3 else [mov(R3, size)]
    code += address_of(R2, record)
    if not isinstance(size, Register):
        code.append(mov(R3, in_range("size", size, 1, 2**31 - 1)))
    return [*code, ld_map_fd(R1, ring), mov(R4, flags), call("ringbuf_output")]


def ring_reserve(ring: MapReference, size: int, failed: str) -> Code:
    """R0 = room for a record of `size` bytes in a ring buffer; jumps to `failed` when it is full.

    Each record is to be submitted or discarded on every way out of the program. Linux 5.8.
    """
    in_range("size", size, 1, 2**31 - 1)
    return [
        ld_map_fd(R1, ring), mov(R2, size), mov(R3, 0), call("ringbuf_reserve"),
        jeq(R0, 0, failed),
    ]  # fmt: skip


def ring_submit(record: Register, flags: int = 0) -> Code:
    """Hands the reserved record to the reader."""
    code: Code = [] if record == R1 else [mov(R1, record)]
    return [*code, mov(R2, flags), call("ringbuf_submit")]


def ring_discard(record: Register, flags: int = 0) -> Code:
    """Gives the reserved record back: the reader does not see it."""
    code: Code = [] if record == R1 else [mov(R1, record)]
    return [*code, mov(R2, flags), call("ringbuf_discard")]


def read_str(
    target: Place, size: int, source: Place, failed: str | None = None, *, user: bool = False
) -> Code:
    """Copies a string of the kernel, or with `user` of the process, up to and with its NUL.

    At most `size` bytes, the last of which is always a NUL. R0 is how many, the NUL counted; for
    memory that cannot be read jumps to `failed`, or R0 is negative. Linux 5.5.

    Args:
        target: where to: `size` bytes on the stack, in a map's value or a ring's record.
        source: a register with the string's address, or memory at that address (``R6 + 8``).
    """
    in_range("size", size, 1, 2**31 - 1)
    if _base(target) == R3.number:
        raise AsmError("target must not be in R3, which takes the source")
    name = "probe_read_user_str" if user else "probe_read_kernel_str"
    code: Code = [*address_of(R3, source), *address_of(R1, target), mov(R2, size), call(name)]
    return code if failed is None else [*code, jsle(R0, 0, failed)]


def rate_limit(
    map: MapReference, key: Memory, *, events: int, nanoseconds: int, over: str, buffer: Memory
) -> Code:
    """Lets `events` of a key pass in `nanoseconds`, and jumps to `over` with those beyond.

    Values are 16 bytes: the start of the key's window (CLOCK_MONOTONIC) and the events in it. A
    window begins with the first event behind the end of the one before. Where CPUs meet a few
    events more may pass. A key for which a hash has no room is `over`; an LRU hash always has.

    Args:
        key: memory with the key, on the stack.
        events, nanoseconds: 1 to 2**31 - 1 each.
        buffer: 16 bytes on the stack.
    """
    in_range("events", events, 1, 2**31 - 1)
    in_range("nanoseconds", nanoseconds, 1, 2**31 - 1)
    found, anew, passed = fresh("found"), fresh("anew"), fresh("passed")
    return [
        call("ktime_get_ns"), stxdw(buffer, R0), stdw(buffer + 8, 1),
        *lookup(map, key), jne(R0, 0, found),
        *update(map, key, buffer, UpdateFlags.NOEXIST), jeq(R0, 0, passed),
        *lookup(map, key, over),
        Label(found),
        ldxdw(R1, buffer), ldxdw(R2, R0 + 0), mov(R3, R1), sub(R3, R2),
        # Signed: another CPU may have begun the window after this one has looked at the clock.
        jsge(R3, nanoseconds, anew),
        ldxdw(R2, R0 + 8), jge(R2, events, over),
        mov(R1, 1), atomic_add(R0 + 8, R1), ja(passed),
        Label(anew), stxdw(R0 + 0, R1), stdw(R0 + 8, 1),
        Label(passed),
    ]  # fmt: skip


def _check_kept(name: str, value: Register | int) -> None:
    if isinstance(value, Register) and not 6 <= value.number <= 9:
        raise AsmError(f"{name} must be a number or one of R6 to R9, which calls keep")
