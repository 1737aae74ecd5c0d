"""Boots a kernel, runs one command in it, and judges what happened.

A guest counts as having run its command only if it wrote the status file, its last act. All else
is told apart: a guest that died, one whose command did not end in time, and a harness failure.
"""

from __future__ import annotations

import enum
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, BinaryIO

from .host import CHECKOUT, SEARCH_PATH, HarnessError, check_path, find_program, say
from .kernels import Kernel

EXIT_TIMEOUT = 124
EXIT_HARNESS = 125
EXIT_DIED = 126

BOOT_TIMEOUT = 300.0  # seconds; an emulated guest on a busy machine takes up to a minute
POWER_OFF_TIMEOUT = 60.0  # seconds that a guest may take to power off after its command
TAIL_LINES = 40
GUEST_JOB = "/run/ebpf-vm-job"  # where the guest sees the job folder

PROGRAMS = {
    "amd64": ("vng", "qemu-system-x86_64", "modprobe", "udevadm", "ip", "busybox"),
    "arm64": ("vng", "qemu-system-aarch64", "modprobe"),
}


class Verdict(enum.Enum):
    """How a run ended."""

    FINISHED = "finished"  # the command ran; its exit status is known
    TIMEOUT = "timed out"  # the guest was alive, or hung, when the command's time was over
    DIED = "died"  # the guest ended while the command ran
    NO_BOOT = "did not boot"  # the guest ended, or hung, before the command started
    HARNESS = "harness failed"  # the part of the harness inside the guest failed


@dataclass(frozen=True)
class Outcome:
    """The verdict, with the times in seconds and the end of the serial log."""

    verdict: Verdict
    status: int | None = None
    detail: str = ""
    boot_seconds: float = 0.0
    command_seconds: float = 0.0
    serial_tail: str = ""

    @property
    def exit_status(self) -> int:
        """The status that the harness itself exits with for this outcome."""
        if self.verdict is Verdict.FINISHED and self.status is not None:
            return self.status
        if self.verdict is Verdict.TIMEOUT:
            return EXIT_TIMEOUT
        if self.verdict is Verdict.HARNESS:
            return EXIT_HARNESS
        return EXIT_DIED

    def __str__(self) -> str:
        if self.verdict is Verdict.FINISHED:
            return f"command exited with status {self.status}"
        detail = f": {self.detail}" if self.detail else ""
        return f"guest {self.verdict.value}{detail}"


@dataclass(frozen=True)
class Root:
    """The guest's root file system: by default the host's own, copy-on-write.

    Another one is a folder on the host; the checkout is then mounted read-only at ``checkout``.
    """

    folder: Path | None = None
    checkout: Path = CHECKOUT


@dataclass(frozen=True)
class Job:
    """What to run: the command, its additional environment, limits, and the guest's size.

    ``output`` is the host folder that receives what the command leaves in $EBPF_VM_OUTPUT.
    """

    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 1800.0
    output: Path | None = None
    cpus: int = 2
    memory: str = "2G"


def judge(files: Mapping[str, str], expired: bool) -> tuple[Verdict, int | None, str]:
    """Verdict, exit status and detail from the texts of the job's files.

    ``files`` maps ``started``, ``error`` and ``status`` to their texts where they exist;
    ``expired`` says that the host had to stop the guest.
    """
    if "error" in files:
        return Verdict.HARNESS, None, files["error"].strip()
    if "status" in files:
        text = files["status"].strip()
        if not re.fullmatch(r"\d{1,3}", text):
            return Verdict.HARNESS, None, f"the status file holds {text!r}"
        return Verdict.FINISHED, int(text), ""
    if "started" not in files:
        return Verdict.NO_BOOT, None, "it hung" if expired else "it ended"
    if expired:
        return Verdict.TIMEOUT, None, "the command's time was over"
    return Verdict.DIED, None, "it ended before the command did"


