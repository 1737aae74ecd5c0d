"""Executables and libraries: found by name, and places found in them."""

from __future__ import annotations

import errno
import os
import re
import stat
import sys

from ebpf._sys import facts
from ebpf._sys.arguments import check_text
from ebpf._sys.mappings import executable_mappings
from ebpf.errors import BpfError, BpfFileNotFoundError, BpfPermissionError, from_errno
from ebpf.links.functions import matcher, missing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ebpf._sys.mappings import Mapping
    from ebpf.elf.image import ElfImage
    from ebpf.elf.symbols import ElfSymbol

    StrPath = str | os.PathLike[str]

CACHE = "/etc/ld.so.cache"

# The Debian family's name of an architecture, which its loaders know a folder by.
_TRIPLET = getattr(sys.implementation, "_multiarch", "")

# Where the dynamic loader looks last.
_LIBRARY_FOLDERS = (
    *([f"/lib/{_TRIPLET}", f"/usr/lib/{_TRIPLET}"] if _TRIPLET else []),
    *("/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib"),
)

# Between an archive and what is in it.
_MEMBER = "!/"
# Bytes of a zip's local header before the lengths of what follows it.
_LENGTHS = 26

_LIBRARY = re.compile(r"\.so(\.|$)")


def find_binary(path: StrPath, pid: int | None = None) -> str:
    """The file that `path` means: a path, a library (``libc.so.6``), or a program (``bash``).

    A library is looked for as the dynamic loader does: in LD_LIBRARY_PATH, ld.so.cache and the
    loader's own folders, of the architecture of this process and the best for this processor
    (glibc-hwcaps). Where it has a single version, ``libc.so`` and ``libc`` will do. A program is
    looked for in PATH. With `pid`, what that process has mapped under the name (a library's
    SONAME, too) comes first, whatever its root directory is and whatever has the name by now; a
    file that it has another one for is refused.

    A library that an archive (zip, APK) has stored uncompressed is ``ARCHIVE!/NAME``, and so is
    what is returned: see `place_of`.

    Raises:
        BpfFileNotFoundError: there is none; the message says where was looked. Or the process runs
            another file than the one that the path, or the loader here, leads to.
        BpfPermissionError: this process may not open what the process `pid` has mapped.
        BpfError: EADDRNOTAVAIL, several versions of a library; the message has them.
    """
    name = os.fspath(path) if isinstance(path, os.PathLike) else path
    check_text("path", name)
    if not name:
        raise ValueError("path: '' is no file")
    if _MEMBER in name:
        archive, _, member = name.partition(_MEMBER)
        return f"{_existing(archive)}{_MEMBER}{member}"
    mapped = _mapped(name, pid) if pid is not None and "/" not in name else None
    if mapped is not None:
        return mapped
    found = _found(name)
    if pid is not None:
        _check_mapped(found, pid)
    return found


def _found(name: str) -> str:
    """The file that `name` means to this process."""
    if "/" in name:
        return _existing(name)
    if _LIBRARY.search(name):
        return _find_library(name)
    return _find_program(name) or _find_library(f"{name}.so", name)


def _existing(name: str) -> str:
    absolute = os.path.abspath(name)
    try:
        mode = os.stat(absolute)
    except OSError as error:
        raise from_errno(error.errno or 0, f"path: {absolute}") from None
    if not stat.S_ISREG(mode.st_mode):
        raise BpfError(errno.EINVAL, f"path: {absolute} is no regular file")
    return absolute


def _find_program(name: str) -> str | None:
    """The program in PATH; None where there is none, and it may be a library."""
    folders = os.environ.get("PATH", os.defpath)
    for folder in folders.split(os.pathsep):
        candidate = os.path.join(folder or ".", name)
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return os.path.abspath(candidate)
    if name.startswith("lib"):
        return None
    raise BpfFileNotFoundError(errno.ENOENT, f"path: no program {name} in PATH ({folders})")


def _find_library(name: str, given: str = "") -> str:
    found = _library(name)
    versions = [] if found or not name.endswith(".so") else _versions(name)
    if len(versions) > 1:
        raise BpfError(
            errno.EADDRNOTAVAIL,
            f"path: {given or name} has several versions; choose one: {', '.join(versions)}",
        )
    found = found or (_library(versions[0]) if versions else None)
    if found is None:
        raise BpfFileNotFoundError(
            errno.ENOENT,
            f"path: no library {given or name} for this architecture in LD_LIBRARY_PATH, {CACHE}"
            f" and {', '.join(_LIBRARY_FOLDERS)}; give its path",
        )
    return found


def _library(name: str) -> str | None:
    """The library of this name that a process like this one would load."""
    facts.need_proc(f"find out for which machine the library {name} has to be")
    own = _machine("/proc/self/exe")
    for candidate in _library_candidates(name):
        if _machine(candidate) == own:
            return os.path.abspath(candidate)
    return None


def _versions(name: str) -> list[str]:
    """The libraries that are `name` with a version behind it, of this architecture."""
    from ebpf.elf.ldcache import cached_versions

    if os.path.exists(CACHE):
        with open(CACHE, "rb") as file:
            found = cached_versions(file.read(), name)
    else:
        found = _lying_about(name)
    return [version for version in found if _library(version)]


