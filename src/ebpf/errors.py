"""Every exception that this library raises on purpose.

    EbpfError
    ├── BpfError (OSError)                what the kernel refused; ``errno`` is kept
    │   ├── VerifierError                 ``.log`` holds the whole verifier log
    │   ├── NotSupportedError             ``.minimum_version`` where it is known
    │   ├── BpfPermissionError            (PermissionError)     EPERM, EACCES
    │   ├── BpfFileNotFoundError          (FileNotFoundError)   ENOENT
    │   ├── BpfFileExistsError            (FileExistsError)     EEXIST
    │   ├── BpfProcessLookupError         (ProcessLookupError)  ESRCH
    │   ├── BpfInterruptedError           (InterruptedError)    EINTR
    │   ├── BpfBlockingIOError            (BlockingIOError)     EAGAIN
    │   └── BpfTimeoutError               (TimeoutError)        ETIMEDOUT
    ├── FormatError (ValueError)          input that is not what it claims to be
    │   ├── CodecError                    a key, value or record that does not fit its codec
    │   ├── ElfError
    │   ├── BtfError
    │   ├── RelocationError
    │   └── LinkError                 objects that do not fit together
    ├── AsmError (ValueError)             an instruction that cannot be assembled
    ├── CompileError                      ``.file``, ``.line``, ``.column``, ``.diagnostics``
    └── ClosedError (ValueError)          the object was closed before this call

Errors of the builtin kinds stay builtin where they say it best: ``KeyError`` for a key that a
map does not hold, ``TypeError`` for an argument of a wrong Python type, ``ValueError`` for an
argument that no kernel would take.
"""

from __future__ import annotations

import errno as _errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ebpf.compile.diagnostics import Diagnostic

Version = tuple[int, int]

# The kernel's own "not supported", in no userspace errno.h: include/linux/errno.h.
ENOTSUPP = 524


class EbpfError(Exception):
    """Root of everything that this library raises on purpose."""


class BpfError(EbpfError, OSError):
    """The kernel refused a request.

    ``errno`` is the kernel's code and ``strerror`` the whole explanation, which starts with
    what was tried.
    """

    def __init__(self, errno: int, message: str) -> None:
        super().__init__(errno, message)

    def __str__(self) -> str:
        return f"{self.strerror} [{errno_name(self.errno or 0)}]"


class VerifierError(BpfError):
    """The verifier refused a program.

    The message is the one line of the log that explains it; ``log`` is everything that the
    kernel wrote, and empty only if the kernel wrote nothing. ``program`` is the program's name,
    ``instruction`` the slot (8 bytes each) at which the verifier stopped, None where it names
    none, and ``source`` the line that made the instruction, as ``"probe.bpf.c:12: text"``, empty
    where it is not known.
    """

    def __init__(
        self,
        errno: int,
        message: str,
        log: str = "",
        *,
        program: str = "",
        instruction: int | None = None,
        source: str = "",
    ) -> None:
        super().__init__(errno, message)
        self.log = log
        self.program = program
        self.instruction = instruction
        self.source = source

    def __reduce__(self) -> tuple[type[VerifierError], tuple[int, str, str], dict[str, object]]:
        return type(self), (self.errno or 0, self.strerror or "", self.log), dict(vars(self))


class NotSupportedError(BpfError):
    """The running kernel cannot do this.

    ``minimum_version`` is the first kernel release that can, as ``(major, minor)``, or None
    where the release does not decide it (a build option, an architecture, a driver, the kind of
    object that it was asked of).
    """

    def __init__(
        self, what: str, minimum_version: Version | None = None, errno: int = _errno.EOPNOTSUPP
    ) -> None:
        text = what
        if minimum_version is not None:
            text += f" (requires Linux {minimum_version[0]}.{minimum_version[1]} or newer)"
        super().__init__(errno, text)
        self.minimum_version = minimum_version
        self._what = what

    def __reduce__(self) -> tuple[type[NotSupportedError], tuple[str, Version | None, int]]:
        # OSError is pickled by its errno and text, which are not what this is made from.
        return type(self), (self._what, self.minimum_version, self.errno or 0)


class BpfPermissionError(BpfError, PermissionError):
    """EPERM or EACCES. The message lists the facts that can be known of the cause."""


class BpfFileNotFoundError(BpfError, FileNotFoundError):
    """ENOENT: no object with this id, no file at this path, no such attachment."""


