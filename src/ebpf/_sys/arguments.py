"""What no kernel takes of an argument, said before the system call.

The kernel sees what is left after C's conversions: a text ends at its NUL, a number loses its
upper bits.
"""

from __future__ import annotations

import os

# Seconds that poll(2) can count; what is longer has no end there.
_POLLED = (1 << 31) // 1000 - 1


def check_number(name: str, value: object, bits: int) -> None:
    """Refuse what does not fit the unsigned field `name` of the kernel's structs."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name}: {value!r} is not an int")
    if not 0 <= value < 1 << bits:
        raise ValueError(
            f"{name}: {int(value)} does not fit the kernel's unsigned {bits} bits"
            f" (0 to {(1 << bits) - 1:#x})"
        )


def check_numbers(bits: int, **values: object) -> None:
    """`check_number` of several arguments."""
    for name, value in values.items():
        check_number(name, value, bits)


def check_seconds(name: str, value: object) -> float | None:
    """A time to wait, in seconds; None, which has no end, stays None.

    Numbers of numpy are taken as they are meant, and so are fractions. A Decimal is not, as it
    adds up with no float.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not (isinstance(value, (int, float)) or _is_real(value)):
        raise TypeError(f"{name}: {value!r} is not a number of seconds, as an int or a float")
    try:
        seconds = float(value)  # type: ignore[arg-type]
    except OverflowError:
        raise ValueError(f"{name}: no float holds so many seconds; None waits for ever") from None
    # What is no number is neither below nor above any time: a wait would never be over.
    if seconds != seconds:
        raise ValueError(f"{name}: {seconds} is no time")
    return seconds


def _is_real(value: object) -> bool:
    from numbers import Real

    return isinstance(value, Real)


def poll_time(seconds: float | None) -> float | None:
    """`seconds` as select.poll takes them: milliseconds, of which 32 bits hold 24 days."""
    return None if seconds is None or seconds > _POLLED else max(0.0, seconds) * 1000


def check_iterable(name: str, value: object, *, or_else: str = "") -> None:
    """Refuse what can't be iterated; `or_else` is what the argument may be besides."""
    try:
        iter(value)  # type: ignore[call-overload]
    except TypeError:
        also = f" and no {or_else}" if or_else else ""
        raise TypeError(f"{name}: {value!r} is no iterable{also}") from None


def check_text(name: str, value: object) -> None:
    """Refuse what is no str, or what C would take for a shorter one."""
    if not isinstance(value, str):
        raise TypeError(f"{name}: {value!r} is not a str")
    if "\0" in value:
        raise ValueError(f"{name}: {value!r} has a NUL, at which the kernel would end it")


def c_string(name: str, value: str) -> bytes:
    """The text of the argument `name` as the kernel takes it, without the NUL at its end."""
    check_text(name, value)
    return os.fsencode(value)


def check_objects(**values: object) -> None:
    """Refuse what has no descriptor; None is no object and is not refused."""
    for name, value in values.items():
        if value is not None and not callable(getattr(value, "fileno", None)):
            raise TypeError(f"{name}: {value!r} has no descriptor (fileno)")