def _lying_about(name: str) -> list[str]:
    """`name` with the first number of a version behind it, in the folders of the loader."""
    version = re.compile(re.escape(name) + r"\.\d+")
    folders = [folder for folder in _LIBRARY_FOLDERS if os.path.isdir(folder)]
    return sorted(
        {file for folder in folders for file in os.listdir(folder) if version.fullmatch(file)}
    )


def _library_candidates(name: str) -> Iterator[str]:
    from ebpf._sys.hwcaps import glibc_hwcaps

    hwcaps = glibc_hwcaps()
    # Of each folder those for better processors come first.
    within = [*(f"glibc-hwcaps/{folder}/{name}" for folder in hwcaps or ()), name]
    for folder in re.split("[:;]", os.environ.get("LD_LIBRARY_PATH", "")):
        if folder:
            yield from (os.path.join(folder, path) for path in within)
    # Other C libraries have no cache.
    if os.path.exists(CACHE):
        yield from _cached(name, hwcaps)
    for folder in _LIBRARY_FOLDERS:
        yield from (os.path.join(folder, path) for path in within)


def _cached(name: str, hwcaps: list[str] | None) -> list[str]:
    from ebpf.elf.ldcache import cached_for_processors, cached_libraries

    with open(CACHE, "rb") as file:
        data = file.read()
    if hwcaps is not None:
        return cached_libraries(data, name, hwcaps)
    found = cached_libraries(data, name)
    rivals = cached_for_processors(data, name)
    if rivals:
        raise BpfError(
            errno.EADDRNOTAVAIL,
            f"path: {name} is there for some processors and for all, and only the loader knows"
            f" which this one takes; choose one: {', '.join(rivals + found)}",
        )
    return found


def _machine(path: str) -> tuple[int, int] | None:
    """(ELF machine, bits) of a file; None where it is no ELF file or not there."""
    from ebpf.elf.image import ElfImage
    from ebpf.errors import ElfError

    try:
        with ElfImage.open(path) as image:
            return image.machine, image.bits
    except (OSError, ElfError):
        # A candidate: what is wrong with it only makes it none.
        return None


def _mapped(name: str, pid: int) -> str | None:
    """The file that a process has mapped as `name`; None where it has none."""
    files = _mapped_files(pid)
    of_name = [mapping for mapping in files if os.path.basename(mapping.name) == name]
    if not of_name and _LIBRARY.search(name):
        of_name = [mapping for mapping in files if _soname(mapping.find(pid)) == name]
    found = [_located(mapping, pid) for mapping in of_name]
    if len(found) > 1:
        raise BpfError(
            errno.EADDRNOTAVAIL,
            f"path: process {pid} has mapped several files called {name}; choose one:"
            f" {', '.join(found)}",
        )
    return found[0] if found else None


def _mapped_files(pid: int) -> list[Mapping]:
    """One mapping of each file that a process has mapped to run it."""
    mappings = (mapping for mapping in executable_mappings(pid) if mapping.path.startswith("/"))
    return list({(mapping.device, mapping.inode): mapping for mapping in mappings}.values())


def _located(mapping: Mapping, pid: int) -> str:
    found = mapping.find(pid)
    if found is not None:
        return found
    exact = mapping.exact(pid)
    try:
        os.stat(exact)
    except OSError as error:
        raise from_errno(
            error.errno or 0,
            f"path: process {pid} has mapped {mapping.path}, which was replaced since or is out of"
            f" reach; {exact} leads to it, for a process with CAP_SYS_ADMIN or"
            " CAP_CHECKPOINT_RESTORE",
        ) from None
    return exact


def _check_mapped(path: str, pid: int) -> None:
    """Refuse the file at `path` where process `pid` runs another one of that name: one that was
    there before an upgrade, or that is there in a container."""
    folder, name = os.path.split(os.path.realpath(path))
    try:
        files = _mapped_files(pid)
    except BpfPermissionError:
        # CAP_PERFMON is enough to probe a process that this one may not look at.
        return
    near = [mapping for mapping in files if os.path.dirname(mapping.name) == folder]
    soname = _soname(path) if near else None
    for mapping in near:
        rival = os.path.basename(mapping.name)
        same = rival == name or (soname is not None and _soname(mapping.find(pid)) == soname)
        if same and not any(mapping.is_file(path) for mapping in files):
            raise BpfFileNotFoundError(
                errno.ENOENT,
                f"path: process {pid} runs another file than {path}, which was replaced since or is"
                f" in another root directory: {mapping.path}; give its name alone, {rival}",
            )


def _soname(path: str | None) -> str | None:
    """What the library at `path` calls itself; None where it does not, or is none."""
    from ebpf.elf.image import ElfImage
    from ebpf.errors import ElfError

    try:
        with ElfImage.open(path or "") as image:
            return image.soname
    except (OSError, ElfError):
        # A candidate, as in `_machine`.
        return None


