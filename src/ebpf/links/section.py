"""Attaching by the name of the section that a program was compiled into."""

from __future__ import annotations

from ebpf import links
from ebpf.errors import EbpfError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ebpf.links.base import HasFileno, Link


def attach_by_section(program: HasFileno, way: str, target: str) -> Link:
    """Attach `program` as its section says: `way` "kprobe" to the `target` "do_unlinkat+0x10".

    Raises:
        EbpfError: the section names no target, or a way that has to be called by hand because it
            needs more than a name (an interface, a cgroup), or that is not there yet.
    """
    function = _WAYS.get(way)
    if function is None:
        there = ", ".join(_WAYS)
        raise EbpfError(
            f"attach by section: {way or 'a section of this name'} cannot be attached by name;"
            f" these can: {there}"
        )
    if not target:
        raise EbpfError(f"attach by section: {way}/ is followed by no target")
    return function(program, target)


def _tracepoint(program: HasFileno, target: str) -> Link:
    category, slash, name = target.partition("/")
    if not slash:
        raise EbpfError(f"attach by section: {target!r} is not CATEGORY/NAME of a tracepoint")
    return links.attach_tracepoint(program, category, name)


def _kprobe(program: HasFileno, target: str) -> Link:
    symbol, _, offset = target.partition("+")
    return links.attach_kprobe(program, symbol, offset=int(offset or "0", 0))


def _raw_tracepoint(program: HasFileno, target: str) -> Link:
    return links.attach_raw_tracepoint(program, target)


def _kretprobe(program: HasFileno, target: str) -> Link:
    return links.attach_kretprobe(program, target)


_WAYS = {
    "tracepoint": _tracepoint,
    "raw_tracepoint": _raw_tracepoint,
    "kprobe": _kprobe,
    "kretprobe": _kretprobe,
}
