"""RLIMIT_MEMLOCK: kernels before 5.11 charge maps to it."""

from __future__ import annotations

import json
import resource

from tests.kernel.environment import kernel_version
from tests.kernel.maps.support import python

CHARGED = kernel_version() < (5, 11)

# The low limit does not suffice for this map of 1 MiB.
CREATE = """
import json, resource, ebpf
outcome = "created"
try:
    ebpf.ArrayMap.create(value=1 << 20, max_entries=1).close()
except ebpf.BpfPermissionError as error:
    outcome = str(error)
print(json.dumps([outcome, *resource.getrlimit(resource.RLIMIT_MEMLOCK)]))
"""
LOW = 64 << 10
WITHOUT_CAP_SYS_RESOURCE = (
    "setpriv",
    "--inh-caps=-sys_resource",
    "--bounding-set=-sys_resource",
)


def create(soft: int, hard: int, prefix: tuple[str, ...] = ()) -> tuple[str, int, int]:
    """(outcome, soft, hard) of a process that starts with these limits."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (soft, hard))

    outcome, *limits = json.loads(python(CREATE, prefix=prefix, preexec_fn=limit))
    return outcome, limits[0], limits[1]


def test_a_low_soft_limit_is_raised_where_it_counts() -> None:
    """A low RLIMIT_MEMLOCK makes creating maps fail, or is raised where nobody asks for it."""
    _, before = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    outcome, soft, hard = create(LOW, before)
    assert outcome == "created"
    assert (soft, hard) == ((-1, -1) if CHARGED else (LOW, before))


def test_a_low_hard_limit_is_raised_with_the_capability() -> None:
    """With CAP_SYS_RESOURCE a low hard limit is taken for final."""
    outcome, soft, hard = create(LOW, LOW)
    assert outcome == "created"
    assert (soft, hard) == ((-1, -1) if CHARGED else (LOW, LOW))


def test_a_low_hard_limit_without_the_capability_is_named() -> None:
    """Where the limit can't be raised, the error is 'not permitted' without its cause."""
    outcome, soft, hard = create(LOW, LOW, WITHOUT_CAP_SYS_RESOURCE)
    assert (soft, hard) == (LOW, LOW)
    if CHARGED:
        assert f"RLIMIT_MEMLOCK: {LOW} bytes" in outcome
        assert "ulimit -l unlimited" in outcome
    else:
        assert outcome == "created"


def test_a_hard_limit_that_suffices_is_used() -> None:
    """Without CAP_SYS_RESOURCE the soft limit is not raised to a hard limit that suffices."""
    if CHARGED:
        enough = 64 << 20
    else:
        # Setting more may take the capability, and the kernel doesn't care.
        _, enough = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    outcome, soft, hard = create(LOW, enough, WITHOUT_CAP_SYS_RESOURCE)
    assert outcome == "created"
    assert (soft, hard) == (enough if CHARGED else LOW, enough)
