"""What the kernel reports about maps, programs and links, as plain values."""

from __future__ import annotations

from ebpf.types import LinkType, MapFlags, MapType, ProgramType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Info:
    """Named values that print themselves; equal when all values are."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({fields})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


class MapInfo(Info):
    """``struct bpf_map_info`` and what ``/proc/self/fdinfo`` adds to it. Sizes are in bytes."""

    type: MapType
    id: int
    name: str
    key_size: int
    value_size: int  #: of one value: per-CPU maps have one per possible CPU
    max_entries: int
    flags: MapFlags
    ifindex: int
    btf_id: int
    btf_key_type_id: int
    btf_value_type_id: int
    map_extra: int
    frozen: bool  #: no more writes from user space
    memlock: int  #: memory that the kernel holds for the map


class ProgramInfo(Info):
    """``struct bpf_prog_info``. Sizes are in bytes, times in nanoseconds."""

    type: ProgramType
    id: int
    name: str
    tag: str  #: the hash of the instructions, 16 hexadecimal digits
    load_time: int  #: when the program was loaded, since boot
    created_by_uid: int
    map_ids: list[int]
    btf_id: int
    gpl_compatible: bool
    ifindex: int
    xlated_size: int  #: after the verifier's rewrites; 0 where the kernel does not show it
    jited_size: int  #: machine code; 0 without the JIT or where the kernel does not show it
    verified_insns: int  #: instructions the verifier walked (5.16, else 0)
    run_time: int  #: spent in the program while statistics were on
    run_count: int  #: runs while statistics were on
    recursion_misses: int  #: runs that did not happen because the program was running (5.12)

    @property
    def average_run_time(self) -> float | None:
        """Nanoseconds that a run took while statistics were on; None where none was counted.

        Over the life of the program; of a span of time it is the difference of `run_time` over
        that of `run_count`. Counting itself is a part of it, some ten nanoseconds.
        """
        return self.run_time / self.run_count if self.run_count else None


class LinkInfo(Info):
    """``struct bpf_link_info``: the head, and in `details` the members of the link's kind."""

    type: LinkType
    id: int
    prog_id: int
    details: dict[str, Any]
