"""What holds for all tests: none is timed, and in CI none is skipped for want of a program.

The kernel tests have stricter rules of their own, in tests/kernel/conftest.py.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Generator

import hypothesis
import pytest

# No test is timed: a machine that is busy, or emulated, is no fault of the code.
hypothesis.settings.register_profile(
    "untimed",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("untimed")

# A shell starts jobs in the background with Ctrl-C ignored, and every program that a test starts
# would inherit that, and never end by the Ctrl-C that the test sends.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

NO_SKIPS = "EBPF_NO_SKIPS"

# What a fresh machine cannot have, or what depends on the kernel and the headers at hand.
ACCEPTED = re.compile(
    r"no free-threaded interpreter|no interpreter that the lowest cffi is built for"
    r"|has no headers for"
    r"|is in headers of|this kernel's BTF has none"
    r"|has no .* in this libbpf|not in this libbpf"
    r"|newer than (the|this) (installed )?libbpf"
    # Every clang compiles what it can; the newest compiles all of it.
    r"|begin with clang \d+|older assemblers do not read"
)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    strict = os.environ.get(NO_SKIPS) and "tests/kernel" not in item.nodeid
    if strict and report.skipped and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr)
        if not ACCEPTED.search(reason):
            report.outcome = "failed"
            report.longrepr = f"skipped, and {NO_SKIPS} is set: {reason}"
    return report
