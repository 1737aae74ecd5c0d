"""kprobe.multi and kprobe.session: one program at many kernel functions by a single link."""

from __future__ import annotations

import errno

from ebpf import kallsyms
from ebpf._sys.arguments import check_number
from ebpf.errors import BpfError, NotSupportedError
from ebpf.links.arrays import Arrays, cookie_list
from ebpf.links.base import Link
from ebpf.links.create import check_type, create_link
from ebpf.links.functions import beginnings, is_pattern, matching, missing, with_names
from ebpf.types import AttachType, KprobeMultiFlags, ProgramType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ebpf.links.arrays import Cookies
    from ebpf.links.base import HasFileno

# What the kernel means when it refuses (bpf_kprobe_multi_link_attach).
_REFUSALS = {
    errno.EINVAL: "it was loaded without the attach type TRACE_KPROBE_MULTI (for a session:"
    " TRACE_KPROBE_SESSION), or a function cannot be traced",
    errno.E2BIG: "more functions than the kernel takes (1048576)",
}


def attach_kprobe_multi(
    program: HasFileno,
    symbols: str | Iterable[str] | None = None,
    *,
    addresses: Iterable[int] | None = None,
    cookies: Cookies = None,
) -> Link:
    """Run a KPROBE program when any of several kernel functions is entered (5.18).

    The program was loaded with the attach type TRACE_KPROBE_MULTI; its context is ``struct
    pt_regs``. The kernel needs CONFIG_FPROBE.

    Args:
        symbols: a pattern with ``*`` and ``?``, a function's name, or several names. Of a name
            that several functions have all are meant, but only the first where the kernel tells
            no addresses (before 6.5, or not to this process); or
        addresses: where functions begin.
        cookies: what bpf_get_attach_cookie() returns in the program: one for each of `symbols` or
            `addresses`, in their order, or by name.

    Raises:
        BpfFileNotFoundError: a function that is not there or cannot be traced; a pattern that
            none matches. Nothing is attached then.
        BpfError: EINVAL, the program is of another type or was loaded for another attach type.
        NotSupportedError: a kernel before 5.18, or without CONFIG_FPROBE.
        TypeError, ValueError: cookies that do not fit the symbols.
    """
    return _attach(program, "kprobe.multi", symbols, addresses, cookies)


def attach_kretprobe_multi(
    program: HasFileno,
    symbols: str | Iterable[str] | None = None,
    *,
    addresses: Iterable[int] | None = None,
    cookies: Cookies = None,
) -> Link:
    """Run a KPROBE program when any of several kernel functions returns (5.18).

    Arguments and errors are those of `attach_kprobe_multi`.
    """
    return _attach(program, "kretprobe.multi", symbols, addresses, cookies)


def attach_kprobe_session(
    program: HasFileno,
    symbols: str | Iterable[str] | None = None,
    *,
    addresses: Iterable[int] | None = None,
    cookies: Cookies = None,
) -> Link:
    """Run a KPROBE program when kernel functions are entered and when they return (6.10).

    The program was loaded with the attach type TRACE_KPROBE_SESSION. When it returns 1 at the
    entry, it does not run at the return. Arguments and errors are those of `attach_kprobe_multi`.
    """
    return _attach(program, "kprobe.session", symbols, addresses, cookies)


def _attach(
    program: HasFileno,
    way: str,
    symbols: str | Iterable[str] | None,
    addresses: Iterable[int] | None,
    cookies: Cookies,
) -> Link:
    if (symbols is None) == (addresses is None):
        raise TypeError(f"attach_{way.replace('.', '_')}: give either symbols or addresses")
    places = Places(symbols, addresses, cookies)
    target = f"{way} {places.described}"
    check_type(program, target, ProgramType.KPROBE)
    session = way == "kprobe.session"
    hook = AttachType.TRACE_KPROBE_SESSION if session else AttachType.TRACE_KPROBE_MULTI
    try:
        fd = create_link(
            program,
            target,
            "kprobe_multi",
            refusals=_REFUSALS,
            needs=hook.since,
            attach_type=hook,
            kprobe_multi_flags=KprobeMultiFlags.RETURN if way.startswith("kret") else 0,
            **places.fields(),
        )
    except NotSupportedError as error:
        if error.minimum_version is not None:
            raise
        raise NotSupportedError(
            f"attach to {target}: this kernel has no multi kprobes (CONFIG_FPROBE)"
        ) from None
    except BpfError as error:
        if error.errno not in (errno.ESRCH, errno.ENOENT):
            raise
        raise places.not_found() from None
    return Link(fd, target)


class Places:
    """The functions of one link, as the kernel wants them."""

    def __init__(
        self,
        symbols: str | Iterable[str] | None,
        addresses: Iterable[int] | None,
        cookies: Cookies,
    ) -> None:
        self.names: list[str] = []
        self.addresses = [*(addresses or ())]
        self.described = symbols if isinstance(symbols, str) else ""
        found: list[tuple[int, str]] = []
        if isinstance(symbols, str) and is_pattern(symbols):
            found = _matching(symbols, cookies)
            self.names = list(dict.fromkeys(name for _, name in found))
        elif symbols is not None:
            self.names = [symbols] if isinstance(symbols, str) else list(dict.fromkeys(symbols))
            # The kernel takes the first function of a name.
            several = any(len(at) > 1 for at in kallsyms.addresses_of(self.names).values())
            found = with_names(self.names) if several else []
        for address in self.addresses:
            check_number("addresses", address, 64)
        count = len(self.names) or len(self.addresses)
        if not count:
            raise ValueError("symbols: empty; there is nothing to attach to")
        self.described = self.described or f"{count} functions"
        self.cookies = cookie_list(cookies, self.names, count)
        found = beginnings(found)
        # Whatever is not found the kernel refuses by its name.
        known = {name for address, name in found if address}
        if found and known == {*self.names}:
            self._take_addresses(found)
        self._arrays = Arrays()

    def _take_addresses(self, found: list[tuple[int, str]]) -> None:
        """By address a name that several functions have means all of them."""
        if self.cookies:
            by_name = dict(zip(self.names, self.cookies, strict=True))
            self.cookies = [by_name[name] for _, name in found]
        self.addresses = [address for address, _ in found]
        self.names = []

    def fields(self) -> dict[str, int]:
        """The members of ``link_create.kprobe_multi``; this object keeps what they point to."""
        fields = {"cnt": len(self.names) or len(self.addresses)}
        if self.names:
            fields["syms"] = self._arrays.texts("symbols", self.names)
        else:
            fields["addrs"] = self._arrays.numbers(self.addresses)
        if self.cookies:
            fields["cookies"] = self._arrays.numbers(self.cookies)
        return fields

    def not_found(self) -> BpfError:
        """The function that the kernel did not find, where the names tell."""
        for name in self.names:
            if not kallsyms.function_addresses(name):
                return missing(f"no kernel function {name}", kallsyms.nearest(name))
        what = ", ".join(self.names[:3] or map(hex, self.addresses[:3]))
        more = ", ..." if len(self.names) + len(self.addresses) > 3 else ""
        return missing(f"one of these is no kernel function that can be traced: {what}{more}", [])


def _matching(pattern: str, cookies: Cookies) -> list[tuple[int, str]]:
    if cookies is not None and not hasattr(cookies, "keys"):
        raise TypeError("cookies: for a pattern they are by name: {'do_nanosleep': 1}")
    return matching(pattern)
