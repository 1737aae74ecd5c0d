"""The tracer of TCP connections."""

from __future__ import annotations

import os
import socket

from ebpf import AttachType, Program, ProgramType
from tests.kernel.examples.support import running
from tests.kernel.links.hooks import FENTRY
from tests.kernel.samples import PASS


@FENTRY
def test_tcpconnect_sees_who_connects() -> None:
    """Address, port or process are another's; IPv6 and IPv4 are taken for each other."""
    # Refused here where programs at functions are refused.
    Program.load(
        ProgramType.TRACING,
        PASS,
        license="GPL",
        attach_type=AttachType.TRACE_FENTRY,
        attach_to="tcp_connect",
    ).close()
    families = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
    expected = []
    with running("tcpconnect", "--pid", str(os.getpid()), ready="tracing") as output:
        for family, host in families.items():
            with socket.create_server((host, 0), family=family) as server:
                port = server.getsockname()[1]
                with socket.create_connection((host, port)):
                    expected.append([host, host, str(port)])
    rows = [line.split() for line in output.text.splitlines()[1:]]
    assert [row[-3:] for row in rows] == expected
    assert {row[1] for row in rows} == {str(os.getpid())}
