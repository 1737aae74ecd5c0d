"""Loading an object's BTF, less what the running kernel does not know."""

from __future__ import annotations

import errno
import os

from ebpf._sys import bpf, check
from ebpf.btf import Btf
from ebpf.btf.sanitize import Feature, probe_blob, sanitize
from ebpf.errors import VerifierError
from ebpf.features.cache import cached

_LOG_SIZE = 1 << 16


def load_btf(data: bytes) -> int:
    """A descriptor of the BTF in `data`, for programs and maps (BPF_BTF_LOAD).

    Kernels older than the compiler lack some kinds; those that a probe shows to be missing are
    replaced by what libbpf replaces them by. Raises VerifierError with the kernel's log.
    """
    result, _ = bpf.btf_load(data)
    if result >= 0:
        return result
    if result == -errno.EINVAL:
        missing = missing_features()
        if missing:
            data = sanitize(Btf(data), missing)
    result, log = bpf.btf_load(data, _LOG_SIZE)
    if result >= 0:
        return result
    text = log.decode("utf-8", "replace")
    lines = text.strip().splitlines()
    if lines:
        raise VerifierError(-result, f"load BTF: {lines[-1]}", text)
    return check(result, "load BTF")


@cached
def missing_features() -> frozenset[Feature]:
    """The features of BTF that the running kernel refuses, found out by loading some of each."""
    return frozenset(feature for feature in Feature if not _accepts(probe_blob(feature)))


def _accepts(blob: bytes) -> bool:
    result, _ = bpf.btf_load(blob)
    # What the kernel finds wrong in types is EINVAL, and a longer header that is not all zero
    # E2BIG; anything else is no answer.
    if result in (-errno.EINVAL, -errno.E2BIG):
        return False
    os.close(check(result, "probe BTF"))
    return True
