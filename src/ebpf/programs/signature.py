"""Signatures of programs, which the kernel checks before it verifies them (6.18)."""

from __future__ import annotations

import errno

from ebpf.errors import BpfError, NotSupportedError, from_errno

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: What the verifier never says.
SIGNATURE_ERRORS = {
    errno.EKEYREJECTED: "the signature is of other instructions, or the key is none to sign with",
    errno.ENOKEY: "the keyring has no key that made the signature, or is gone",
    errno.EBADMSG: "the signature is no PKCS#7 message (DER)",
    errno.ENOPKG: "the kernel does not know the algorithm of the signature or its digest",
}
_NOT_BUILT = "the kernel was built without CONFIG_SYSTEM_DATA_VERIFICATION"
_NO_KEYRING = "there may be no such keyring"


def signature_fields(signature: bytes | None, keyring: int) -> dict[str, Any]:
    """The fields of BPF_PROG_LOAD that say who has signed the program."""
    if not isinstance(keyring, int) or isinstance(keyring, bool):
        raise TypeError(f"keyring: {keyring!r} is not an int")
    if not -(1 << 31) <= keyring < 1 << 31:
        raise ValueError(f"keyring: {keyring} does not fit the kernel's 32 bits")
    if signature is None:
        if keyring:
            raise TypeError("keyring: without a signature there is nothing to look for in it")
        return {}
    if not isinstance(signature, bytes):
        raise TypeError(f"signature: {signature!r} is not bytes")
    if not signature:
        raise ValueError("signature: it is empty; leave it out for a program that is not signed")
    return {"signature": signature, "signature_size": len(signature), "keyring_id": keyring}


def explained(error: BpfError, action: str) -> BpfError:
    """The refusal of a signed program, which the verifier has not seen."""
    code = error.errno or 0
    if isinstance(error, NotSupportedError):
        if error.minimum_version is not None or code != errno.EOPNOTSUPP:
            return error
        return NotSupportedError(f"{action}: {_NOT_BUILT}", None, code)
    if code in SIGNATURE_ERRORS:
        return from_errno(code, f"{action}: {SIGNATURE_ERRORS[code]}")
    if code == errno.EINVAL:
        return from_errno(code, f"{action}: {_NO_KEYRING}")
    return error
