"""Attaching by the name of the section that a program was compiled into.

The ways and targets are those of libbpf's ``attach_`` functions for ``SEC()``:

    kprobe, kretprobe                 FUNCTION[+OFFSET]
    ksyscall, kretsyscall             SYSTEM_CALL
    kprobe.multi, kretprobe.multi, kprobe.session          PATTERN
    uprobe, uretprobe                 PATH:FUNCTION[+OFFSET], PATH:OFFSET
    uprobe.multi, uretprobe.multi, uprobe.session          PATH:PATTERN
    usdt                              PATH:PROVIDER:NAME
    tracepoint                        CATEGORY/NAME
    raw_tracepoint                    NAME
    fentry.multi, fexit.multi, fsession.multi              PATTERN
    fentry, fexit, fmod_ret, fsession, tp_btf, lsm, freplace, iter     as it was loaded

and of those that need more than a name, which is given as a keyword:

    cgroup_skb, cgroup, sockops, lsm_cgroup                cgroup=
    xdp, xdp.frags, tcx, tc/ingress, tc/egress, netkit     interface=
    sk_lookup, flow_dissector                              netns=
    netfilter                                              hook=, with family=, priority=, netns=
    lwt_in, lwt_out, lwt_xmit, lwt_seg6local               destination=, with interface=
    sk_skb, sk_msg                                         map=
    socket, sk_reuseport                                   socket=
    tc, classifier                                         interface=, direction=

The rest of what its ``attach_`` method takes can be given as well: ``mode=`` of XDP.
"""

from __future__ import annotations

from ebpf import links
from ebpf.errors import EbpfError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ebpf.links.base import HasFileno, Link

    Attach = Callable[..., Link]


def takes(way: str) -> str:
    """The keyword that says where programs of the section go: "cgroup"; "" where none does."""
    return _PLACES[way][0] if way in _PLACES else ""


def names_target(way: str, target: str) -> bool:
    """Whether a section says all that it takes to attach: not ``xdp``, nor ``uprobe`` alone."""
    return way in _LOADED or (way in _WAYS and bool(target))


def attach_by_section(program: HasFileno, way: str, target: str, **where: Any) -> Link:
    """Attach `program` as its section says: `way` "kprobe" to the `target` "do_unlinkat+0x10".

    `where` is what the section has no room for: ``cgroup=`` and what the list above has.

    Raises:
        EbpfError: the section names no target, or one of another form, or a way that has to be
            called by hand.
        TypeError: `where` lacks what the way takes, or has something else.
    """
    if way in _PLACES:
        return _attach_at(program, way, where)
    if where:
        raise TypeError(f"attach by section: {way} takes no {min(where)}=")
    if way in _LOADED:
        return _function(_LOADED[way])(program)
    function = _WAYS.get(way)
    if function is None:
        there = ", ".join((*_WAYS, *_LOADED, *_PLACES))
        raise EbpfError(
            f"attach by section: {way or 'a section of this name'} cannot be attached by name;"
            f" these can: {there}"
        )
    if not target:
        raise EbpfError(f"attach by section: {way}/ is followed by no target")
    return function(program, target)


def _attach_at(program: HasFileno, way: str, where: dict[str, Any]) -> Link:
    keyword, function = _PLACES[way]
    if keyword not in where:
        given = f", not {', '.join(f'{name}=' for name in where)}" if where else ""
        raise TypeError(f"attach by section: a program of {way} takes {keyword}={given}")
    return _function(function)(program, **where)


def _function(name: str) -> Attach:
    """A function of ebpf.links, whose module is imported by its first use."""
    attach: Attach = getattr(links, name)
    return attach


def _with_target(name: str) -> Attach:
    return lambda program, target: _function(name)(program, target)


def _tracepoint(program: HasFileno, target: str) -> Link:
    category, slash, name = target.partition("/")
    if not slash:
        raise EbpfError(f"attach by section: {target!r} is not CATEGORY/NAME of a tracepoint")
    return links.attach_tracepoint(program, category, name)


def _kprobe(program: HasFileno, target: str) -> Link:
    symbol, offset = _place(target, target)
    return links.attach_kprobe(program, symbol, offset=offset)


