"""The command line of python -m tests.vm."""

from __future__ import annotations

import pytest

from tests.vm.__main__ import chosen_kernels, environment_entry, parse_arguments


def test_the_command_is_not_parsed() -> None:
    """Options of the command, or a second ``--`` in it, are taken for the harness's own."""
    arguments, command = parse_arguments(
        ["--kernel", "6.1", "--", "pytest", "--verbose", "--", "-k", "x"]
    )
    assert command == ["pytest", "--verbose", "--", "-k", "x"]
    assert arguments.verbose is False
    assert arguments.kernel == ["6.1"]


def test_kernels_in_order_and_once() -> None:
    """``all`` leaves one out, or a kernel named twice runs twice."""
    assert chosen_kernels("amd64", ["all"], False) == ["5.10", "6.1", "6.12", "7.x"]
    assert chosen_kernels("amd64", ["7.x", "5.10", "7.x"], False) == ["5.10", "7.x"]
    assert chosen_kernels("amd64", None, True) == ["5.10", "6.1", "6.12", "7.x"]
    assert chosen_kernels("arm64", None, False) == ["6.1"]


def test_a_kernel_has_to_be_named() -> None:
    """A run without --kernel, or with a misspelt one, picks some kernel by itself."""
    with pytest.raises(ValueError, match="--kernel is missing"):
        chosen_kernels("amd64", None, False)
    with pytest.raises(ValueError, match=r"6\.2"):
        chosen_kernels("amd64", ["6.1", "6.2"], False)


def test_environment_entries() -> None:
    """A value with ``=`` is cut, or a variable that is not set becomes an empty one."""
    assert environment_entry("A=b=c", {}) == ("A", "b=c")
    assert environment_entry("A=", {"A": "x"}) == ("A", "")
    assert environment_entry("A", {"A": "x"}) == ("A", "x")
    with pytest.raises(ValueError, match="not set"):
        environment_entry("A", {})
    with pytest.raises(ValueError, match="no name"):
        environment_entry("A B=c", {})


@pytest.mark.parametrize(
    "argv", [["--kernel", "6.1"], ["--prepare", "--", "true"], ["--kernel", "6.1", "--"]]
)
def test_nothing_or_two_things_to_do(argv: list[str]) -> None:
    """A forgotten command passes for a success."""
    with pytest.raises(SystemExit) as caught:
        parse_arguments(argv)
    assert caught.value.code == 2
