"""The guard of files, in a VM alone: what it attaches could deny files to the whole machine."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from ebpf import AttachType, Program, ProgramType
from ebpf.asm import call
from tests.kernel.examples.support import run, running
from tests.kernel.links.hooks import BPF_LSM
from tests.kernel.samples import PASS


def reads(program: Path, *paths: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *paths], capture_output=True, text=True)


@BPF_LSM[0]
@BPF_LSM[1]
@BPF_LSM[2]
def test_file_guard_denies_some_files_to_some_programs(tmp_path: Path) -> None:
    """Another program or file is denied, another name gets around it, or it goes on afterwards."""
    # Refused here where LSM programs are refused, and too old where it lacks what it asks for.
    Program.load(
        ProgramType.LSM,
        [call("get_current_task_btf"), *PASS],
        license="GPL",
        attach_type=AttachType.LSM_MAC,
        attach_to="file_open",
    ).close()
    found = shutil.which("cat")
    assert found is not None
    guarded, other = tmp_path / "guarded" / "cat", tmp_path / "other" / "cat"
    for program in (guarded, other):
        program.parent.mkdir()
        shutil.copy(found, program)
    secret, public, link = (tmp_path / name for name in ("secret", "public", "link"))
    secret.write_text("secret")
    public.write_text("public")
    link.hardlink_to(secret)
    given = ("--file", str(secret), "--program", str(guarded))
    with running("file_guard", *given, ready="tracing") as output:
        assert reads(other, secret).stdout == "secret"
        assert secret.read_text() == "secret"
        done = reads(guarded, public, secret, link)
        assert done.stdout == "public"
        assert done.stderr.count("Operation not permitted") == 2
    assert reads(guarded, secret).stdout == "secret"
    titles, *rows = [line.split()[1:] for line in output.text.splitlines()]
    assert titles == ["PID", "UID", "NAME", "DENIED"]
    assert [row[1:] for row in rows] == [["0", "cat", str(secret)]] * 2
    assert len({row[0] for row in rows}) == 1


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """The error is a traceback, or the guard begins without the file."""
    missing = str(tmp_path / "missing")
    assert missing in run("file_guard", "--file", missing, "--program", "cat", status=1)
    assert "no program" in run("file_guard", "--file", "/", "--program", missing, status=2)
