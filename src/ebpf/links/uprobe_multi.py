"""uprobe.multi and uprobe.session: one program at many places of a file by a single link."""

from __future__ import annotations

import errno

from ebpf._sys.arguments import c_string, check_number
from ebpf.links.arrays import Arrays, cookie_list
from ebpf.links.base import Link
from ebpf.links.binaries import find_binary, function_offset, function_offsets, place_of
from ebpf.links.create import check_process, check_type, create_link
from ebpf.links.functions import is_pattern
from ebpf.links.uprobe import OTHER_COUNTER, check_counter
from ebpf.types import AttachType, ProgramType, UprobeMultiFlags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ebpf.links.arrays import Cookies
    from ebpf.links.base import HasFileno
    from ebpf.links.binaries import StrPath

# What the kernel means when it refuses (bpf_uprobe_multi_link_attach).
_REFUSALS = {
    errno.EINVAL: "it was loaded without the attach type TRACE_UPROBE_MULTI (for a session:"
    " TRACE_UPROBE_SESSION), or an offset is beyond the end of the file",
    errno.E2BIG: "more places than the kernel takes (1048576)",
    errno.EIO: "the file has no instruction at one of the places",
    errno.EOPNOTSUPP: "the instruction at one of the places cannot be probed",
}


def attach_uprobe_multi(
    program: HasFileno,
    path: StrPath,
    symbols: str | Iterable[str] | None = None,
    *,
    offsets: Iterable[int] | None = None,
    ref_ctr_offsets: Iterable[int] | None = None,
    cookies: Cookies = None,
    pid: int | None = None,
) -> Link:
    """Run a KPROBE program when any of several functions of a file is entered (6.6).

    The program was loaded with the attach type TRACE_UPROBE_MULTI; its context is ``struct
    pt_regs``.

    Args:
        path: the executable or library, as for `attach_uprobe`.
        symbols: a pattern with ``*`` and ``?``, a function's name, or several names; or
        offsets: places, counted from the start of the executable or library.
        ref_ctr_offsets: for each place, where in it a 16-bit number is that counts who is
            watching; 0 for none.
        cookies: what bpf_get_attach_cookie() returns in the program: one for each of `symbols` or
            `offsets`, in their order, or by name.
        pid: one process only; by default every one, those to come included.

    Raises:
        BpfFileNotFoundError: no such file or function; a pattern that none matches.
        BpfProcessLookupError: no such process.
        BpfError: EINVAL, the program is of another type or was loaded for another attach type, or
            an offset is beyond the file.
        NotSupportedError: a kernel before 6.6.
        TypeError, ValueError: cookies or reference counters that do not fit the places.
    """
    places = Places(path, symbols, offsets, ref_ctr_offsets, cookies, pid)
    return attach_places(program, "uprobe.multi", places)


def attach_uretprobe_multi(
    program: HasFileno,
    path: StrPath,
    symbols: str | Iterable[str] | None = None,
    *,
    offsets: Iterable[int] | None = None,
    ref_ctr_offsets: Iterable[int] | None = None,
    cookies: Cookies = None,
    pid: int | None = None,
) -> Link:
    """Run a KPROBE program when any of several functions of a file returns (6.6).

    Arguments and errors are those of `attach_uprobe_multi`.
    """
    places = Places(path, symbols, offsets, ref_ctr_offsets, cookies, pid)
    return attach_places(program, "uretprobe.multi", places)


def attach_uprobe_session(
    program: HasFileno,
    path: StrPath,
    symbols: str | Iterable[str] | None = None,
    *,
    offsets: Iterable[int] | None = None,
    ref_ctr_offsets: Iterable[int] | None = None,
    cookies: Cookies = None,
    pid: int | None = None,
) -> Link:
    """Run a KPROBE program when functions of a file are entered and when they return (6.13).

    The program was loaded with the attach type TRACE_UPROBE_SESSION. When it returns 1 at the
    entry, it does not run at the return. Arguments and errors are those of `attach_uprobe_multi`.
    """
    places = Places(path, symbols, offsets, ref_ctr_offsets, cookies, pid)
    return attach_places(program, "uprobe.session", places)


class Places:
    """The places of one link, as the kernel wants them."""

    def __init__(
        self,
        path: StrPath,
        symbols: str | Iterable[str] | None,
        offsets: Iterable[int] | None,
        ref_ctr_offsets: Iterable[int] | None,
        cookies: Cookies,
        pid: int | None,
    ) -> None:
        if (symbols is None) == (offsets is None):
            raise TypeError("attach_uprobe_multi: give either symbols or offsets")
        if pid is not None:
            check_process("pid", pid)
        self.pid = pid or 0
        found = find_binary(path, pid)
        self.path, start = place_of(found)
        functions = _functions(found, symbols)
        names = [name for name, _ in functions]
        self.offsets = [offset for _, offset in functions] or [*(offsets or ())]
        if not self.offsets:
            raise ValueError("symbols: empty; there is nothing to attach to")
        self.counters = [*(ref_ctr_offsets or ())]
        for name, values in (("offsets", self.offsets), ("ref_ctr_offsets", self.counters)):
            for value in values:
                check_number(name, value, 63)
        if self.counters and len(self.counters) != len(self.offsets):
            raise ValueError(
                f"ref_ctr_offsets: {len(self.counters)} for {len(self.offsets)} places"
            )
        if not names:
            self.offsets = [start + offset for offset in self.offsets]
        self.counters = [counter and start + counter for counter in self.counters]
        for counter in self.counters:
            check_counter("ref_ctr_offsets", counter)
        self.cookies = cookie_list(cookies, names, len(self.offsets))
        what = symbols if isinstance(symbols, str) else f"{len(self.offsets)} places"
        self.described = f"{found}:{what}"
        self._arrays = Arrays()

    def fields(self) -> dict[str, int]:
        """The members of ``link_create.uprobe_multi``; this object keeps what they point to."""
        fields = {
            "path": self._arrays.text(c_string("path", self.path)),
            "offsets": self._arrays.numbers(self.offsets),
            "cnt": len(self.offsets),
            "pid": self.pid,
        }
        if self.counters:
            fields["ref_ctr_offsets"] = self._arrays.numbers(self.counters)
        if self.cookies:
            fields["cookies"] = self._arrays.numbers(self.cookies)
        return fields


def _functions(path: str, symbols: str | Iterable[str] | None) -> list[tuple[str, int]]:
    """The name and the place of each function that `symbols` names."""
    if symbols is None:
        return []
    if isinstance(symbols, str) and is_pattern(symbols):
        return function_offsets(path, symbols)
    names = [symbols] if isinstance(symbols, str) else dict.fromkeys(symbols)
    return [(name, function_offset(path, name)) for name in names]


def attach_places(program: HasFileno, way: str, places: Places) -> Link:
    """Attach at `places`, `way` being "uprobe.multi", "uretprobe.multi" or "uprobe.session"."""
    target = f"{way} {places.described}"
    check_type(program, target, ProgramType.KPROBE)
    session = way == "uprobe.session"
    hook = AttachType.TRACE_UPROBE_SESSION if session else AttachType.TRACE_UPROBE_MULTI
    invalid = _REFUSALS[errno.EINVAL] + (OTHER_COUNTER if any(places.counters) else "")
    fd = create_link(
        program,
        target,
        "uprobe_multi",
        refusals=_REFUSALS | {errno.EINVAL: invalid},
        needs=hook.since,
        attach_type=hook,
        uprobe_multi_flags=UprobeMultiFlags.RETURN if way.startswith("uret") else 0,
        **places.fields(),
    )
    return Link(fd, target)
