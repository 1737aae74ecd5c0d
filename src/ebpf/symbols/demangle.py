"""Names of C++ and Rust as they are written in the source, by a library where one is installed."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Demangle = Callable[[str], str]


def installed() -> Demangle:
    """A function that demangles what the installed libraries can, and returns the rest as it is.

    Looked for are ``cxxfilt`` and ``itanium_demangler`` for C++ (and Rust's older names, which are
    of the same form), and ``rust_demangler`` for Rust.
    """
    itanium = _cxxfilt() or _itanium_demangler()
    rust = _rust_demangler()

    def demangle(name: str) -> str:
        if name.startswith("_R") and rust is not None:
            return rust(name)
        if name.startswith(("_Z", "___Z")) and itanium is not None:
            return itanium(name)
        return name

    return demangle


def _module(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _cxxfilt() -> Demangle | None:
    cxxfilt = _module("cxxfilt")
    if cxxfilt is None:
        return None

    def demangle(name: str) -> str:
        try:
            return str(cxxfilt.demangle(name))
        except cxxfilt.InvalidName:
            return name

    return demangle


def _itanium_demangler() -> Demangle | None:
    library = _module("itanium_demangler")
    if library is None:
        return None

    def demangle(name: str) -> str:
        try:
            parsed = library.parse(name)
        except NotImplementedError:
            return name
        return name if parsed is None else str(parsed)

    return demangle


def _rust_demangler() -> Demangle | None:
    library = _module("rust_demangler")
    if library is None:
        return None

    def demangle(name: str) -> str:
        try:
            return str(library.demangle(name))
        except Exception:  # noqa: BLE001 - it raises what it likes for a name that it can't read
            return name

    return demangle
