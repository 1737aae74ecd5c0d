"""Networks without the rights for them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.kernel.samples import python

# What is tried, and the capability that the message has to name. Links to interfaces take none:
# loading the program did.
ATTEMPTS = {
    "xdp_netlink": ("xdp.attach_xdp_netlink('far0')", "CAP_NET_ADMIN"),
    "tc": ("cls.attach_tc('far0', 'ingress')", "CAP_NET_ADMIN"),
    "query": ("query('far0')", "CAP_NET_ADMIN"),
    "xsk": ("XskSocket('far0')", "CAP_NET_RAW"),
    "namespace": ("Interface('near0', netns=network.near)", "CAP_SYS_ADMIN"),
}

CODE = """
import ctypes, json
from ebpf import *
from tests.kernel.net.network import Network
from tests.kernel.net.programs import deciding
from tests.kernel.net.test_rights import ATTEMPTS
xdp, cls = deciding(ProgramType.XDP, 2), deciding(ProgramType.SCHED_CLS, 0)
network = Network()
libc = ctypes.CDLL(None)
assert libc.setns(network.far.fileno(), 0x40000000) == 0
# capset(2), its third version, for this thread: no capabilities.
header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
assert libc.capset(header, none) == 0
told = {}
for name, (tried, _) in ATTEMPTS.items():
    try:
        eval(tried)
    except BpfPermissionError as error:
        told[name] = str(error)
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told() -> Any:
    """What a process without rights is told of each attempt."""
    return json.loads(python(CODE, prefix=("env", "PYTHONWARNINGS=ignore")))


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_missing_rights_are_told_as_facts(attempt: str, told: Any) -> None:
    """EPERM would be all, or "need root" although the process is root."""
    assert "capabilities: none" in told[attempt]
    assert ATTEMPTS[attempt][1] in told[attempt]