def _place(text: str, target: str) -> tuple[str | None, int]:
    """The function and the offset in ``FUNCTION[+OFFSET]``, or the offset alone."""
    if text[:1].isdigit():
        return None, _number(text, target)
    symbol, plus, offset = text.partition("+")
    if not symbol:
        raise EbpfError(f"attach by section: {target!r} is not FUNCTION[+OFFSET]")
    return symbol, _number(offset, target) if plus else 0


def _number(text: str, target: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise EbpfError(f"attach by section: {target!r} is not FUNCTION[+OFFSET]") from None


def _file(target: str, form: str) -> tuple[str, str]:
    """The path and what follows it; a path may have colons of its own."""
    path, colon, rest = target.rpartition(":")
    if not colon or not path or not rest:
        raise EbpfError(f"attach by section: {target!r} is not {form}")
    return path, rest


def _uprobe(name: str) -> Attach:
    def with_target(program: HasFileno, target: str) -> Link:
        path, rest = _file(target, "PATH:FUNCTION[+OFFSET]")
        symbol, offset = _place(rest, target)
        return _function(name)(program, path, symbol, offset=offset)

    return with_target


def _uprobe_multi(name: str) -> Attach:
    def with_target(program: HasFileno, target: str) -> Link:
        return _function(name)(program, *_file(target, "PATH:PATTERN"))

    return with_target


def _usdt(program: HasFileno, target: str) -> Link:
    rest, name = _file(target, "PATH:PROVIDER:NAME")
    path, provider = _file(rest, "PATH:PROVIDER:NAME")
    # The maps of the object that the program is from.
    return links.attach_usdt(
        program, path, provider, name, specs=getattr(program, "usdt_specs", None)
    )


# Ways that take what follows the slash.
_WAYS: dict[str, Attach] = {
    "tracepoint": _tracepoint,
    "kprobe": _kprobe,
    "uprobe": _uprobe("attach_uprobe"),
    "uretprobe": _uprobe("attach_uretprobe"),
    "uprobe_multi": _uprobe_multi("attach_uprobe_multi"),
    "uretprobe_multi": _uprobe_multi("attach_uretprobe_multi"),
    "uprobe_session": _uprobe_multi("attach_uprobe_session"),
    "usdt": _usdt,
    **{
        way: _with_target(f"attach_{way}")
        for way in (
            *("raw_tracepoint", "kretprobe", "ksyscall", "kretsyscall"),
            *("kprobe_multi", "kretprobe_multi", "kprobe_session"),
        )
    },
    **{
        way: _with_target("attach_tracing_multi")
        for way in ("fentry_multi", "fexit_multi", "fsession_multi")
    },
}

# Ways whose target the kernel has known since the program was loaded.
_LOADED = {
    "fentry": "attach_tracing",
    "fexit": "attach_tracing",
    "fmod_ret": "attach_tracing",
    "fsession": "attach_tracing",
    "tp_btf": "attach_tracing",
    "lsm": "attach_lsm",
    "freplace": "attach_freplace",
    "iter": "attach_iter",
}

# Ways for which a section has no room: the keyword that says where, and the function.
_PLACES = {
    "cgroup": ("cgroup", "attach_cgroup"),
    "cgroup_skb": ("cgroup", "attach_cgroup"),
    "lsm_cgroup": ("cgroup", "attach_lsm_cgroup"),
    "xdp": ("interface", "attach_xdp"),
    "tc": ("interface", "attach_tc"),
    "tcx": ("interface", "attach_tcx"),
    "netkit": ("interface", "attach_netkit"),
    "lwt": ("destination", "attach_lwt"),
    "sk_lookup": ("netns", "attach_netns"),
    "flow_dissector": ("netns", "attach_netns"),
    "netfilter": ("hook", "attach_netfilter"),
    "sk_skb": ("map", "attach_sockmap"),
    "sk_msg": ("map", "attach_sockmap"),
    "socket": ("socket", "attach_socket_filter"),
    "sk_reuseport": ("socket", "attach_reuseport"),
}
