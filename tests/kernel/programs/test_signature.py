"""Signed programs: the kernel compares them with the signature, and the signer with its keys."""

from __future__ import annotations

import ctypes
import errno
import platform
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ebpf import BpfError, NotSupportedError, Program, ProgramType
from ebpf.asm import R0, assemble, exit_, mov
from tests.kernel import environment

# <asm/unistd.h>: x86_64 has a number of its own.
_ADD_KEY = 248 if platform.machine() == "x86_64" else 217
_PROCESS_KEYRING = -2
_libc = ctypes.CDLL(None, use_errno=True)

CODE = assemble([mov(R0, 7), exit_()])


def add_key(kind: bytes, data: bytes | None, keyring: int) -> int:
    """The serial number of a new key (add_key(2))."""
    number = _libc.syscall(
        *(ctypes.c_long(_ADD_KEY), kind, b"ebpf-test", data, ctypes.c_size_t(len(data or b""))),
        ctypes.c_int(keyring),
    )
    if number < 0:
        raise OSError(ctypes.get_errno(), f"add_key({kind!r})")
    return int(number)


class Signer:
    """A key, and a keyring with its certificate."""

    def __init__(self, directory: Path) -> None:
        self.key, self.certificate = directory / "key.pem", directory / "certificate.pem"
        self.openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=ebpf-test"),
            *("-keyout", str(self.key), "-out", str(self.certificate)),
        )
        der = self.openssl("x509", "-in", str(self.certificate), "-outform", "DER")
        self.keyring = add_key(b"keyring", None, _PROCESS_KEYRING)
        add_key(b"asymmetric", der, self.keyring)

    @staticmethod
    def openssl(*arguments: str, data: bytes = b"") -> bytes:
        run = subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=False)
        assert run.returncode == 0, run.stderr
        return run.stdout

    def sign(self, code: bytes) -> bytes:
        return self.openssl(
            *("cms", "-sign", "-binary", "-noattr", "-nocerts", "-md", "sha256"),
            *("-signer", str(self.certificate), "-inkey", str(self.key), "-outform", "DER"),
            data=code,
        )


def need_signatures() -> None:
    """Raises NotSupportedError where the kernel has no such field."""
    if environment.kernel_version() < (6, 18):
        load(CODE, b"none", 0)


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    need_signatures()
    return Signer(tmp_path_factory.mktemp("signer"))


def load(code: Any, signature: bytes, keyring: int) -> Program:
    return Program.load(
        ProgramType.SOCKET_FILTER, code, license="GPL", signature=signature, keyring=keyring
    )


@pytest.mark.needs_config("CONFIG_SYSTEM_DATA_VERIFICATION")
def test_a_signed_program_is_loaded_and_no_other(signer: Signer) -> None:
    """The kernel sees no signature, or one of other bytes than are loaded."""
    signature = signer.sign(CODE.resolve())
    with load(CODE, signature, signer.keyring) as program:
        assert program.test_run(bytes(64)).return_value == 7
    with pytest.raises(BpfError, match="the signature is of other instructions") as caught:
        load([mov(R0, 8), exit_()], signature, signer.keyring)
    assert caught.value.errno == errno.EKEYREJECTED


@pytest.mark.needs_config("CONFIG_SYSTEM_DATA_VERIFICATION")
def test_what_is_wrong_with_a_signature_is_told(signer: Signer) -> None:
    """The errnos of keys are all, which say nothing of signatures."""
    signature = signer.sign(CODE.resolve())
    wrong: list[tuple[bytes, int, int, str]] = [
        (signature, 0, errno.ENOKEY, "the keyring has no key that made the signature"),
        (b"none", signer.keyring, errno.EBADMSG, "is no PKCS#7 message"),
        (signature, 2**31 - 1, errno.EINVAL, "keyring|signature"),
    ]
    for given, keyring, code, reason in wrong:
        with pytest.raises(BpfError, match=reason) as caught:
            load(CODE, given, keyring)
        assert caught.value.errno == code


def test_a_kernel_that_checks_nothing_refuses() -> None:
    """The program would be loaded as if it were trusted, or its author seem to have erred."""
    need_signatures()
    if environment.kernel_has("CONFIG_SYSTEM_DATA_VERIFICATION"):
        with pytest.raises(BpfError, match="is no PKCS#7 message"):
            load(CODE, b"none", 0)
        return
    with pytest.raises(NotSupportedError, match="built without CONFIG_SYSTEM_DATA_VERIF"):
        load(CODE, b"none", 0)


@pytest.mark.parametrize(
    ("options", "error", "reason"),
    [
        ({"signature": "a"}, TypeError, "signature: 'a' is not bytes"),
        ({"signature": b""}, ValueError, "signature: it is empty"),
        ({"keyring": 7}, TypeError, "keyring: without a signature"),
        ({"signature": b"a", "keyring": 2**31}, ValueError, "keyring: 2147483648 does not fit"),
        ({"signature": b"a", "keyring": None}, TypeError, "keyring: None is not an int"),
    ],
)
def test_mistakes(options: dict[str, Any], error: type[Exception], reason: str) -> None:
    """A program is loaded unsigned, or the kernel's EINVAL is all."""
    with pytest.raises(error, match=reason):
        Program.load(ProgramType.SOCKET_FILTER, CODE, **options)
