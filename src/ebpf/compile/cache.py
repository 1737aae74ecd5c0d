"""What was compiled before, in the user's cache folder.

An object is found by a key made of all that is known before compiling: the source, the compiler,
the options. Under the key lies an entry per set of headers that the source was compiled with:
the path and the digest of each, and the places where a header of the same name would have been
found first. An entry counts while all of this is still so; then nothing has to be executed.

Files are written under another name and renamed, so that a reader sees a whole file or none, and
two writers of one file both write what is right. Each is called by the digest of what belongs into
it, or begins with that digest, as vmlinux.h does, which has to have its name: what a full disk or a
loss of power has left of one is no entry, and is made again.

A folder of another user's is not used at all: who may write it says what gets loaded, and root
would leave files in it that its owner cannot read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from pathlib import Path

from ebpf.plain import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

# Changes with the layout of the entries.
_FORMAT = "2"
# Of headers: as many sets for one source as are kept.
_ENTRIES = 16
# Seconds: after how long without use all objects of a source go, and how often that is looked for.
_UNUSED, _DAY = 30 * 86400, 86400


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


def unusable() -> str:
    """Why this process has no cache; ``""`` where it has one, which it perhaps cannot write."""
    try:
        folder = cache_folder()
    except RuntimeError:
        return "this user has no home directory"
    user = os.geteuid()
    try:
        while not (there := folder.exists()) and user == 0 and folder != folder.parent:
            # What root makes below another user's directory that user could not read.
            folder = folder.parent
        owner = folder.stat().st_uid if there else user
    except OSError as error:
        return str(error)
    return "" if owner == user else f"{folder} belongs to user {owner}, and this is user {user}"


def digest(*parts: str | bytes) -> str:
    """A name for these parts: no other parts have it."""
    hashed = hashlib.sha256(_FORMAT.encode())
    for part in parts:
        data = part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part
        hashed.update(len(data).to_bytes(8, "little") + data)
    return hashed.hexdigest()


def file_digest(path: str) -> str | None:
    """The digest of a file's content, None where there is no such file that can be read."""
    try:
        with open(path, "rb") as file:
            return digest(file.read())
    except OSError:
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
            data = _whole(_folder(key) / f"{entry['object']}.o")
            if data is not None:
                _mark_used(_folder(key))
                return Compiled(data, entry["output"])
    return None


def store(
    key: str, made: Compiled, headers: Mapping[str, str], absent: list[str], vmlinux: str
) -> None:
    """Keep `made` for as long as `headers` have these digests and nothing is at `absent`."""
    name = digest(made.data)
    write_atomically(_folder(key) / f"{name}.o", made.data)
    entry = {
        "headers": headers,
        "absent": absent,
        "vmlinux": vmlinux if vmlinux in headers else "",
        "object": name,
        "output": made.output,
    }
    text = json.dumps(entry)
    write_atomically(_folder(key) / f"{digest(text)}.json", text.encode())
    _forget_oldest(key)
    _forget_unused()


def _unchanged(entry: dict[str, Any]) -> bool:
    headers: dict[str, str] = entry["headers"]
    return all(file_digest(path) == known for path, known in headers.items()) and not any(
        map(os.path.exists, entry["absent"])
    )


def _folder(key: str) -> Path:
    return cache_folder() / "objects" / key[:2] / key[2:]


def _whole(path: Path) -> bytes | None:
    """What is in a file that is called by its digest; None if that is gone, closed or damaged."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return data if digest(data) == path.stem else None


def _entries(key: str) -> list[dict[str, Any]]:
    found = (_whole(path) for path in _by_age(key))
    return [json.loads(data) for data in found if data is not None]


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
    """The entries beyond those that are kept, and the objects that none names any more."""
    for path in _by_age(key)[_ENTRIES:]:
        path.unlink(missing_ok=True)
    named = {entry["object"] for entry in _entries(key)}
    for path in _folder(key).glob("[!.]*.o"):
        if path.stem not in named:
            path.unlink(missing_ok=True)


def _forget_unused() -> None:
    """What no source has asked for in a month: each edit of a source has a folder of its own."""
    objects = cache_folder() / "objects"
    looked = objects / "looked"
    if _age(looked) < _DAY:
        return
    looked.touch()
    import shutil

    for folder in objects.glob("??/*"):
        if _age(folder) > _UNUSED:
            shutil.rmtree(folder, ignore_errors=True)


def _mark_used(folder: Path) -> None:
    # A folder that cannot be written may be right: what was compiled is read from it all the same.
    if _age(folder) > _DAY:
        with contextlib.suppress(OSError):
            os.utime(folder)


def _age(path: Path) -> float:
    """Seconds since the last change, without end for what is not there."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return float("inf")
