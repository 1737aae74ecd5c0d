"""What was compiled before, in the user's cache folder.

An object is found by a key made of all that is known before compiling: the source, the compiler,
the options. Under the key lies an entry per set of headers that the source was compiled with:
the path and the digest of each, and the places where a header of the same name would have been
found first. An entry counts while all of this is still so; then nothing has to be executed.

Files are written under another name and renamed, so that a reader sees a whole file or none, and
two writers of one file both write what is right.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path

from ebpf.plain import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Changes with the layout of the entries.
_FORMAT = "1"
# Of headers: as many sets for one source as are kept.
_ENTRIES = 16


class Compiled(NamedTuple):
    """An object file's bytes, and what the compiler said about the source."""

    data: bytes
    output: str


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/ebpf``, or ``~/.cache/ebpf`` (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The specification: a relative path is invalid and to be ignored.
    folder = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    return folder / "ebpf"


def digest(*parts: str | bytes) -> str:
    """A name for these parts: no other parts have it."""
    hashed = hashlib.sha256(_FORMAT.encode())
    for part in parts:
        data = part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part
        hashed.update(len(data).to_bytes(8, "little") + data)
    return hashed.hexdigest()


def file_digest(path: str) -> str | None:
    """The digest of a file's content, None where there is no such file."""
    try:
        with open(path, "rb") as file:
            return digest(file.read())
    except (FileNotFoundError, NotADirectoryError):
        return None


def write_atomically(path: Path, data: bytes) -> None:
    """Make `path` hold `data`; a reader never sees a part of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def find(key: str, vmlinux: str) -> Compiled | None:
    """What was compiled under `key` with the headers as they are now.

    `vmlinux` is where the running kernel's vmlinux.h belongs: one of another kernel, which may
    still be there as it was, does not count.
    """
    for entry in _entries(key):
        if entry["vmlinux"] in ("", vmlinux) and _unchanged(entry):
            try:
                data = (_folder(key) / f"{entry['object']}.o").read_bytes()
            except FileNotFoundError:
                continue
            # A disk that was full, or somebody's editor: the name says what has to be inside.
            if digest(data) == entry["object"]:
                return Compiled(data, entry["output"])
    return None


def store(key: str, made: Compiled, headers: list[str], absent: list[str], vmlinux: str) -> None:
    """Keep `made` for as long as `headers` stay as they are and nothing comes to be at `absent`."""
    name = digest(made.data)
    write_atomically(_folder(key) / f"{name}.o", made.data)
    entry = {
        "headers": {path: file_digest(path) for path in headers},
        "absent": absent,
        "vmlinux": vmlinux if vmlinux in headers else "",
        "object": name,
        "output": made.output,
    }
    text = json.dumps(entry)
    write_atomically(_folder(key) / f"{digest(text)}.json", text.encode())
    _forget_oldest(key)


def _unchanged(entry: dict[str, Any]) -> bool:
    headers: dict[str, str] = entry["headers"]
    return all(file_digest(path) == known for path, known in headers.items()) and not any(
        map(os.path.exists, entry["absent"])
    )


def _folder(key: str) -> Path:
    return cache_folder() / "objects" / key[:2] / key[2:]


def _entries(key: str) -> list[dict[str, Any]]:
    found = []
    for path in _by_age(key):
        try:
            found.append(json.loads(path.read_bytes()))
        except FileNotFoundError:
            # Another process has just removed it as the oldest.
            continue
    return found


def _by_age(key: str) -> list[Path]:
    """The entries' files, the newest first."""
    ages = []
    for path in _folder(key).glob("[!.]*.json"):
        try:
            ages.append((path.stat().st_mtime_ns, path))
        except FileNotFoundError:
            continue
    return [path for _, path in sorted(ages, reverse=True)]


def _forget_oldest(key: str) -> None:
    for path in _by_age(key)[_ENTRIES:]:
        path.unlink(missing_ok=True)