class BpfFileExistsError(BpfError, FileExistsError):
    """EEXIST: the path, the key or the attachment is there already."""


class BpfProcessLookupError(BpfError, ProcessLookupError):
    """ESRCH: no such process, or no such function to attach to."""


class BpfInterruptedError(BpfError, InterruptedError):
    """EINTR, where the call could not simply be made again."""


class BpfBlockingIOError(BpfError, BlockingIOError):
    """EAGAIN, after the kernel was asked several times."""


class BpfTimeoutError(BpfError, TimeoutError):
    """ETIMEDOUT."""


class FormatError(EbpfError, ValueError):
    """Input that is not what it claims to be."""


class CodecError(FormatError):
    """A key, value or record does not fit its codec; the message says both sizes.

    ``raw`` holds the bytes of a value that was taken out of its map and can't be decoded, and is
    None otherwise.
    """

    raw: bytes | None = None


class ElfError(FormatError):
    """A malformed or unsuitable ELF file."""


class BtfError(FormatError):
    """Malformed BTF, or a type or field that the BTF does not have."""


class RelocationError(FormatError):
    """A relocation that cannot be resolved."""


class LinkError(FormatError):
    """Objects that cannot be linked: the message names them, the symbol and the remedy."""


class AsmError(EbpfError, ValueError):
    """An instruction, label or program that cannot be assembled."""


class CompileError(EbpfError):
    """A C source that does not compile, or no compiler to do it with.

    ``file``, ``line``, ``column`` and ``message`` are those of the first mistake, ``diagnostics``
    is all that the compiler said (`ebpf.compile.Diagnostic`), notes and warnings included, and
    ``output`` its own words. Lines and columns count from 1. Where the compiler names no place,
    the file is empty and line and column are 0.
    """

    def __init__(
        self,
        text: str,
        *,
        file: str = "",
        line: int = 0,
        column: int = 0,
        message: str = "",
        diagnostics: tuple[Diagnostic, ...] = (),
        output: str = "",
    ) -> None:
        super().__init__(text)
        self.file = file
        self.line = line
        self.column = column
        self.message = message or text
        self.diagnostics = diagnostics
        self.output = output

    def _render_traceback_(self) -> list[str]:
        """What notebooks show below the cell: what is wrong with the C, not where Python was."""
        return [f"{type(self).__name__}: {self}"]

    def _repr_markdown_(self) -> str:
        """The compiler's words as they are, for ``display(error)``."""
        text = str(self)
        fence = "```"
        while fence in text:
            fence += "`"
        return f"**{type(self).__name__}**\n\n{fence}text\n{text}\n{fence}\n"


class ClosedError(EbpfError, ValueError):
    """The object was closed; its descriptor number may by now belong to something else."""


# The one table from a kernel error to the exception that carries it. What is not named here
# is a plain BpfError.
ERRNO_TO_EXCEPTION: dict[int, type[BpfError]] = {
    _errno.EPERM: BpfPermissionError,
    _errno.EACCES: BpfPermissionError,
    _errno.ENOENT: BpfFileNotFoundError,
    _errno.EEXIST: BpfFileExistsError,
    _errno.ESRCH: BpfProcessLookupError,
    _errno.EINTR: BpfInterruptedError,
    _errno.EAGAIN: BpfBlockingIOError,
    _errno.ETIMEDOUT: BpfTimeoutError,
}


def errno_name(errno: int) -> str:
    """The symbol of an error number: ``"EPERM"``, ``"ENOTSUPP"``, ``"errno 600"``."""
    if errno == ENOTSUPP:
        return "ENOTSUPP"
    if errno == _errno.EOPNOTSUPP:
        # On Linux ENOTSUP is the same number; the kernel says EOPNOTSUPP.
        return "EOPNOTSUPP"
    return _errno.errorcode.get(errno, f"errno {errno}")


def errno_text(errno: int) -> str:
    """What the error number means, as the C library words it."""
    if errno == ENOTSUPP:
        return "Operation not supported by this kernel"
    return os.strerror(errno)


def from_errno(errno: int, action: str) -> BpfError:
    """The exception for `errno` that happened while doing `action`."""
    cls = ERRNO_TO_EXCEPTION.get(errno, BpfError)
    return cls(errno, f"{action}: {errno_text(errno)}")
