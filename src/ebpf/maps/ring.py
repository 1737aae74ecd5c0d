"""One mapped ring of a BPF_MAP_TYPE_RINGBUF."""

from __future__ import annotations

from ebpf._sys import bpf, check, ffi, lib
from ebpf.errors import NotSupportedError
from ebpf.maps.records import RecordQueue
from ebpf.types import MapFlags, MapType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ebpf.codec import Codec
    from ebpf.maps import Map


class Ring(RecordQueue):
    """One mapped ring and the records of it that wait to be handed out."""

    # A record's header, which is what a record takes of the ring at least.
    header_size = 8
    # Between two looks at a record that the program has reserved but not yet submitted.
    retry = 50e-6

    def __init__(self, map: Map[Any, Any], codec: Codec[Any] | None) -> None:
        if getattr(map, "type", None) != MapType.RINGBUF:
            raise TypeError(f"{map!r} is not a RINGBUF map")
        # Not map.info(), which takes /proc as well.
        info = bpf.obj_get_info_by_fd(map.fileno(), "map")
        super().__init__(map, codec, ffi.new("struct ebpf_ring *"))
        self.map_id = int(info["id"])
        self.size = map.max_entries
        overwrite_at = _overwrite_at(map) if info["map_flags"] & MapFlags.RB_OVERWRITE else 0
        check_width(map)
        self._overwritten = bool(overwrite_at)
        self.fd = check(lib.ebpf_dup(map.fileno()), f"duplicate the descriptor of {map!r}")
        result = lib.ebpf_ring_open(self.fd, map.max_entries, overwrite_at, self.ring)
        if result < 0:
            self.close()
            map._refuse_access("map the ring of")
            check(result, f"map the ring of {map!r}")

    def descriptors(self) -> list[int]:
        return [self.fd]

    def _close(self) -> list[int]:
        lib.ebpf_ring_close(self.ring)
        fd, self.fd = self.fd, -1
        return [fd] if fd >= 0 else []

    def _look(self) -> int:
        return self._checked(lib.ebpf_ring_ready(self.ring))

    def _unread(self) -> int:
        return self._checked(lib.ebpf_ring_unread(self.ring))

    def _room(self, unread: int) -> int:
        # In place of what was unread there may be a longer record by now.
        return self.size if self._overwritten else unread

    def _drain(self, buffer: Any, room: int, ends: Any, limit: int) -> int:
        return int(lib.ebpf_ring_drain(self.ring, buffer, room, ends, limit))

    def _drain_pickle(self, buffer: Any, room: int, limit: int) -> int:
        return int(lib.ebpf_ring_drain_pickle(self.ring, buffer, room, limit))


def check_width(map: Map[Any, Any]) -> None:
    """That this process can read and write the positions in a ring."""
    if lib.ebpf_ring_supported() < 0:
        raise NotSupportedError(
            f"map the ring of {map!r}: a 32-bit process on a 64-bit kernel, whose ring"
            " positions have 64 bits; use a 64-bit Python"
        )


def _overwrite_at(map: Map[Any, Any]) -> int:
    """How far behind the producer's position the kernel has that of its oldest record."""
    # Imported here: only this mode takes the kernel's types.
    from ebpf.kernel_btf import kernel_btf

    layout = kernel_btf().find_struct("bpf_ringbuf")
    return layout.offsetof("overwrite_pos") - layout.offsetof("producer_pos")
