"""The exception tree."""

from __future__ import annotations

import copy
import errno
import pickle

import pytest

from ebpf import errors

EXAMPLES = [
    errors.from_errno(errno.ENOENT, "open the map"),
    errors.from_errno(errno.E2BIG, "write the key"),
    errors.VerifierError(
        errno.EACCES, "load: bad access", "0: ...\n", program="x", instruction=3, source="x.c:1: y"
    ),
    errors.NotSupportedError("cookies", (5, 15)),
    errors.NotSupportedError("test runs", None, errors.ENOTSUPP),
    errors.ClosedError("closed"),
    errors.CodecError("too big"),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_errors_cross_processes(error: Exception) -> None:
    """An exception that cannot be unpickled breaks the pool of the worker that raised it."""
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert vars(twin) == vars(error)
        assert getattr(twin, "errno", None) == getattr(error, "errno", None)


@pytest.mark.parametrize(
    ("number", "builtin"),
    [
        (errno.EPERM, PermissionError),
        (errno.EACCES, PermissionError),
        (errno.ENOENT, FileNotFoundError),
        (errno.EEXIST, FileExistsError),
        (errno.ESRCH, ProcessLookupError),
        (errno.EAGAIN, BlockingIOError),
        (errno.ETIMEDOUT, TimeoutError),
    ],
)
def test_builtin_kinds(number: int, builtin: type[OSError]) -> None:
    """`except FileNotFoundError` has to catch what the kernel calls ENOENT."""
    error = errors.from_errno(number, "try")
    assert isinstance(error, builtin)
    assert isinstance(error, errors.BpfError)
    assert error.errno == number
    assert errno.errorcode[number] in str(error)


def test_the_kernels_own_number_has_a_name() -> None:
    """524 is in no errno.h, so Python prints "Unknown error 524"."""
    error = errors.from_errno(errors.ENOTSUPP, "try")
    assert "ENOTSUPP" in str(error)
    assert "Unknown" not in str(error)


def test_minimum_version_is_said() -> None:
    """Whoever reads the message has to know which kernel to install."""
    assert "requires Linux 5.15 or newer" in str(errors.NotSupportedError("cookies", (5, 15)))
