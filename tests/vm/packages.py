"""Debian packages of any suite, chosen by pattern and unpacked without being installed.

Every suite has its own apt sources file and its own lists, so the machine's package manager
neither sees nor changes anything here.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from os import environ
from pathlib import Path

from .host import HarnessError, NoArchive, cache_dir, run

KEYRINGS = (
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
    Path("/usr/share/keyrings/debian-archive-keyring.pgp"),
)
TARGET_FORMAT = "$(REPO_URI) $(RELEASE) $(COMPONENT) $(CREATED_BY)"
# Names by which sources files call the suite that is also known by its code name.
SUITE_ALIASES = ("stable", "oldstable", "oldoldstable", "testing", "unstable", "sid")


@dataclass(frozen=True)
class Package:
    """One package of a suite's list: ``depends`` are the names it depends on."""

    name: str
    version: str
    depends: tuple[str, ...] = ()


def parse_packages(text: str, prefix: str) -> list[Package]:
    """The packages of ``apt-cache dumpavail`` output whose names start with ``prefix``."""
    found = []
    for record in text.split("\n\n"):
        if not record.startswith(f"Package: {prefix}"):
            continue
        fields = dict(re.findall(r"^(Package|Version|Depends): (.*)$", record, flags=re.M))
        depends = re.split(r"[,|]", fields.get("Depends", ""))
        names = tuple(item.split()[0].split(":")[0] for item in depends if item.strip())
        found.append(Package(fields["Package"], fields["Version"], names))
    return found


def version_key(text: str) -> tuple[int, ...]:
    """The numbers in a kernel release or a package version, for comparing releases of one kind."""
    return tuple(int(number) for number in re.findall(r"\d+", text))


def newest(packages: Iterable[Package], pattern: str) -> Package | None:
    """The package with the highest numbers among those whose whole name fits ``pattern``.

    The name is compared first: it holds the kernel release. Of several versions of one name,
    the last one listed by number wins.
    """
    fitting = [package for package in packages if re.fullmatch(pattern, package.name)]
    return max(
        fitting,
        key=lambda package: (version_key(package.name), version_key(package.version)),
        default=None,
    )


def parts(image: Package, release: str, packages: Iterable[Package]) -> list[Package]:
    """The image package and those packages of the same release that it needs.

    Since 7.2 Debian splits the image, the modules and the configuration into packages that the
    image package depends on; their names hold the release.
    """
    by_name = {package.name: package for package in packages if package.version == image.version}
    chosen = {image.name: image}
    pending = [image]
    while pending:
        for name in pending.pop().depends:
            if release in name and name in by_name and name not in chosen:
                chosen[name] = by_name[name]
                pending.append(by_name[name])
    return list(chosen.values())


def parse_mirror(targets: str, codename: str) -> str | None:
    """The address of the main archive in ``apt-get indextargets`` output (TARGET_FORMAT).

    Archives of others use Debian's code names too, so an archive that also carries the
    ``-updates`` suite comes first: only Debian's own has it.
    """
    names = {codename, *SUITE_ALIASES}
    uris: dict[str, set[str]] = {}
    for line in targets.splitlines():
        uri, release, component, creator = line.split(" ")
        if component == "main" and creator == "Packages":
            uris.setdefault(uri, set()).add(release)
    candidates = [uri for uri, releases in uris.items() if releases & names]
    candidates.sort(key=lambda uri: not any(f"{name}-updates" in uris[uri] for name in names))
    return candidates[0] if candidates else None


def os_release() -> dict[str, str]:
    """The fields of /etc/os-release."""
    text = Path("/etc/os-release").read_text(encoding="utf-8")
    return {key: value.strip("\"'") for key, value in re.findall(r"^(\w+)=(.*)$", text, re.M)}


def mirror() -> str:
    """The address of a Debian archive: the machine's own, else ``$DEBIAN_MIRROR``."""
    system = os_release()
    if system.get("ID") == "debian":
        targets = run(["apt-get", "indextargets", "--format", TARGET_FORMAT])
        if found := parse_mirror(targets, system.get("VERSION_CODENAME", "")):
            return found
    if found := environ.get("DEBIAN_MIRROR"):
        return found
    raise NoArchive(
        "no Debian archive is known: this machine's apt sources name none; set DEBIAN_MIRROR "
        "to the address of a Debian mirror (the folder that contains dists/ and pool/)"
    )


def keyring() -> Path:
    """The keys that Debian signs its archive with."""
    for path in KEYRINGS:
        if path.exists():
            return path
    raise HarnessError(
        f"{KEYRINGS[0]} is missing: Debian's signatures cannot be checked\n"
        "  apt-get install debian-archive-keyring"
    )


class Suite:
    """A Debian suite, seen through apt with a configuration of its own.

    The caller holds a lock on the suite's folder (see ``folder``).
    """

    def __init__(self, name: str, arch: str) -> None:
        self.name = name
        self.arch = arch
        self.folder = cache_dir() / "apt" / f"{name}-{arch}"

    def _options(self) -> list[str]:
        settings = {
            "Dir::Etc::sourcelist": self.folder / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            # Neither the machine's pins nor what it has installed may change the choice.
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "Dir::State::status": "/dev/null",
            "Dir::State::Lists": self.folder / "lists",
            "Dir::Cache": self.folder / "cache",
            "APT::Architecture": self.arch,
            # The user _apt cannot read a cache in a private home folder.
            "APT::Sandbox::User": "",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
        }
        return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]

    def update(self) -> None:
        """Fetch the suite's package list, and fail if only an old one is there."""
        for part in ("lists/partial", "cache/archives/partial"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        (self.folder / "sources.list").write_text(
            f"deb [arch={self.arch} signed-by={keyring()}] {mirror()} {self.name} main\n",
            encoding="utf-8",
        )
        # In the default mode a failed fetch is a warning, and the old list stays in use.
        run(["apt-get", *self._options(), "-o", "APT::Update::Error-Mode=any", "update"])

    def packages(self, prefix: str) -> list[Package]:
        """The suite's packages whose names start with ``prefix``, every version."""
        return parse_packages(run(["apt-cache", *self._options(), "dumpavail"]), prefix)

    def unpack(self, packages: Iterable[Package], folder: Path) -> None:
        """Download packages and unpack their files into ``folder``."""
        downloads = folder / ".downloads"
        downloads.mkdir(parents=True)
        named = [f"{package.name}={package.version}" for package in packages]
        run(["apt-get", *self._options(), "download", *named], cwd=downloads)
        for file in sorted(downloads.glob("*.deb")):
            run(["dpkg-deb", "-x", str(file), str(folder)])
        shutil.rmtree(downloads)
