"""Probes of who may use bpf(), and with what."""

from __future__ import annotations

import errno
import os

from ebpf._sys import bpf
from ebpf._sys.cache import cached
from ebpf.errors import BpfError
from ebpf.features.programs import RETURN_0
from ebpf.types import ProgramType

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


@cached
def program_signatures() -> bool:
    """Whether programs can be signed (``signature`` of BPF_PROG_LOAD, 6.18).

    False as well where the kernel checks no signatures (CONFIG_SYSTEM_DATA_VERIFICATION).
    """
    loaded = bpf.prog_load(
        prog_type=ProgramType.SOCKET_FILTER,
        insns=RETURN_0,
        license=b"GPL\0",
        signature=b"none",
        signature_size=4,
    )
    # What is no message is found out before anything is looked up.
    if loaded.result == -errno.EBADMSG:
        return True
    if loaded.result in (-errno.EINVAL, -errno.E2BIG, -errno.EOPNOTSUPP):
        return False
    action = "probe signed programs"
    os.close(loaded.checked(action))
    raise BpfError(errno.EIO, f"{action}: what is no signature was taken for one")
