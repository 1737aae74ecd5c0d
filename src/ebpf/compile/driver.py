"""compile_c: from a source to a Spec, through the cache."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import warnings

from ebpf.compile import cache as stored
from ebpf.compile import dependencies
from ebpf.compile.compilers import Compiler, find_compiler
from ebpf.compile.diagnostics import CompileWarning, failure, parse
from ebpf.compile.headers import get_include, system_includes
from ebpf.compile.vmlinux import kept_vmlinux, vmlinux_path, vmlinux_text
from ebpf.plain import NamedTuple
from ebpf.spec import CollectionSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ebpf.btf.raw import ByteOrder

    Path = str | os.PathLike[str]
    Defines = Mapping[str, str | int | None]

# Some distributions' compilers protect stacks by default: BPF has nothing to do it with.
_ALWAYS = ("-O2", "-g", "-fno-stack-protector", "-fno-color-diagnostics")
# What libbpf's users define to say whose registers a probe gets, by the machine's name.
_ARCHITECTURES = {
    "x86_64": "x86",
    "aarch64": "arm64",
    "riscv64": "riscv",
    "s390x": "s390",
    "ppc64": "powerpc",
    "ppc64le": "powerpc",
    "loongarch64": "loongarch",
    "mips64": "mips",
    "armv7l": "arm",
}
_TARGET_ARCH = "__TARGET_ARCH_"
_BYTE_ORDERS = ("little", "big")
# NAME_MAX of Linux, less ".bpf.c".
_LONGEST_NAME = 255 - 6
_ELF = b"\x7fELF"
_MADE, _LISTED = "made.o", "made.d"
_VMLINUX = re.compile(r"fatal error: '(?:[^'\n]*/)?vmlinux\.h' file not found")


def compile_c(
    source: Path,
    *,
    name: str | None = None,
    defines: Defines | None = None,
    include_dirs: Iterable[Path] = (),
    cpu: str = "v3",
    byte_order: ByteOrder = sys.byteorder,
    flags: Iterable[str] = (),
    compiler: Path | None = None,
    cache: bool = True,
) -> CollectionSpec:
    """The spec of a BPF program in C.

    Args:
        source: the path of a file, or the C itself: a str with a line break or a ``;`` is C.
        name: the spec's, which begins the names of its data maps; by default the file's name up
            to its first dot, ``"program"`` for text. Messages about text name ``NAME.bpf.c``.
        defines: macros, ``{"DEBUG": 1, "FAST": None}``; None defines one without a value.
            ``__TARGET_ARCH_x86`` and its like is defined for this machine, if none is here.
        include_dirs: directories for ``#include``, before the package's own headers. Text
            includes with quotes from the working directory, a file from its own.
        cpu: the instruction set, as ``-mcpu`` takes it: ``"v1"`` to ``"v4"``. Every kernel from
            5.10 on has v3; v4 takes Linux 6.6 and clang 17.
        byte_order: of the machine that will load it, ``"little"`` or ``"big"``.
        flags: further options for the compiler, after all others.
        compiler: the name or path of a clang, or ``"zig"``; by default `find_compiler` chooses.
        cache: False compiles in any case, and keeps nothing.

    The compiler's warnings are issued as `ebpf.compile.CompileWarning`, and so is that nothing
    can be kept: there is no home directory, the cache cannot be written or is another user's.

    Raises:
        CompileError: there is no compiler, or the source does not compile; ``file``, ``line``,
            ``column`` and ``message`` say where and why. Or `flags` have it make no object.
        OSError: the file cannot be read.
        FormatError: the object is none that the loader reads, see `CollectionSpec.from_bytes`.
    """
    data = compile_object(
        source,
        name=name,
        defines=defines,
        include_dirs=include_dirs,
        cpu=cpu,
        byte_order=byte_order,
        flags=flags,
        compiler=compiler,
        cache=cache,
        stacklevel=3,
    )
    return CollectionSpec.from_bytes(data, name=_Source.of(source, name).name)


def compile_object(
    source: Path,
    *,
    name: str | None = None,
    defines: Defines | None = None,
    include_dirs: Iterable[Path] = (),
    cpu: str = "v3",
    byte_order: ByteOrder = sys.byteorder,
    flags: Iterable[str] = (),
    compiler: Path | None = None,
    cache: bool = True,
    stacklevel: int = 2,
) -> bytes:
    """As compile_c, but the bytes of the object file, for who writes it to disk or links it."""
    if byte_order not in _BYTE_ORDERS:
        raise ValueError(f"byte_order is {byte_order!r}, it is 'little' or 'big'")
    job = _Job(
        _Source.of(source, name),
        find_compiler(compiler, cache=cache),
        [*_target(cpu), *_defines(defines or {}, byte_order)],
        [os.path.abspath(one) for one in _several("include_dirs", include_dirs)],
        [os.fspath(flag) for flag in _several("flags", flags)],
        byte_order,
    )
    _no_nul("defines, include_dirs or flags", *job.options, *job.include_dirs, *job.flags)
    made, problem = job.cached() if cache else job.compile(keep=False)
    for remark in parse(made.output):
        if remark.severity == "warning":
            warnings.warn(str(remark), CompileWarning, stacklevel=stacklevel)
    if problem:
        warnings.warn(problem, CompileWarning, stacklevel=stacklevel)
    return made.data


class _Source(NamedTuple):
    """What to compile: ``file`` is its path, or for text what messages call it."""

    name: str
    file: str
    content: bytes
    is_text: bool

    @classmethod
    def of(cls, source: Path, name: str | None) -> _Source:
        if not isinstance(source, (str, os.PathLike)):
            raise TypeError(f"source is {type(source).__name__}, it is a path or C as a str")
        if isinstance(source, str) and re.search(r"[\n;]", source):
            called = name or "program"
            if "/" in called or "\0" in called:
                raise ValueError(f"name is {called!r}, it is that of a file without its directory")
            if len(os.fsencode(called)) > _LONGEST_NAME:
                raise ValueError(f"name has more than {_LONGEST_NAME} bytes, no file has such one")
            return cls(called, f"{called}.bpf.c", source.encode("utf-8", "surrogateescape"), True)
        path = os.fspath(source)
        _no_nul("source", path)
        with open(path, "rb") as file:
            content = file.read()
        return cls(name or os.path.basename(path).partition(".")[0], path, content, False)

    @property
    def directory(self) -> str:
        """From where ``#include`` with quotes begins."""
        return _here() if self.is_text else os.path.dirname(os.path.abspath(self.file))


