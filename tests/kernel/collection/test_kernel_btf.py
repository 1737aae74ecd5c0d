"""What loading costs of the kernel's BTF: it is opened once, and given back on request."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ebpf
from ebpf.kernel_btf import kernel_btf, release
from ebpf.programs.kernel_types import KernelTypes
from tests.objects import compiled

SCRIPT = """
import sys
import ebpf
from ebpf import kernel_btf

opened = []
sys.addaudithook(
    lambda event, args: opened.append(args[0]) if event == "open" and "btf/vmlinux" in str(args[0])
    else None
)

def kept():
    with open("/proc/self/maps") as maps:
        mapped = any("/sys/kernel/btf/vmlinux" in line for line in maps)
    return mapped or bool(kernel_btf._cache)

spec = ebpf.CollectionSpec.from_file(sys.argv[1])
counts = []
for _ in range(2):
    spec.load().close()
    counts.append(len(opened))
with spec.load() as objects:
    before = kept()
    kernel_btf.release()
    after = kept()
    spec.load().close()
counts.append(len(opened))
print(*counts, before, after)
"""


def test_the_kernels_btf_is_opened_once_and_given_back() -> None:
    """Fails when a second collection reads the kernel's BTF again, or release() keeps it mapped."""
    command = [sys.executable, "-c", SCRIPT, str(compiled("tracer"))]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert out.split() == ["1", "1", "2", "True", "False"]


@pytest.fixture
def hidden(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """A process that does not see /sys/kernel/btf, and no file of the kernel."""
    release()
    monkeypatch.setattr("ebpf.kernel_btf.BTF_DIRECTORY", str(tmp_path / "btf"))
    monkeypatch.setattr("ebpf.kernel_btf.VMLINUX_FILES", (str(tmp_path / "vmlinux-{0}"),))
    yield monkeypatch
    release()


@pytest.mark.usefixtures("hidden")
def test_btf_that_is_not_seen_has_a_remedy() -> None:
    """In a container that hides /sys/kernel/btf the kernel is not to blame, and a file helps."""
    with pytest.raises(ebpf.NotSupportedError, match=r"does not see all of /sys.*kernel_btf="):
        kernel_btf()


def test_the_kernels_file_has_the_types_that_the_kernel_does_not_show(
    hidden: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Kernels before 5.4, or built without, have their BTF beside them; libbpf finds it there.

    An object of BPF programs stands for that file: an ELF file with BTF, and without modules.
    """
    (tmp_path / "without").write_bytes(Path(sys.executable).read_bytes())
    files = (str(tmp_path / "absent-{0}"), str(tmp_path / "without"), str(compiled("tracer")))
    hidden.setattr("ebpf.kernel_btf.VMLINUX_FILES", files)
    assert kernel_btf().find_struct("task_struct") is not None
    assert KernelTypes().modules() == []
    assert [btf is kernel_btf() for btf in KernelTypes()] == [True]
    hidden.setattr("ebpf.kernel_btf.VMLINUX_FILES", (__file__,))
    release()
    with pytest.raises(ebpf.ElfError, match=r"test_kernel_btf.py: "):
        kernel_btf()
