"""Probes of who may use bpf(), and with what."""

from __future__ import annotations

import errno

from ebpf._sys import bpf
from ebpf._sys.cache import cached
from ebpf.errors import BpfError

# No process has this descriptor.
_NO_FD = 0xFFFFFFFF


@cached
def tokens() -> bool:
    """Whether there are tokens, which delegate bpf() to user namespaces (BPF_TOKEN_CREATE, 6.9).

    Whether one can be had is another matter, and `ebpf.Token.create` answers it.
    """
    action = "probe tokens"
    try:
        bpf.token_create(_NO_FD, action=action)
    except BpfError as error:
        # The descriptor is looked up first of all.
        if error.errno == errno.EBADF:
            return True
        if error.errno in (errno.EINVAL, errno.E2BIG):
            return False
        raise
    raise BpfError(errno.EIO, f"{action}: a token of no file system was created")
