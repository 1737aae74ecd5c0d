"""What a kernel test may depend on, and how its outcome is told.

Each test on each kernel is one of: works, too old (5.15), not built (CONFIG_X), refused (as a C
program that does the same is). Anything else is a failure; a plain skip is one as well. What could
deny something to the whole machine is not run but in a VM, or where the kernel refuses it anyway.

That a kernel is too old is the library's own word. A mistake that made it say so of everything
would leave an old kernel without a failure, but for the tests marked ``everywhere``.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import subprocess
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from ebpf.errors import BpfPermissionError, NotSupportedError
from tests.kernel import environment
from tests.objects import NoCompiler
from tests.tools import bpftool
from tests.vm.host import NoArchive

RESULTS = "EBPF_TEST_RESULTS"

# The newest release that anything in the library may ask for.
NEWEST_RELEASE = (7, 3)

_outcome = pytest.StashKey[str]()
_descriptors = pytest.StashKey[dict[int, str]]()
_outcomes: dict[str, str] = {}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "needs_config(*options): not built where the kernel's config lacks one of them"
    )
    config.addinivalue_line(
        "markers", "refused_like(source): may be refused where this C program is refused too"
    )
    config.addinivalue_line(
        "markers", "everywhere: no kernel is too old for it, whatever the library says"
    )
    config.addinivalue_line(
        "markers", "in_vm: on another machine it is run only where `refused_like` says refused"
    )


def pytest_sessionstart(session: pytest.Session) -> None:
    if os.geteuid() != 0:
        raise pytest.UsageError("the kernel tests need root")
    environment.private_mounts()
    path = bpftool()
    if path is None:
        raise pytest.UsageError(
            "no bpftool that works: its package is bpftool or linux-tools-generic"
        )
    os.environ["PATH"] = f"{Path(path).parent}{os.pathsep}{os.environ['PATH']}"
    session.stash[_descriptors] = environment.descriptors()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs_config"):
        for option in marker.args:
            if not environment.kernel_has(option):
                item.stash[_outcome] = f"not built ({option})"
                pytest.skip(f"not built ({option})")
    if item.get_closest_marker("in_vm") is not None and not _may_attach(item):
        item.stash[_outcome] = "not run (in a VM only)"
        pytest.skip("not run (in a VM only)")


def _may_attach(item: pytest.Item) -> bool:
    """Whether the machine is the test's own, or does not let it attach anything."""
    proofs = [marker.args[0] for marker in item.iter_markers("refused_like")]
    return "EBPF_VM" in os.environ or any(map(environment.c_program_is_refused, proofs))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    # Not in the teardown: a test whose body passed has shown that the kernel can do it.
    if call.excinfo is not None and report.failed and report.when != "teardown":
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


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    # A file that is skipped as a whole would leave no trace in the table.
    report = yield
    if report.outcome == "skipped":
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} is skipped as a whole: {report.longrepr}"
    return report


def _excused(item: pytest.Item, error: BaseException) -> str | None:
    needed = error.minimum_version if isinstance(error, NotSupportedError) else None
    # The release is the library's own word. tests.matrix compares it with the kernels that have
    # it; one that no kernel has yet is not believed.
    older = needed is not None and environment.kernel_version() < needed <= NEWEST_RELEASE
    if needed is not None and older and item.get_closest_marker("everywhere") is None:
        return f"too old ({needed[0]}.{needed[1]})"
    if isinstance(error, BpfPermissionError):
        for marker in item.iter_markers("refused_like"):
            if environment.c_program_is_refused(marker.args[0]):
                return f"refused (as {marker.args[0]} is)"
    if isinstance(error, NoCompiler):
        return f"not built (clang {error.needed})"
    if isinstance(error, NoArchive):
        return "not built (libbpf of Debian: set DEBIAN_MIRROR)"
    return None


def pytest_sessionfinish(session: pytest.Session) -> None:
    # The check after each test does not see what fixtures of a longer life leave open.
    gc.collect()
    before = session.stash.get(_descriptors, {})
    left = {n: what for n, what in environment.descriptors().items() if before.get(n) != what}
    if any("bpf" in what or "perf" in what or "btf" in what for what in left.values()):
        print(f"\ndescriptors left open by the whole run: {left}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
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
