"""The values of kernel options."""

from __future__ import annotations

import pytest

from ebpf.collection.externs import kconfig_bytes
from ebpf.errors import RelocationError
from ebpf.spec import ExternKind, ExternSpec, KconfigType


def option(name: str, weak: bool) -> ExternSpec:
    return ExternSpec(name, ExternKind.KCONFIG, weak, size=4, kconfig=KconfigType.INT)


@pytest.mark.parametrize(
    ("name", "weak", "problem"),
    [
        ("FOO", True, "names in .kconfig are CONFIG_ options, or LINUX_KERNEL_VERSION"),
        ("FOO", False, "names in .kconfig are CONFIG_ options"),
        ("LINUX_FOO", False, "LINUX_HAS_SYSCALL_WRAPPER; declare it __weak"),
        ("CONFIG_FOO", False, "does not set it; declare it __weak"),
    ],
)
def test_names_that_are_no_options(name: str, weak: bool, problem: str) -> None:
    """As in libbpf; zero would be the answer to a question that nobody understood."""
    with pytest.raises(RelocationError, match=f"extern {name}: .*{problem}"):
        kconfig_bytes(option(name, weak), {})


@pytest.mark.parametrize("name", ["LINUX_FOO", "CONFIG_FOO"])
def test_weak_options_are_zero(name: str) -> None:
    """Programs ask newer kernels for what older ones do not know."""
    assert kconfig_bytes(option(name, weak=True), {}) == bytes(4)