def place_of(path: str) -> tuple[str, int]:
    """The file that `find_binary` found, and where in it the program or library begins: not at 0
    where that is in an archive."""
    archive, separator, _ = path.partition(_MEMBER)
    return (archive, _extent(path)[0]) if separator else (path, 0)


def _extent(path: str) -> tuple[int, int]:
    """Where the library of an ``ARCHIVE!/NAME`` begins, and its size."""
    import struct
    from zipfile import ZIP_STORED, BadZipFile, ZipFile

    archive, _, member = path.partition(_MEMBER)
    try:
        with open(archive, "rb") as file, ZipFile(file) as opened:
            if member not in opened.namelist():
                raise missing(f"path: no {member} in {archive}", _near(member, opened.namelist()))
            entry = opened.getinfo(member)
            if entry.compress_type != ZIP_STORED:
                raise BpfError(
                    errno.EINVAL,
                    f"path: {member} is compressed in {archive}; only what is stored as it is runs"
                    " out of an archive",
                )
            # Behind the lengths of the name and of an extra field, which the directory's are not.
            file.seek(entry.header_offset + _LENGTHS)
            lengths = struct.unpack("<HH", file.read(4))
            return entry.header_offset + _LENGTHS + 4 + sum(lengths), entry.file_size
    except (BadZipFile, struct.error) as error:
        raise BpfError(errno.EINVAL, f"path: {archive} is no archive: {error}") from None
    except OSError as error:
        if isinstance(error, BpfError):
            raise
        raise from_errno(error.errno or 0, f"path: {archive}") from None


def _near(name: str, names: Iterable[str]) -> list[str]:
    import difflib

    return difflib.get_close_matches(name, names, n=5)


def function_offset(path: str, symbol: str) -> int:
    """Where in the file (see `place_of`) the function `symbol` begins, which may be
    ``name@VERSION``.

    Raises:
        BpfFileNotFoundError: it is not there; the message has the nearest names.
        BpfError: EADDRNOTAVAIL, several functions have the name; EINVAL, it is no function, or
            one that is chosen when the program starts (IFUNC).
        ElfError: the file is no ELF file, or malformed.
    """
    from ebpf.elf.symbols import STT_GNU_IFUNC, find_symbols, symbol_offset

    check_text("symbol", symbol)
    with open_image(path) as image:
        found = find_symbols(image, symbol)
        functions = [each for each in found if each.function]
        if not functions:
            raise _no_function(image, path, symbol, found)
        first = functions[0]
        rivals = {s.value for s in functions if s.default == first.default}
        if len(rivals) > 1:
            raise BpfError(
                errno.EADDRNOTAVAIL,
                f"symbol: {len(rivals)} functions of {path} are called {symbol}; choose one by its"
                f" offset: {', '.join(hex(image.file_offset(value)) for value in sorted(rivals))}",
            )
        if first.type == STT_GNU_IFUNC:
            raise BpfError(
                errno.EINVAL,
                f"symbol: {symbol} of {path} is chosen when a program starts (IFUNC); name the"
                " function that is chosen, or its offset",
            )
        return place_of(path)[1] + symbol_offset(image, first)


def function_offsets(path: str, pattern: str) -> list[tuple[str, int]]:
    """Name and place of every function whose name matches `pattern`, each place once; static
    functions may share a name.

    Raises:
        BpfFileNotFoundError: none matches.
        ElfError: the file is no ELF file, or malformed.
    """
    from ebpf.elf.symbols import STT_GNU_IFUNC, symbol_offset, symbol_tables

    matches = matcher(pattern)
    found: dict[int, str] = {}
    _, start = place_of(path)
    with open_image(path) as image:
        for table in symbol_tables(image):
            for symbol in table:
                code = symbol.function and symbol.defined and symbol.type != STT_GNU_IFUNC
                if code and matches(symbol.name):
                    found.setdefault(start + symbol_offset(image, symbol), symbol.name)
    if not found:
        raise BpfFileNotFoundError(
            errno.ENOENT, f"symbols: no function of {path} matches {pattern}"
        )
    return [(name, offset) for offset, name in found.items()]


def open_image(path: str) -> ElfImage:
    """The ELF file at `path`. Raises BpfFileNotFoundError, BpfPermissionError, ElfError."""
    from ebpf.elf.image import ElfImage

    file, separator, _ = path.partition(_MEMBER)
    extent = _extent(path) if separator else (0, None)
    try:
        return ElfImage.open(file, *extent)
    except OSError as error:
        raise from_errno(error.errno or 0, f"path: {path}") from None


def _no_function(image: ElfImage, path: str, symbol: str, found: list[ElfSymbol]) -> BpfError:
    from ebpf.elf.symbols import symbol_tables

    if found:
        return BpfError(errno.EINVAL, f"symbol: {symbol} of {path} is data, not a function")
    tables = symbol_tables(image)
    names = {s.name for table in tables for s in table if s.function and s.defined}
    near = _near(symbol.partition("@")[0], names)
    what = f"symbol: no function {symbol} in {path}"
    if ".symtab" not in {table.name for table in tables}:
        what += " (which was stripped: only what it exports has names)"
    return missing(what, near)
