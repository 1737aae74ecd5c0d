"""C that is compiled and loaded; the cache is the tests' own, which guests share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import ebpf
from ebpf.compile import find_compiler
from ebpf.errors import CompileError, NotSupportedError
from tests.kernel import environment
from tests.objects import NoCompiler
from tests.vm.host import cache_dir

Load = Callable[..., ebpf.Collection]


def since(what: str, *release: int) -> None:
    """Ends the test as too old before the release that has the helper or kfunc `what`."""
    if environment.kernel_version() < release:
        raise NotSupportedError(what, (release[0], release[1]))


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_dir() / "compile"))


@pytest.fixture
def load(request: pytest.FixtureRequest) -> Load:
    """Compiles C, with a licence after it, and loads it until the end of the test."""
    try:
        find_compiler()
    except CompileError as error:
        raise NoCompiler("any") from error

    def compiled(source: str, **options: object) -> ebpf.Collection:
        text = f'{source}\nchar LICENSE[] SEC("license") = "GPL";\n'
        objects = ebpf.compile_c(text, **options).load()  # type: ignore[arg-type]
        request.addfinalizer(objects.close)
        return objects

    return compiled
