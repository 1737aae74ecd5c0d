"""Functions of the kernel and of loaded programs, by name and by pattern."""

from __future__ import annotations

import errno
import os

from ebpf import kallsyms, tracefs
from ebpf._sys import bpf
from ebpf._sys.arguments import check_text
from ebpf.errors import BpfFileNotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ebpf.btf import Btf, Kind
    from ebpf.links.base import HasFileno

# What a pattern for functions has besides letters of their names.
WILDCARDS = frozenset("*?")

# ftrace's name for a function that the linker left out.
_INVALID = "__ftrace_invalid_address__"


def is_pattern(name: str) -> bool:
    """Whether `name` has a ``*`` or ``?``."""
    return not WILDCARDS.isdisjoint(name)


def matching(pattern: str) -> list[tuple[int, str]]:
    """(site or 0, name) of the kernel's functions that can be traced and match `pattern`.

    ``*`` stands for any characters, ``?`` for one. A site is where ftrace patches the function;
    it is known since Linux 6.5, to those who may see it.

    Raises:
        BpfFileNotFoundError: none matches, or tracefs is not mounted.
        BpfPermissionError: this process may not read tracefs.
    """
    matches = matcher(pattern)
    found = {
        (site, name): None
        for site, name in _traceable()
        if matches(name) and not name.startswith(_INVALID)
    }
    if not found:
        raise missing(f"no kernel function matches {pattern}", _nearest_to_pattern(pattern))
    return list(found)


def with_names(names: Iterable[str]) -> list[tuple[int, str]]:
    """(site or 0, name) of the kernel's functions that can be traced and are called so.

    Raises what `matching` does, but for functions that are not there.
    """
    wanted = set(names)
    return list(dict.fromkeys(found for found in _traceable() if found[1] in wanted))


def beginnings(sites: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """(address or 0, name) of the functions that have these sites.

    Cookies and bpf_get_func_ip() go by where a function begins. Its site is behind that where the
    compiler puts something in front (ENDBR on x86 with CONFIG_X86_KERNEL_IBT, BTI on arm64).
    """
    known = kallsyms.addresses_of(name for site, name in sites if site)
    found = {
        (
            max((address for address in known.get(name, []) if address <= site), default=0),
            name,
        ): None
        for site, name in sites
    }
    return list(found)


def _nearest_to_pattern(pattern: str) -> list[str]:
    return kallsyms.nearest("".join(c for c in pattern if c not in WILDCARDS) or pattern)


def matcher(pattern: str) -> Callable[[str], object]:
    """A function that tells whether a name matches `pattern`."""
    import re

    check_text("pattern", pattern)
    parts = (".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    return re.compile("".join(parts), re.DOTALL).fullmatch


def _traceable() -> Iterator[tuple[int, str]]:
    directory = tracefs.find()
    with_addresses = os.path.join(directory, "available_filter_functions_addrs")
    if os.path.exists(with_addresses):
        for line in tracefs.lines(with_addresses):
            site, name = line.split()[:2]
            yield int(site, 16), name
        return
    for line in tracefs.lines(os.path.join(directory, "available_filter_functions")):
        yield 0, line.split()[0]


def function_of(program: HasFileno, name: str) -> int:
    """The BTF id of the function `name` of a loaded program.

    Raises:
        BpfFileNotFoundError: it has none; the message has the nearest names.
    """
    from ebpf.btf import Kind
    from ebpf.kernel_btf import loaded_btf

    btf_id = bpf.prog_info(program.fileno())["btf_id"]
    if not btf_id:
        raise missing(f"no function {name} in {program!r}, which was loaded without BTF", [])
    btf = loaded_btf(btf_id)
    found = btf.find_all(name, Kind.FUNC)
    if not found:
        raise missing(f"no function {name} in {program!r}", nearest_type(btf, "", Kind.FUNC, name))
    return found[0].id


def btf_functions(names: list[str]) -> list[tuple[int, str]]:
    """(BTF id, its name in `names`) of kernel functions, each told by a name or a pattern.

    Raises:
        BpfFileNotFoundError: there is none of that name, or none that matches.
    """
    from ebpf.btf import Kind
    from ebpf.kernel_btf import kernel_btf

    btf = kernel_btf()
    ids: dict[int, str] = {}
    for name in names:
        if is_pattern(name):
            traceable = {found for _, found in matching(name)}
            matches = [t.id for t in btf.types() if t.kind is Kind.FUNC and t.name in traceable]
        else:
            matches = [type.id for type in btf.find_all(name, Kind.FUNC)]
        if not matches:
            raise missing(f"no kernel function {name} in its BTF", kallsyms.nearest(name))
        ids.update(dict.fromkeys(matches, name))
    return list(ids.items())


def nearest_type(btf: Btf, prefix: str, kind: Kind, name: str) -> list[str]:
    """Names of `kind` that resemble `name`, without the `prefix` that all of them have."""
    import difflib

    names = (type.name for type in btf.types() if type.kind is kind)
    hooks = [found[len(prefix) :] for found in names if found.startswith(prefix)]
    return difflib.get_close_matches(name, hooks, n=5)


def missing(what: str, near: list[str]) -> BpfFileNotFoundError:
    """The error for something that is not there, with what resembles it."""
    return BpfFileNotFoundError(
        errno.ENOENT, f"{what}; nearest: {', '.join(near)}" if near else what
    )