def command_script(job: Job, kernel: Kernel, root: Root) -> str:
    """The shell script that becomes the command in the guest."""
    env = {"EBPF_VM": kernel.spec.name, "EBPF_KERNEL_CONFIG": f"{GUEST_JOB}/config", **job.env}
    if root.folder is None:
        # The same file system, so the same programs are found in the same places.
        env.setdefault("PATH", SEARCH_PATH)
    lines = [f"export {name}={shlex.quote(value)}" for name, value in env.items()]
    lines.append(f"cd {shlex.quote(str(root.checkout))} || exit {EXIT_HARNESS}")
    lines.append(f"exec {shlex.join(job.command)}")
    return "\n".join(lines) + "\n"


def vng_command(kernel: Kernel, job: Job, folder: Path, root: Root) -> list[str]:
    """The command line that boots ``kernel`` and runs the job in ``folder``."""
    vng = find_program("vng")
    if vng is None:
        raise HarnessError("vng is missing: pip install virtme-ng")
    # KVM that is there but does not work makes a guest hang without a word.
    command = [vng, "--verbose", "--disable-kvm", "--force-9p", "--user", "root"]
    command += ["--run", str(kernel.image)]
    command += ["--cpus", str(job.cpus), "--memory", job.memory]
    command += [f"--rwdir={GUEST_JOB}={folder}"]
    if root.folder is None:
        command += [f"--overlay-rwdir={path}" for path in overlays(CHECKOUT)]
    else:
        command += ["--arch", kernel.arch, "--root", str(root.folder)]
        command += [f"--rodir={root.checkout}={CHECKOUT}"]
        # vng leaves a foreign root its own modules, and this kernel's are not among them.
        modules = f"lib/modules/{kernel.release}"
        command += [f"--rodir=/{modules}={(kernel.tree / modules).resolve()}"]
    for option in kernel.spec.append:
        command += ["--append", option]
    return [*command, "--exec", f"sh {GUEST_JOB}/init.sh {GUEST_JOB}"]


def overlays(checkout: Path) -> list[Path]:
    """Folders to make writable in the guest (nothing reaches the host): /root and the checkout.

    vng does it for the others named here; an overlay within an overlay is one too many.
    """
    root_home = Path("/root")
    already = [root_home, *map(Path, ("/etc", "/home", "/opt", "/srv", "/usr", "/var", "/tmp"))]
    if any(checkout.is_relative_to(folder) for folder in already):
        return [root_home]
    return [root_home, checkout]


def run(
    kernel: Kernel,
    job: Job,
    sink: BinaryIO,
    *,
    root: Root | None = None,
    verbose: bool = False,
    stop: threading.Event | None = None,
) -> Outcome:
    """Run a job on a kernel; a guest that never got to the command gets a second chance.

    The command's output goes to ``sink`` as it comes, and the serial log to standard error where
    ``verbose``. Setting ``stop`` ends the guest.
    """
    root = root or Root()
    check_path(CHECKOUT, "the checkout's path")
    for attempt in (1, 2):
        outcome = _attempt(kernel, job, sink, root, verbose, stop or threading.Event())
        if outcome.verdict is not Verdict.NO_BOOT or attempt == 2:
            break
        say(f"{kernel.spec.name}: {outcome}; end of its serial log:")
        say(outcome.serial_tail)
        say(f"{kernel.spec.name}: trying once more")
    return outcome


def _attempt(
    kernel: Kernel, job: Job, sink: BinaryIO, root: Root, verbose: bool, stop: threading.Event
) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="ebpf-vm-") as name:
        folder = Path(name)
        check_path(folder, "the folder for temporary files")
        (folder / "output").mkdir()
        (folder / "tmp").mkdir()
        shutil.copy(Path(__file__).with_name("init.sh"), folder)
        shutil.copy(kernel.config, folder / "config")
        (folder / "command.sh").write_text(command_script(job, kernel, root), encoding="utf-8")
        watch = _Watch(kernel.spec.name, folder, job.timeout, stop)
        serial = folder / "serial.log"
        expired = _boot(vng_command(kernel, job, folder, root), watch, serial, sink, verbose)
        if stop.is_set():
            raise HarnessError("interrupted")
        verdict, status, detail = judge(watch.files(), expired)
        if job.output is not None:
            shutil.copytree(folder / "output", job.output, dirs_exist_ok=True)
            shutil.copy(serial, job.output)
        return Outcome(
            verdict, status, detail, watch.boot_seconds, watch.command_seconds, _tail(serial)
        )


