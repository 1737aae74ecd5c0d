"""One process that makes inputs for one target and keeps those that break something.

    python -m tests.fuzz.engine TARGET --seconds 600 --found DIRECTORY [--corpus DIRECTORY]

atheris chooses what to change further by the code that an input reaches, and half of its changes
are those of mutate. ``--plain`` changes sound inputs at random, where atheris does not install,
and makes about five times as many inputs, as nothing watches the code.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.fuzz.limits import SECONDS
from tests.fuzz.mutate import MAXIMUM_SIZE, mutate
from tests.fuzz.seeds import crashers, seeds

# How much longer the code takes that atheris watches.
_WATCHED = 8
# Seconds after which libFuzzer ends an input that even processor_time() cannot stop.
_STUCK = 60


class Finder:
    """Judges inputs, and keeps the first of each verdict as DIRECTORY/NUMBER.bin."""

    def __init__(self, target: str, directory: Path, seconds: float) -> None:
        # Imported here, so that atheris can watch it being imported.
        self._judge = importlib.import_module("tests.fuzz.judge").judge
        self._target, self._directory, self._seconds = target, directory, seconds
        self._known: dict[str, int] = {}
        self.inputs = 0

    def __call__(self, data: bytes) -> None:
        self.inputs += 1
        verdict = self._judge(self._target, data, self._seconds)
        if verdict is None:
            return
        size = self._known.get(verdict)
        if size is None or len(data) < size:
            self._known[verdict] = len(data)
            name = hashlib.sha256(verdict.encode()).hexdigest()[:12]
            (self._directory / f"{name}.bin").write_bytes(data)
        if size is None:
            print(f"{self._target}: {verdict} ({len(data)} bytes)", flush=True)


def run_plain(options: argparse.Namespace, start: list[bytes]) -> None:
    find = Finder(options.target, options.found, SECONDS)
    random = Random(options.seed or None)
    end = time.monotonic() + options.seconds
    while time.monotonic() < end:
        find(mutate(options.target, random.choice(start), random))
    print(f"{options.target}: {find.inputs} inputs", flush=True)


def run_atheris(options: argparse.Namespace, start: list[bytes]) -> None:
    """Does not return: libFuzzer ends the process."""
    import atheris  # type: ignore[import-untyped]

    with atheris.instrument_imports(include=["ebpf"]):
        # from_bytes imports this when it is called.
        importlib.import_module("ebpf.elf.object")
        find = Finder(options.target, options.found, SECONDS * _WATCHED)

    def change(data: bytes, maximum: int, seed: int) -> bytes:
        random = Random(seed)
        if random.randrange(4) == 0:
            return bytes(atheris.Mutate(data, maximum))
        return mutate(options.target, data, random)[:maximum]

    with tempfile.TemporaryDirectory() as temporary:
        folders = [options.corpus or Path(temporary) / "new", Path(temporary) / "seeds"]
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(start):
            (folders[1] / f"{number}").write_bytes(data)
        atheris.Setup(_arguments(options, folders), find, custom_mutator=change)
        atheris.Fuzz()


def _arguments(options: argparse.Namespace, folders: list[Path]) -> list[str]:
    return [
        "fuzz",
        f"-max_total_time={options.seconds}",
        f"-max_len={MAXIMUM_SIZE}",
        f"-timeout={_STUCK}",
        f"-artifact_prefix={options.found}/",
        f"-seed={options.seed}",
        "-len_control=0",
        "-print_final_stats=1",
        "-verbosity=0",
        *map(str, folders),
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("--seconds", type=int, required=True)
    parser.add_argument("--found", type=Path, required=True)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plain", action="store_true")
    options = parser.parse_args()
    start = seeds(options.target) + [path.read_bytes() for path in crashers(options.target)]
    run: Callable[[argparse.Namespace, list[bytes]], None]
    run = run_plain if options.plain else run_atheris
    run(options, start)


if __name__ == "__main__":
    main()