class _Run(NamedTuple):
    """How the compiler ended."""

    command: list[str]
    status: int
    output: str
    started: int  # on the clock that stamps files


class _Job(NamedTuple):
    """One compilation, complete but for the place of its output."""

    source: _Source
    compiler: Compiler
    options: list[str]
    include_dirs: list[str]
    flags: list[str]
    byte_order: str

    def cached(self) -> tuple[stored.Compiled, str]:
        """From the cache, or compiled into it; and why nothing can be kept, ``""`` if it can."""
        why = stored.unusable()
        if why:
            return self.compile(keep=False)[0], _not_kept(self.source.file, why)
        if dependencies.named_folders(self.flags) is None:
            return self.compile(keep=False)
        found = stored.find(self.key(), vmlinux_path())
        return self.compile(keep=True) if found is None else (found, "")

    def key(self) -> str:
        """A name for everything but the headers."""
        return stored.digest(
            self.source.file,
            self.source.content,
            self.compiler.identity,
            # Relative paths in flags, and the names of files in BTF, begin here.
            _here(),
            *(os.environ.get(one, "") for one in dependencies.ENVIRONMENT),
            *self.arguments(),
        )

    def arguments(self) -> list[str]:
        """The options of the compiler, but for those that differ from run to run."""
        # Text lies in a temporary directory, which nothing is to remember.
        quoted = ["-iquote", self.source.directory] if self.source.is_text else []
        return [
            *self.compiler.target(self.byte_order),
            *_ALWAYS,
            *self.options,
            *quoted,
            *(f"-I{one}" for one in (*self.include_dirs, get_include())),
            *(part for one in system_includes() for part in ("-idirafter", one)),
            *self.flags,
        ]

    def compile(self, keep: bool) -> tuple[stored.Compiled, str]:
        """Execute the compiler, and keep in the cache what it makes; as `cached`."""
        problem = ""
        with tempfile.TemporaryDirectory(prefix="ebpf-compile-") as folder:
            run = self._run(folder)
            if run.status and _VMLINUX.search(run.output):
                problem = self._add_vmlinux(folder)
                run = self._run(folder)
            data = _read(os.path.join(folder, _MADE))
            # There is none with -fsyntax-only, and something else with -S or -flto.
            if run.status or not data.startswith(_ELF):
                raise failure(self.source.file, run.command, run.status, run.output)
            made = stored.Compiled(data, run.output)
            if keep and not problem:
                read = dependencies.read_files(os.path.join(folder, _LISTED))
                problem = self._keep(made, run, read[1:])  # the first is the source
        return made, problem

    def _add_vmlinux(self, folder: str) -> str:
        """Make vmlinux.h in the cache, else in `folder`; returns why it is not in the cache."""
        text = vmlinux_text()
        if kept_vmlinux() is not None:
            return ""
        _write(os.path.join(folder, "vmlinux.h"), text.encode())
        return _not_kept(self.source.file, "vmlinux.h cannot be written there")

    def _run(self, folder: str) -> _Run:
        file, renamed = self.source.file, []
        if self.source.is_text:
            file = os.path.join(folder, file)
            renamed = [f"-ffile-prefix-map={folder}=."]
            _write(file, self.source.content)
        command = [*self.compiler.command, *self.arguments(), *renamed]
        # One that is damaged is not found, and then made anew.
        kept = [] if kept_vmlinux() is None else [os.path.dirname(vmlinux_path())]
        command += [part for one in (*kept, folder) for part in ("-idirafter", one)]
        command += ["-MD", "-MT", "made", "-MF", os.path.join(folder, _LISTED)]
        command += ["-c", file, "-o", os.path.join(folder, _MADE)]
        started = dependencies.next_tick()
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        output = done.stdout.decode("utf-8", "replace").replace(f"{folder}/", "")
        return _Run(command, done.returncode, output, started)

    def _keep(self, made: stored.Compiled, run: _Run, headers: list[str]) -> str:
        """Put into the cache what was made of this source and of the headers as they are now, and
        of nothing else; returns why it cannot be kept, ``""`` if it can."""
        digests = dependencies.digests(headers, run.started)
        if digests is None or not self._source_is_the_same(run.started):
            # Changed while the compiler ran: there is no telling what it has read.
            return ""
        searched = [self.source.directory, *self.include_dirs, get_include(), *system_includes()]
        searched += dependencies.named_folders(self.flags) or ()
        absent = dependencies.hiding(headers, searched)
        try:
            stored.store(self.key(), made, digests, absent, vmlinux_path())
        except OSError as error:
            return _not_kept(self.source.file, str(error))
        return ""

    def _source_is_the_same(self, started: int) -> bool:
        """Whether the compiler has read what the key was made of."""
        if self.source.is_text:
            return True
        now = dependencies.digests([self.source.file], started)
        return now == {self.source.file: stored.digest(self.source.content)}


