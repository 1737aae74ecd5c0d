"""Functions and variables of the kernel and its modules, by what programs find behind them."""

from __future__ import annotations

import ctypes
import errno
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ebpf.errors import NotSupportedError, RelocationError
from ebpf.spec import CollectionSpec
from tests.kernel import environment
from tests.kernel.samples import Forked
from tests.objects import compiled

CAP_SYS_ADMIN = 21


def test_kfuncs_are_called_and_missing_ones_are_not() -> None:
    """A weak one that is not there must be 0 for the program, and the call behind it pruned."""
    spec = CollectionSpec.from_file(compiled("kfuncs"))
    spec.select("calls")
    if environment.kernel_version() < (6, 2):
        with pytest.raises(FileNotFoundError, match="bpf_rcu_read_unlock"):
            spec.load()
        return
    with spec.load() as objects:
        objects.programs["calls"].test_run()
        assert objects.variables["found"].value == 1


def test_what_the_kernel_lacks_is_told_with_what_it_has() -> None:
    """As for Program.load: the object is no malformed one, and a misspelt name is found."""
    if environment.kernel_version() < (6, 2):
        raise NotSupportedError("what else the program calls", (6, 2))
    spec = CollectionSpec.from_file(compiled("kfuncs"))
    spec.select("calls")
    spec.externs["bpf_rcu_read_unlock"].name = "bpf_prog_pus"
    with pytest.raises(FileNotFoundError, match=r"bpf_prog_pus is not .*__weak.*nearest: .*_put"):
        spec.load()


def test_another_prototype_is_told_in_c() -> None:
    """Numbers of types say nothing to who wrote the declaration."""
    if environment.kernel_version() < (6, 2):
        raise NotSupportedError("bpf_task_release", (6, 2))
    spec = CollectionSpec.from_file(compiled("kfuncs"))
    spec.select("calls")
    spec.externs["bpf_rcu_read_unlock"].name = "bpf_task_release"
    wanted = r"declared as 'void \(void\)', the kernel has 'void \(struct task_struct \*p\)'"
    with pytest.raises(RelocationError, match=wanted):
        spec.load()


def test_a_struct_without_members_is_told() -> None:
    """Both declarations read the same, and nobody finds out why they do not agree."""
    if environment.kernel_version() < (6, 2):
        raise NotSupportedError("bpf_task_from_pid", (6, 2))
    spec = CollectionSpec.from_file(compiled("kfunc_forward"))
    with pytest.raises(RelocationError, match="struct task_struct has no members in the object"):
        spec.load()


def test_symbols_have_their_addresses() -> None:
    """A missing weak symbol must be 0, and one that is there must not."""
    spec = CollectionSpec.from_file(compiled("kfuncs"))
    spec.select("symbols")
    with spec.load() as objects:
        assert objects.programs["symbols"].test_run().return_value == 2
        assert objects.variables["found"].value == 2


def give_up(capability: int) -> None:
    """Have this thread go on without it (capget(2) and capset(2), their third version)."""
    libc = ctypes.CDLL(None)
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, sets) == 0
    for at in range(3):
        sets[3 * (capability // 32) + at] &= ~(1 << capability % 32)
    assert libc.capset(header, sets) == 0


def test_optional_symbols_take_no_capability_of_modules() -> None:
    """Looking for them in modules would keep objects from whoever has CAP_BPF and no more; a
    kernel without modules does not show it."""
    if environment.kernel_version() < (5, 14):
        raise NotSupportedError("programs of type SYSCALL", (5, 14))
    spec = CollectionSpec.from_file(compiled("kfuncs"))
    spec.select("symbols")

    def load(tell: Callable[[int], object]) -> None:
        give_up(CAP_SYS_ADMIN)
        with spec.load() as objects:
            tell(len(objects.programs))
            signal.pause()

    with Forked(load) as child:
        assert child.told == 1


@pytest.mark.needs_config("CONFIG_NF_CONNTRACK")
def test_kfuncs_of_a_module() -> None:
    """A call names the module by its place in an array of descriptors; place 0 is the kernel."""
    subprocess.run(["modprobe", "nf_conntrack"], check=False)
    assert Path("/proc/sys/net/netfilter").is_dir(), "nf_conntrack is not there"
    spec = CollectionSpec.from_file(compiled("module_kfunc"))
    if environment.kernel_version() < (5, 18):
        with pytest.raises(FileNotFoundError, match=r"bpf_(xdp_ct_lookup|ct_release)"):
            spec.load()
        raise NotSupportedError("kfuncs of connection tracking", (5, 18))
    with spec.load() as objects:
        assert objects.programs["looks_up"].test_run(bytes(64)).return_value == 2
        assert objects.variables["error"].value == -errno.ENOENT
