"""fentry.multi, fexit.multi and fsession.multi: one program at many kernel functions (7.2)."""

from __future__ import annotations

import errno

from ebpf._sys.arguments import check_number
from ebpf.links.arrays import Arrays, cookie_list
from ebpf.links.base import Link
from ebpf.links.create import check_type, create_link
from ebpf.links.functions import btf_functions, is_pattern
from ebpf.types import AttachType, ProgramType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ebpf.links.arrays import Cookies
    from ebpf.links.base import HasFileno

_WORDS = {
    AttachType.TRACE_FENTRY_MULTI: "fentry.multi",
    AttachType.TRACE_FEXIT_MULTI: "fexit.multi",
    AttachType.TRACE_FSESSION_MULTI: "fsession.multi",
}

# What the kernel means when it refuses (bpf_tracing_multi_attach).
_REFUSALS = {
    errno.EINVAL: "it was loaded for another hook, or one of the functions cannot be traced",
    errno.E2BIG: "more functions than the kernel takes, or one has as many programs as fit",
    errno.EBUSY: "one of the functions is replaced, or used by live patching",
    errno.ENOENT: "one of the functions cannot be traced",
}


def attach_tracing_multi(
    program: HasFileno,
    symbols: str | Iterable[str] | None = None,
    *,
    btf_ids: Iterable[int] | None = None,
    cookies: Cookies = None,
    attach_type: AttachType | None = None,
) -> Link:
    """Run a TRACING program at the entry or return of several kernel functions (7.2).

    The program was loaded with one of the attach types TRACE_FENTRY_MULTI, TRACE_FEXIT_MULTI and
    TRACE_FSESSION_MULTI; its context is the array of the function's arguments.

    Args:
        symbols: a pattern with ``*`` and ``?``, a function's name, or several names; or
        btf_ids: functions by their ids in the kernel's BTF.
        cookies: what bpf_get_attach_cookie() returns in the program: one for each of `symbols` or
            `btf_ids`, in their order, or by name. Not with a pattern.
        attach_type: what the program was loaded for, where that is not known because it was opened
            by id or pin.

    Raises:
        BpfFileNotFoundError: a function that is not there; a pattern that none matches.
        BpfError: EINVAL, the program is of another type or was loaded for another hook.
        NotSupportedError: a kernel before 7.2.
        TypeError, ValueError: cookies that do not fit the functions.
    """
    if (symbols is None) == (btf_ids is None):
        raise TypeError("attach_tracing_multi: give either symbols or btf_ids")
    names, functions = _functions(symbols, btf_ids)
    ids = [id for id, _ in functions]
    hook = attach_type or getattr(program, "attach_type", None)
    word = _WORDS.get(hook or AttachType(0))
    what = symbols if isinstance(symbols, str) else f"{len(ids)} functions"
    target = f"{word or 'several functions:'} {what}"
    check_type(program, target, ProgramType.TRACING)
    if hook is None or word is None:
        raise TypeError(
            f"attach_type: {program!r} is to be loaded for one of {', '.join(map(str, _WORDS))},"
            " which is to be given where the program was opened by id or pin"
        )
    arrays = Arrays()
    fields = {"ids": arrays.numbers(ids, "I"), "cnt": len(ids)}
    if cookies is not None:
        fields["cookies"] = arrays.numbers(_cookies(cookies, names, functions))
    fd = create_link(
        program,
        target,
        "tracing_multi",
        refusals=_REFUSALS,
        needs=hook.since,
        attach_type=hook,
        **fields,
    )
    return Link(fd, target)


def _functions(
    symbols: str | Iterable[str] | None, btf_ids: Iterable[int] | None
) -> tuple[list[str], list[tuple[int, str]]]:
    """The names, as far as there are any, and (BTF id, name or "") of the functions."""
    if symbols is None:
        functions = [(id, "") for id in btf_ids or ()]
        for id, _ in functions:
            check_number("btf_ids", id, 32)
        names = []
    else:
        names = [symbols] if isinstance(symbols, str) else list(dict.fromkeys(symbols))
        functions = btf_functions(names)
        if any(map(is_pattern, names)):
            names = []
    if not functions:
        raise ValueError("symbols: empty; there is nothing to attach to")
    return names, functions


def _cookies(cookies: Cookies, names: list[str], functions: list[tuple[int, str]]) -> list[int]:
    """A cookie for each function."""
    if not names:
        return cookie_list(cookies, names, len(functions))
    by_name = dict(zip(names, cookie_list(cookies, names, len(names)), strict=True))
    return [by_name[name] for _, name in functions]
