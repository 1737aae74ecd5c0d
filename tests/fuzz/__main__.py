"""Looks for inputs that break the readers of files.

    python -m tests.fuzz [TARGET ...] --seconds 600 [--corpus DIRECTORY] [--plain]

Each target runs for so many seconds, one after the other; without a name all of them do. An input
that breaks something is made smaller, and is in build/fuzz/TARGET afterwards: when the bug is
fixed, it belongs into tests/fuzz/crashers/TARGET. The exit status is 1 if there was any.

Needs atheris (`pip install --group fuzz`), which its makers build for x86-64, and for Python 3.10
to 3.14; elsewhere --plain makes changes without a look at the code that they reach. With --corpus
the inputs that reached new code are kept, and the next run starts from them.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path

from tests.fuzz.judge import judge
from tests.fuzz.minimise import minimise
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).resolve().parents[2]
# Seconds for an input that does not end, and for making one smaller.
_ENDLESS, _MINIMISING = 120, 30


def main() -> int:
    options = _options()
    if not options.plain and importlib.util.find_spec("atheris") is None:
        print("no atheris here: pip install --group fuzz, or use --plain", file=sys.stderr)
        return 2
    broken = [target for target in options.targets or TARGETS if not _fuzz(target, options)]
    if broken:
        print(f"FAILED: {', '.join(broken)}; see build/fuzz")
    return 1 if broken else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--seed", type=int, default=0, help="0, the default: another each time")
    parser.add_argument("--corpus", type=Path, help="keeps what reached new code")
    parser.add_argument("--plain", action="store_true", help="without atheris")
    options = parser.parse_args()
    unknown = set(options.targets) - set(TARGETS)
    if unknown:
        parser.error(f"no target {min(unknown)!r}; there are {', '.join(TARGETS)}")
    return options


def _fuzz(target: str, options: argparse.Namespace) -> bool:
    """Whether nothing was found, and the engine did its work."""
    found = ROOT / "build" / "fuzz" / target
    found.mkdir(parents=True, exist_ok=True)
    for path in found.iterdir():
        path.unlink()
    command = [sys.executable, "-m", "tests.fuzz.engine", target, "--found", str(found)]
    command += ["--seconds", str(options.seconds), "--seed", str(options.seed)]
    if options.corpus:
        command += ["--corpus", str(options.corpus / target)]
    if options.plain:
        command.append("--plain")
    print(f"{target}: {options.seconds} s", flush=True)
    # atheris names every module that it watches.
    with open(found / "log", "w", encoding="utf-8") as log:
        status = subprocess.run(command, cwd=ROOT, stderr=log).returncode
    inputs = [path for path in sorted(found.iterdir()) if path.name != "log"]
    wrong = [path for path in inputs if _confirmed(target, path)]
    if status:
        print((found / "log").read_text(encoding="utf-8", errors="replace")[-2000:])
    print(f"{target}: {_count(found / 'log')}{len(wrong)} found", flush=True)
    return not (status or wrong)


def _count(log: Path) -> str:
    """What libFuzzer says at its end; empty for --plain, which has said it itself."""
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("stat::number_of_executed_units:"):
            return f"{line.split()[-1]} inputs, "
    return ""


def _confirmed(target: str, path: Path) -> bool:
    """Whether the input breaks something where nothing watches the code; then it gets smaller."""
    command = [sys.executable, "-m", "tests.fuzz.judge", target, str(path)]
    try:
        result = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=_ENDLESS, check=False
        )
    except subprocess.TimeoutExpired:
        print(f"{path}: does not end")
        return True
    if not result.returncode:
        path.unlink()
        return False
    verdict = result.stdout.strip()
    print(f"{path}: {verdict or result.stderr[-500:]}")
    if verdict:
        smaller = minimise(
            path.read_bytes(), lambda data: judge(target, data) == verdict, _MINIMISING
        )
        path.write_bytes(smaller)
    return True


if __name__ == "__main__":
    sys.exit(main())