def _no_nul(argument: str, *texts: str) -> None:
    """Refuse what no command line can have."""
    for text in texts:
        if "\0" in text:
            raise ValueError(f"{argument}: {text!r} has a NUL")


def _here() -> str:
    """The working directory: relative paths in flags, and text's ``#include``, begin there."""
    try:
        return os.getcwd()
    except FileNotFoundError as error:
        why = "the working directory was removed, in which text and flags name files"
        raise FileNotFoundError(error.errno, f"compile_c: {why}; os.chdir to another") from None


def _not_kept(file: str, why: str) -> str:
    return (
        f"{file} compiles, and will be compiled each time: nothing can be kept, {why}; set "
        "XDG_CACHE_HOME to a directory of this user's that can be written, or cache=False"
    )


def _read(path: str) -> bytes:
    """What the compiler has made, nothing where it has not."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def _write(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


def _target(cpu: str) -> list[str]:
    if not re.fullmatch(r"v\d|generic|probe", cpu):
        raise ValueError(f"cpu is {cpu!r}, it is 'v1', 'v2', 'v3' or 'v4'")
    return [f"-mcpu={cpu}"]


def _defines(defines: Defines, byte_order: str) -> list[str]:
    options = []
    for macro, value in defines.items():
        if not re.fullmatch(r"[A-Za-z_]\w*(\([\w, .]*\))?", macro):
            raise ValueError(f"defines has {macro!r}, which is no name of a macro")
        # True is 1 to C, to which its name means nothing.
        text = int(value) if isinstance(value, bool) else value
        options.append(f"-D{macro}" if value is None else f"-D{macro}={text}")
    machine = _ARCHITECTURES.get(os.uname().machine)
    chosen = any(macro.startswith(_TARGET_ARCH) for macro in defines)
    # A program for another byte order is not for this machine.
    if machine and not chosen and byte_order == sys.byteorder:
        options.append(f"-D{_TARGET_ARCH}{machine}")
    return options


def _several(argument: str, given: Iterable[Path]) -> list[Path]:
    if isinstance(given, (str, bytes, os.PathLike)):
        raise TypeError(f"{argument} is one, {given!r}; give a list")
    return list(given)
