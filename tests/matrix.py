"""The kernel tests on several kernels, and the table of what works where.

    python -m tests.matrix [--write] [KERNEL ...]      run in VMs ("all", or 5.10 6.1 6.12 7.x)
    python -m tests.matrix --keep DIRECTORY KERNEL     some kernels or tests (--tests) now, the
                                                       others later
    python -m tests.matrix --keep DIRECTORY --tests PATH ... --missing
                                                       some tests, and what has worked nowhere yet:
                                                       on the newest kernel, then on the others
    python -m tests.matrix --keep DIRECTORY --again     what failed in the results that are there,
                                                       at the present commit

Each test on each kernel works, or is too old for it (with the release that has the feature), not
built (with the option), or refused (as a C program is). The exit status is 1 when a test failed
on a kernel, when a VM did not end well, and when a test works on no kernel.

--write puts the table into docs/kernels.md, with the kernels' releases and the commit at which each
file was run, and that of the hooks into docs/attachments.md; where a kernel has no results, both
stay as they are.

When all kernels have run all tests, no file may have fewer that work on a kernel than the last
docs/kernels.md says: the exit status is then 1, and nothing is written, unless --accept-fewer says
that it is meant.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.vm.kernels import KERNELS

CHECKOUT = Path(__file__).resolve().parents[1]
DOCUMENT = CHECKOUT / "docs" / "kernels.md"
ATTACHMENTS = CHECKOUT / "docs" / "attachments.md"

# The test whose parameters are the hooks, and the one that kills the process.
HOOKS = "tests/kernel/links/test_hooks.py::test_the_program_runs_while_it_is_attached"
KILLED = "tests/kernel/links/test_hooks.py::test_the_attachment_is_gone_after_sigkill"

# All kernel tests.
WHOLE = ["tests/kernel"]

# A guest is emulated: Python runs ten to twenty-five times slower there.
TIMEOUT = 7200

Results = dict[str, dict[str, str]]  # kernel -> test -> outcome


Selections = dict[str, list[str]]  # kernel -> what to give to pytest
Counts = dict[str, dict[str, int]]  # kernel -> file -> tests
Commits = dict[str, list[str]]  # file -> at which its results were made


def run_in_vms(selections: Selections, output: Path) -> int:
    """The harness's exit status; results are left in folders below `output`."""
    # Compiling takes half a minute in a guest, which finds here what was compiled before.
    for maker in ("tests.objects", "tests.binaries", "tests.kernel.conformance.libbpf"):
        subprocess.run([sys.executable, "-m", maker], cwd=CHECKOUT, stdout=subprocess.DEVNULL)
    command = [sys.executable, "-m", "tests.vm", "--timeout", str(TIMEOUT)]
    command += ["--output", str(output)]
    for kernel in selections:
        command += ["--kernel", kernel]
    pytest = shlex.join([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"])
    with tempfile.TemporaryDirectory() as chosen:
        for kernel, tests in selections.items():
            Path(chosen, kernel).write_text("\n".join(tests) + "\n", encoding="utf-8")
        shell = ["sh", "-c", f'exec {pytest} "@{chosen}/$EBPF_VM"']
        return subprocess.run([*command, "--", *shell], cwd=CHECKOUT).returncode


def load(directory: Path) -> Results:
    """The results that the test runs left below `directory`, the oldest kernel first."""
    found: Results = {}
    for path in directory.rglob("results-*.json"):
        result = json.loads(path.read_text(encoding="utf-8"))
        machine = "" if result["machine"] == "x86_64" else f" {result['machine']}"
        found[result["kernel"] + machine] = result["outcomes"]
    return dict(sorted(found.items(), key=lambda item: release_key(item[0])))


def release_key(release: str) -> tuple[int, ...]:
    numbers = release.split("-")[0].split("+")[0].split(".")
    return tuple(int(number) for number in numbers if number.isdigit())


def works_nowhere(results: Results) -> list[str]:
    """Tests that were run and work on none of the kernels."""
    tests = {test for outcomes in results.values() for test in outcomes}
    return sorted(
        test
        for test in tests
        if not any(outcomes.get(test) == "works" for outcomes in results.values())
    )


def missing(results: Results, selection: list[str]) -> list[str]:
    """What works in none of the results, beyond the tests below the paths of `selection`."""
    return [test for test in works_nowhere(results) if not test.startswith(tuple(selection))]


def failures(results: Results) -> list[str]:
    return [
        f"{kernel}: {test}"
        for kernel, outcomes in results.items()
        for test, outcome in outcomes.items()
        if outcome == "failed"
    ]


def table(results: Results, commits: Commits | None = None) -> str:
    """A Markdown table: a row for each test file, and one for each test that differs.

    With `commits`, these are the last column.
    """
    kernels = list(results)
    columns = [*kernels, "commit"] if commits is not None else kernels
    lines = ["| test | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    tests = sorted({test for outcomes in results.values() for test in outcomes})
    files: dict[str, list[str]] = {}
    for test in tests:
        files.setdefault(test.split("::")[0], []).append(test)
    for file, members in files.items():
        counts = [Counter(results[kernel].get(test, "not run") for test in members)
                  for kernel in kernels]  # fmt: skip
        cells = [f"{count['works']} of {sum(count.values())}" for count in counts]
        if commits is not None:
            cells.append(", ".join(commits.get(file, [])))
        lines.append(f"| **{file.removeprefix('tests/kernel/')}** | " + " | ".join(cells) + " |")
        for test in members:
            outcomes = [results[kernel].get(test, "not run") for kernel in kernels]
            if set(outcomes) != {"works"}:
                name = test.split("::", 1)[1].replace("|", "\\|")
                blank = [""] if commits is not None else []
                lines.append(f"| {name} | " + " | ".join([*outcomes, *blank]) + " |")
    return "\n".join(lines) + "\n"


def hook_table(results: Results) -> str:
    """A Markdown table: what came of each hook, as the last word of both of its tests."""
    kernels = list(results)
    lines = ["| hook | " + " | ".join(kernels) + " |", "|---|" + "---|" * len(kernels)]
    tests = {test: None for outcomes in results.values() for test in outcomes}
    for test in tests:
        if not test.startswith(f"{HOOKS}["):
            continue
        hook = test[len(HOOKS) + 1 : -1]
        cells = []
        for outcomes in results.values():
            found = [outcomes.get(f"{name}[{hook}]", "not run") for name in (HOOKS, KILLED)]
            cells.append(found[0] if found[0] != "works" else found[1])
        lines.append(f"| {hook} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def attachments(results: Results) -> str:
    """docs/attachments.md: its text stays, the table in it is replaced."""
    text = ATTACHMENTS.read_text(encoding="utf-8")
    head, _, rest = text.partition("| hook |")
    tail = re.sub(r"\A(.*\n)(\|.*\n)*", "", rest)
    return head + hook_table(results) + tail


def document(results: Results, commits: Commits) -> str:
    there = {test.split("::")[0] for outcomes in results.values() for test in outcomes}
    left = sorted(set(test_files()) - there)
    names = ", ".join(file.removeprefix("tests/kernel/") for file in left)
    return (
        "# The kernels that this library is tested on\n\n"
        "Written by `python -m tests.matrix --write` (`make test-kernels`). A row in bold counts"
        " the tests of a file that work, and has the commits at which they were run; below it"
        " stands each test that does not work everywhere, and why: too old (the release that has"
        " the feature), not built (the kernel's option), or refused (as a C program that does the"
        f" same is).{f' Not run: {names}.' if left else ''}\n\n" + table(results, commits)
    )


def test_files() -> list[str]:
    found = (CHECKOUT / "tests" / "kernel").rglob("test_*.py")
    return [str(path.relative_to(CHECKOUT)) for path in found]


def still_there(results: Results) -> Results:
    """`results` without those of tests that were removed or renamed since."""
    sources = {file: (CHECKOUT / file).read_text(encoding="utf-8") for file in test_files()}

    def there(test: str) -> bool:
        file, *_, name = test.partition("[")[0].split("::")
        return f"def {name}(" in sources.get(file, "")

    return {
        kernel: {test: outcome for test, outcome in outcomes.items() if there(test)}
        for kernel, outcomes in results.items()
    }


def contradictions(results: Results) -> list[str]:
    """Tests that are too old for one kernel and do not work on another that is new enough."""
    found = []
    for kernel, outcomes in results.items():
        for test, outcome in outcomes.items():
            match = re.fullmatch(r"too old \((\d+)\.(\d+)\)", outcome)
            if match is None:
                continue
            needed = (int(match[1]), int(match[2]))
            for other, others in results.items():
                later = others.get(test, "not run")
                if release_key(other)[:2] >= needed and later.startswith("too old"):
                    found.append(f"{test}: {outcome} on {kernel}, but {later} on {other}")
    return found


def recorded(text: str) -> Counts:
    """How many tests of each file worked when docs/kernels.md, `text`, was written."""
    rows = [
        [cell.strip() for cell in line.removeprefix("|").removesuffix("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    kernels = rows[0][1:-1] if rows else []
    counts: Counts = {kernel: {} for kernel in kernels}
    for name, *cells in rows:
        if name.startswith("**"):
            for kernel, cell in zip(kernels, cells[:-1], strict=True):
                counts[kernel][f"tests/kernel/{name.strip('*')}"] = int(cell.split(" of ")[0])
    return counts


def line_of(release: str) -> str:
    """The kernel of KERNELS that a release is one of, else its first two numbers; the machine."""
    numbers = ".".join(release.split("-")[0].split("+")[0].split(".")[:2])
    names = [name for name in KERNELS if fits(name, release)]
    return " ".join([*(names or [numbers]), *release.split(" ")[1:]])


def fewer(results: Results, before: Counts) -> list[str]:
    """Files of which fewer tests work on a kernel than did `before`, and none says why.

    A test that failed says it by itself. A file that is gone was deleted or renamed.
    """
    earlier = {line_of(kernel): (kernel, files) for kernel, files in before.items()}
    found = []
    for kernel, outcomes in results.items():
        then, files = earlier.get(line_of(kernel), ("", {}))
        kept = ("works", "failed")
        now = Counter(test.split("::")[0] for test in outcomes if outcomes[test] in kept)
        found += [
            f"{file} on {kernel}: {now[file]}, were {count} on {then}"
            for file, count in files.items()
            if now[file] < count and (CHECKOUT / file).exists()
        ]
    return found


def lost(results: Results, selection: list[str]) -> list[str]:
    """`fewer` than docs/kernels.md says; nothing where not all kernels ran all tests."""
    complete = {line_of(kernel) for kernel in results} >= set(KERNELS) and selection == WHOLE
    if not complete or not DOCUMENT.exists():
        return []
    return fewer(results, recorded(DOCUMENT.read_text(encoding="utf-8")))


def write(results: Results, known: Commits) -> None:
    """Put the tables of all kernels into docs/, and say so; those of some would pass for all."""
    there = {line_of(kernel) for kernel in results}
    absent = [name for name in KERNELS if name not in there]
    if absent:
        print(f"docs/kernels.md stays as it is: there are no results of {', '.join(absent)}")
        return
    DOCUMENT.write_text(document(results, known), encoding="utf-8")
    ATTACHMENTS.write_text(attachments(results), encoding="utf-8")
    print("written: docs/kernels.md, and the table in docs/attachments.md")


def judge(results: Results, gone: list[str] | None = None) -> int:
    """Print the table and what is wrong with it; the exit status. `gone` is of `lost`."""
    print(table(results))
    nowhere = works_nowhere(results)
    for contradiction in contradictions(results):
        print(f"the release is wrong: {contradiction}")
        nowhere = [*nowhere, contradiction]
    for test in nowhere:
        print(f"works on no kernel: {test}")
    failed = failures(results)
    for failure in failed:
        print(f"failed on {failure}")
    for one in gone or []:
        print(f"fewer tests work: {one}")
    if gone:
        print("--accept-fewer where that is meant; until then docs/kernels.md stays as it is")
    if not results:
        print("no results at all")
    return 1 if nowhere or failed or gone or not results else 0


def run(selections: Selections, kept: Path, again: bool = False) -> int:
    """Run the tests on the kernels; the exit status. `kept` then has the results as well."""
    with tempfile.TemporaryDirectory() as scratch:
        status = run_in_vms(selections, Path(scratch))
        made = keep(Path(scratch), kept, again)
    if len(made) < len(selections):
        print(f"results of {', '.join(made) or 'no kernel'} only: some run left none")
        status = 1
    return status


def run_here(selection: list[str], kept: Path) -> int:
    """Run the tests on this machine's kernel; the exit status."""
    with tempfile.TemporaryDirectory() as scratch:
        host = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *selection]
        results_here = {**os.environ, "EBPF_TEST_RESULTS": scratch}
        status = subprocess.run(host, cwd=CHECKOUT, env=results_here).returncode
        keep(Path(scratch), kept)
    return status


def keep(made: Path, kept: Path, again: bool = False) -> Results:
    """Add results to those that are kept; what was added. A test that ran again has a new one.

    With `again`, they are of single tests: others of their files are of an earlier commit.
    """
    for path in made.rglob("results-*.json"):
        result = json.loads(path.read_text(encoding="utf-8"))
        there = kept / path.name
        if there.exists():
            before = json.loads(there.read_text(encoding="utf-8"))
            result["outcomes"] = {**before["outcomes"], **result["outcomes"]}
        there.write_text(json.dumps(result, indent=1), encoding="utf-8")
    found = load(made)
    known, now = commits(kept), head()
    for file in {test.split("::")[0] for outcomes in found.values() for test in outcomes}:
        earlier = [commit for commit in known.get(file, []) if commit != now]
        known[file] = [*earlier, now] if again else [now]
    (kept / "commits.json").write_text(json.dumps(known, indent=1), encoding="utf-8")
    return found


def commits(kept: Path) -> Commits:
    """At which commits the results of each file were made."""
    file = kept / "commits.json"
    known: Commits = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return known


def run_all(kernels: list[str], selection: list[str], kept: Path, also_missing: bool) -> int:
    """Run the tests on the kernels, and here where that has not been done; the exit status.

    With `also_missing` the newest kernel has to show what works on no other, and what does not
    work there either has to work on one of the rest.
    """
    chosen = [kernel for kernel in KERNELS if kernel in kernels or "all" in kernels]
    selections = {kernel: list(selection) for kernel in chosen}
    if also_missing:
        selections[chosen[-1]] += missing(load(kept), selection)
    status = run(selections, kept)
    here = load(kept).get(platform.release(), {})
    if os.geteuid() == 0 and not any(test.startswith(tuple(selection)) for test in here):
        status |= run_here(selection, kept)
    left = works_nowhere(load(kept))
    if also_missing and left and len(chosen) > 1:
        status |= run(dict.fromkeys(chosen[:-1], left), kept)
    return status


def head() -> str:
    command = ["git", "rev-parse", "--short=12", "HEAD"]
    return subprocess.check_output(command, cwd=CHECKOUT, text=True).strip()


def run_again(kept: Path) -> int:
    """Run in VMs what failed there; the exit status."""
    failed: Selections = {}
    for release, outcomes in load(kept).items():
        tests = [test for test, outcome in outcomes.items() if outcome == "failed"]
        names = [name for name in KERNELS if fits(name, release)]
        if tests and names:
            failed[names[0]] = tests
    return run(failed, kept, again=True) if failed else 0


def fits(name: str, release: str) -> bool:
    """Whether a kernel of KERNELS ("6.12", "7.x") has this release."""
    wanted = name.removesuffix(".x").split(".")
    return release.split("-")[0].split("+")[0].split(".")[: len(wanted)] == wanted


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    parser.add_argument("kernels", nargs="*", default=["all"], metavar="KERNEL")
    parser.add_argument("--write", action="store_true", help="write docs/kernels.md")
    parser.add_argument(
        "--keep", type=Path, metavar="DIRECTORY", help="where results stay, and others may be"
    )
    parser.add_argument("--again", action="store_true", help="only what failed in VMs")
    parser.add_argument("--tests", nargs="+", default=WHOLE, metavar="PATH")
    parser.add_argument(
        "--missing", action="store_true", help="and what works in no result that is there"
    )
    parser.add_argument(
        "--accept-fewer", action="store_true", help="than docs/kernels.md says work, in a file"
    )
    options = parser.parse_args()
    if unknown := set(options.kernels) - {*KERNELS, "all"}:
        parser.error(f"no kernel is called {', '.join(unknown)}: there are {', '.join(KERNELS)}")
    with tempfile.TemporaryDirectory() as scratch:
        kept: Path = options.keep or Path(scratch)
        kept.mkdir(parents=True, exist_ok=True)
        if options.again:
            status = run_again(kept)
        else:
            status = run_all(options.kernels, options.tests, kept, options.missing)
        results, known = still_there(load(kept)), commits(kept)
    gone = [] if options.accept_fewer else lost(results, options.tests)
    status |= judge(results, gone)
    if options.write and not gone:
        write(results, known)
    return 1 if status else 0


if __name__ == "__main__":
    sys.exit(main())