def _boot(command: list[str], watch: _Watch, serial: Path, sink: BinaryIO, verbose: bool) -> bool:
    """Start the guest, copy what it prints, and wait; True if it had to be stopped."""
    # vng starts its helper by name, so its own folder has to be in PATH; and what it leaves in
    # TMPDIR when it is killed goes away with the job's folder.
    path = os.pathsep.join([str(Path(command[0]).parent), SEARCH_PATH])
    env = {**os.environ, "PATH": path, "TMPDIR": str(watch.folder / "tmp")}
    with open(serial, "wb") as log:
        process = subprocess.Popen(
            command,
            cwd=CHECKOUT,
            env=env,
            stdin=subprocess.DEVNULL,
            # QEMU opens these by path, several times, and truncates: only a pipe bears that.
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        copies = [
            _copier(process.stdout, [sink]),
            _copier(process.stderr, [log, _stderr()] if verbose else [log]),
        ]
        try:
            expired = watch.wait(process)
        finally:
            _end(process)
            for copy in copies:
                copy.join()
    return expired


def _stderr() -> BinaryIO:
    return open(2, "wb", buffering=0, closefd=False)


def _copier(source: IO[bytes], targets: Sequence[BinaryIO]) -> threading.Thread:
    """A running thread that copies ``source`` to all targets until it ends."""

    def copy() -> None:
        with source:
            while data := os.read(source.fileno(), 65536):
                for target in targets:
                    target.write(data)
                    target.flush()

    thread = threading.Thread(target=copy, daemon=True)
    thread.start()
    return thread


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a guest and all its helpers, unless they ended by themselves."""
    if process.poll() == 0:
        return
    for number, patience in ((signal.SIGTERM, 5.0), (signal.SIGKILL, None)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


class _Watch:
    """Waits for a guest, each phase with its own limit: boot, command, power off."""

    def __init__(self, name: str, folder: Path, timeout: float, stop: threading.Event) -> None:
        self.name = name
        self.folder = folder
        self.timeout = timeout
        self.stop = stop
        self.boot_seconds = 0.0
        self.command_seconds = 0.0

    def files(self) -> dict[str, str]:
        """The texts of the files by which the guest reports."""
        return {
            name: path.read_text(encoding="utf-8", errors="replace")
            for name in ("started", "error", "status")
            if (path := self.folder / name).exists()
        }

    def wait(self, process: subprocess.Popen[bytes]) -> bool:
        """Wait until the guest ends; True if a limit passed (or ``stop`` was set) before."""
        started, self.boot_seconds = self._phase(process, BOOT_TIMEOUT, "started")
        if not started:
            return process.poll() is None
        say(f"{self.name}: up after {self.boot_seconds:.0f} s")
        finished, self.command_seconds = self._phase(process, self.timeout, "status")
        if not finished:
            return process.poll() is None
        if not self._phase(process, POWER_OFF_TIMEOUT, None)[0]:
            say(f"{self.name}: the guest did not power off after its command")
        return False

    def _phase(
        self, process: subprocess.Popen[bytes], limit: float, sign: str | None
    ) -> tuple[bool, float]:
        """Wait for the file ``sign``, or for the guest's end if None; did it come, and seconds."""
        begin = time.monotonic()
        while True:
            # In this order: a guest that has ended writes no more files.
            ended = process.poll() is not None
            reached = ended if sign is None else (self.folder / sign).exists()
            elapsed = time.monotonic() - begin
            if reached or ended or elapsed > limit or self.stop.is_set():
                return reached, elapsed
            time.sleep(0.1)


def _tail(serial: Path) -> str:
    """The last lines of a serial log, without carriage returns and terminal control."""
    text = serial.read_bytes()[-65536:].decode("utf-8", errors="replace")
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.replace("\r", ""))
    lines = text.rstrip().splitlines()[-TAIL_LINES:]
    return "\n".join(lines) if lines else "(the guest printed nothing)"
