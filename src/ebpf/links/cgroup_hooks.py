"""The hooks of a cgroup, and which programs they take."""

from __future__ import annotations

from ebpf.types import AttachType, ProgramType

_A, _P = AttachType, ProgramType

#: Each hook of a cgroup, and the type of its programs.
CGROUP_HOOKS: dict[AttachType, ProgramType] = {
    _A.CGROUP_INET_INGRESS: _P.CGROUP_SKB,
    _A.CGROUP_INET_EGRESS: _P.CGROUP_SKB,
    _A.CGROUP_INET_SOCK_CREATE: _P.CGROUP_SOCK,
    _A.CGROUP_INET_SOCK_RELEASE: _P.CGROUP_SOCK,
    _A.CGROUP_INET4_POST_BIND: _P.CGROUP_SOCK,
    _A.CGROUP_INET6_POST_BIND: _P.CGROUP_SOCK,
    **dict.fromkeys(
        (
            *(_A.CGROUP_INET4_BIND, _A.CGROUP_INET6_BIND),
            *(_A.CGROUP_INET4_CONNECT, _A.CGROUP_INET6_CONNECT, _A.CGROUP_UNIX_CONNECT),
            *(_A.CGROUP_UDP4_SENDMSG, _A.CGROUP_UDP6_SENDMSG, _A.CGROUP_UNIX_SENDMSG),
            *(_A.CGROUP_UDP4_RECVMSG, _A.CGROUP_UDP6_RECVMSG, _A.CGROUP_UNIX_RECVMSG),
            *(_A.CGROUP_INET4_GETPEERNAME, _A.CGROUP_INET6_GETPEERNAME),
            *(_A.CGROUP_UNIX_GETPEERNAME, _A.CGROUP_UNIX_GETSOCKNAME),
            *(_A.CGROUP_INET4_GETSOCKNAME, _A.CGROUP_INET6_GETSOCKNAME),
        ),
        _P.CGROUP_SOCK_ADDR,
    ),
    _A.CGROUP_SOCK_OPS: _P.SOCK_OPS,
    _A.CGROUP_DEVICE: _P.CGROUP_DEVICE,
    _A.CGROUP_SYSCTL: _P.CGROUP_SYSCTL,
    _A.CGROUP_GETSOCKOPT: _P.CGROUP_SOCKOPT,
    _A.CGROUP_SETSOCKOPT: _P.CGROUP_SOCKOPT,
}
