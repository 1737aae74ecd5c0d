"""The options that the running kernel was built with."""

from __future__ import annotations

import os

from ebpf.errors import NotSupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def kernel_config() -> dict[str, str]:
    """{"CONFIG_HZ": "250", ...}: every option that is set, as its file has it.

    Read from /proc/config.gz (CONFIG_IKCONFIG_PROC) or the files that distributions install. Raises
    NotSupportedError where there is none.
    """
    release = os.uname().release
    paths = [
        "/proc/config.gz",
        f"/boot/config-{release}",
        f"/lib/modules/{release}/config",
        f"/usr/lib/modules/{release}/config",
    ]
    for path in paths:
        if os.path.isfile(path):
            return parse(_read(path))
    raise NotSupportedError(
        f"read the kernel's configuration: none of {', '.join(paths)} is there;"
        " give the options that the program asks for as kconfig="
    )


def parse(text: str) -> dict[str, str]:
    """The options in `text`, which has lines such as ``CONFIG_HZ=250``."""
    options = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and name.startswith("CONFIG_"):
            options[name] = value.strip()
    return options


def overridden(
    options: Mapping[str, str], overrides: Mapping[str, str | int | bool]
) -> dict[str, str]:
    """`options` with `overrides`, whose values may be Python's: True is y, False is n."""
    made = dict(options)
    for name, value in overrides.items():
        if isinstance(value, bool):
            made[name] = "y" if value else "n"
        else:
            made[name] = str(value)
    return made


def _read(path: str) -> str:
    if path.endswith(".gz"):
        import gzip

        with gzip.open(path, "rt", encoding="utf-8", errors="replace") as packed:
            return packed.read()
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()
