"""What a kernel test may depend on, and how its outcome is told.

Each test on each kernel is one of: works, too old (5.15), not built (CONFIG_X), refused (as a C
program that does the same is). Anything else is a failure; a plain skip is one as well.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ebpf.errors import BpfPermissionError, NotSupportedError
from tests.kernel import environment

RESULTS = "EBPF_TEST_RESULTS"

_outcome = pytest.StashKey[str]()
_outcomes: dict[str, str] = {}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "needs_config(*options): not built where the kernel's config lacks one of them"
    )
    config.addinivalue_line(
        "markers", "refused_like(source): may be refused where this C program is refused too"
    )


def pytest_sessionstart() -> None:
    if os.geteuid() != 0:
        raise pytest.UsageError("the kernel tests need root")
    environment.private_mounts()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs_config"):
        for option in marker.args:
            if not environment.kernel_has(option):
                item.stash[_outcome] = f"not built ({option})"
                pytest.skip(f"not built ({option})")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if call.excinfo is not None and report.failed:
        reason = _excused(item, call.excinfo.value)
        if reason is not None:
            item.stash[_outcome] = reason
            report.outcome = "skipped"
            report.longrepr = (str(item.path), item.location[1] or 0, reason)
    if report.skipped and _outcome not in item.stash:
        report.outcome = "failed"
        report.longrepr = f"skipped without one of the accepted reasons: {report.longrepr}"
    if report.failed:
        item.stash[_outcome] = "failed"
    if report.when == "teardown":
        _outcomes[item.nodeid] = item.stash.get(_outcome, "works")
    return report


def _excused(item: pytest.Item, error: BaseException) -> str | None:
    needed = error.minimum_version if isinstance(error, NotSupportedError) else None
    if needed is not None and needed > environment.kernel_version():
        return f"too old ({needed[0]}.{needed[1]})"
    if isinstance(error, BpfPermissionError):
        for marker in item.iter_markers("refused_like"):
            if environment.c_program_is_refused(marker.args[0]):
                return f"refused (as {marker.args[0]} is)"
    return None


def pytest_sessionfinish() -> None:
    directory = os.environ.get(RESULTS) or os.environ.get("EBPF_VM_OUTPUT")
    if directory and _outcomes:
        Path(directory).mkdir(parents=True, exist_ok=True)
        release = platform.release()
        result = {"kernel": release, "machine": platform.machine(), "outcomes": _outcomes}
        name = f"results-{release}-{platform.machine()}.json"
        (Path(directory) / name).write_text(json.dumps(result, indent=1), encoding="utf-8")


@pytest.fixture(autouse=True)
def no_descriptor_leaks() -> Iterator[None]:
    """Fails the test after which a descriptor is open that was not open before."""
    before = environment.descriptors()
    yield
    if environment.descriptors() != before:
        # Cycles: an exception's traceback may still hold the objects of a failed call.
        gc.collect()
    after = environment.descriptors()
    leaked = {number: what for number, what in after.items() if before.get(number) != what}
    assert not leaked, f"descriptors left open: {leaked}"


@pytest.fixture
def bpffs(request: pytest.FixtureRequest) -> Iterator[Path]:
    """An empty directory on a bpffs, emptied and removed afterwards."""
    directory = Path("/sys/fs/bpf") / f"test-{os.getpid()}"
    directory.mkdir()
    yield directory
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()


@pytest.fixture
def tracefs() -> Path:
    """Where tracefs is mounted."""
    return Path("/sys/kernel/tracing")


@pytest.fixture(scope="session")
def true_command() -> list[str]:
    """A short command, found once: executing it is what many tests watch."""
    return [subprocess.check_output(["sh", "-c", "command -v true"], text=True).strip()]
