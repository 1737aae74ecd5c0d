"""fentry, fexit, fmod_ret, fsession, tp_btf, LSM and freplace: what they see and change."""

from __future__ import annotations

import errno
import os
import subprocess
from typing import Any

import pytest

from ebpf import (
    AttachType,
    BpfError,
    BpfFileNotFoundError,
    CollectionSpec,
    Program,
    ProgramType,
)
from ebpf.asm import R0, R6, R7, Label, call, exit_, jne, ldxdw, ldxw, mov, rsh
from ebpf.errors import BpfPermissionError
from tests.kernel import environment
from tests.kernel.examples.support import TRUE
from tests.kernel.links.hooks import (
    FENTRY,
    FMOD_RET,
    FREPLACE,
    cgroup,
    inside_cgroup,
    remove_cgroups,
    sleepable_lsm,
)
from tests.kernel.samples import (
    ATTACH_COOKIE,
    CLONE,
    CLONED,
    PASS,
    keep,
    load,
    per_process,
    start_threads,
)
from tests.objects import compiled


def tracing(attach_type: AttachType, name: str, insns: list[Any]) -> Program:
    return Program.load(
        ProgramType.TRACING, insns, license="GPL", attach_type=attach_type, attach_to=name
    )


def only_this_process(insns: list[Any]) -> list[Any]:
    """`insns` in this process; any other goes on as if there were no program."""
    return [
        call("get_current_pid_tgid"),
        rsh(R0, 32),
        jne(R0, os.getpid(), "others"),
        *insns,
        exit_(),
        Label("others"),
        *PASS,
    ]


@FENTRY
def test_fexit_sees_what_the_function_returned() -> None:
    """The return value is behind the arguments; kernel_clone has one of them."""
    with per_process() as kept:
        insns = keep(kept, [ldxdw(R7, R6 + 8)])
        with tracing(AttachType.TRACE_FEXIT, CLONE, insns) as program, program.attach_tracing():
            (child,) = start_threads()
        assert kept[os.getpid()] == child


@FMOD_RET[0]
@FMOD_RET[1]
def test_fmod_ret_makes_the_function_return_something_else() -> None:
    """The program is attached after the function, or what it returns is dropped."""
    refused = only_this_process([mov(R0, -errno.EPERM)])
    with tracing(AttachType.MODIFY_RETURN, "security_task_setnice", refused) as program:
        os.nice(0)
        with program.attach_tracing(), pytest.raises(PermissionError):
            os.nice(0)
        os.nice(0)


@FENTRY
@pytest.mark.parametrize("hook", [AttachType.TRACE_FENTRY, AttachType.TRACE_FEXIT])
def test_the_program_sees_its_cookie(hook: AttachType) -> None:
    """One program text at several functions could not tell them apart (5.19)."""
    with per_process() as kept:
        if environment.kernel_version() < (5, 19):
            with tracing(hook, CLONE, PASS) as plain:
                plain.attach_tracing(cookie=1)
        with tracing(hook, CLONE, keep(kept, ATTACH_COOKIE)) as program:
            with program.attach_tracing(cookie=6) as link:
                start_threads()
            assert link.target == f"{hook.name.removeprefix('TRACE_').lower()} {CLONE}"
        assert kept[os.getpid()] == 6


def test_the_cookie_of_a_tracepoint_with_types() -> None:
    """Before 6.10 the kernel would drop it without a word."""
    with per_process() as kept:
        if environment.kernel_version() < (6, 10):
            with tracing(AttachType.TRACE_RAW_TP, CLONED[1], PASS) as plain:
                plain.attach_tracing(cookie=1)
        insns = keep(kept, ATTACH_COOKIE)
        with (
            tracing(AttachType.TRACE_RAW_TP, CLONED[1], insns) as program,
            program.attach_tracing(cookie=6),
        ):
            start_threads()
        assert kept[os.getpid()] == 6


def test_a_tracepoint_program_reads_fields_of_its_arguments() -> None:
    """It has pointers with types: the child is the second argument."""
    from ebpf.kernel_btf import kernel_btf

    offset = kernel_btf().find_struct("task_struct").offsetof("pid")
    with per_process() as kept:
        insns = keep(kept, [ldxdw(R7, R6 + 8), ldxw(R7, R7 + offset)])
        with (
            tracing(AttachType.TRACE_RAW_TP, CLONED[1], insns) as program,
            program.attach_tracing(),
        ):
            (child,) = start_threads()
        assert kept[os.getpid()] == child


def test_a_cookie_takes_the_hook_where_it_is_not_known() -> None:
    """A program that was opened does not say what it was loaded for."""
    with (
        tracing(AttachType.TRACE_RAW_TP, CLONED[1], PASS) as program,
        Program.from_id(program.info().id) as opened,
    ):
        with pytest.raises(TypeError, match="attach_type: a cookie takes"):
            opened.attach_tracing(cookie=1)
        opened.attach_tracing().close()
        opened.attach_tracing(cookie=1, attach_type=AttachType.TRACE_RAW_TP).close()


@FENTRY
def test_an_iterator_is_attached_to_no_function() -> None:
    """The kernel says EINVAL, and not that the program is for something else."""
    with tracing(AttachType.TRACE_ITER, "task", PASS) as program:
        refused = first_refusal(program)
        if isinstance(refused, BpfPermissionError):
            raise refused
        assert "loaded for no hook of this kind" in str(refused)


def first_refusal(program: Program) -> BpfError:
    with pytest.raises(BpfError) as caught:
        program.attach_tracing()
    return caught.value


def test_a_program_of_another_type_says_so() -> None:
    """EINVAL may be anything."""
    with load(ProgramType.SOCKET_FILTER, PASS, "wrong") as program:
        for attach, types in (
            (program.attach_tracing, "TRACING"),
            (program.attach_freplace, "EXT"),
            (lambda: program.attach_tracing_multi([CLONE]), "TRACING"),
        ):
            with pytest.raises(BpfError, match=rf"'wrong'.*\(SOCKET_FILTER\); it takes {types}"):
                attach()


# ---- several functions ----------------------------------------------------------------------


def load_multi(insns: list[Any]) -> Program:
    return Program.load(
        ProgramType.TRACING, insns, license="GPL", attach_type=AttachType.TRACE_FENTRY_MULTI
    )


@FENTRY
def test_a_cookie_for_each_of_several_functions() -> None:
    """The program could not tell which function it is at (7.2)."""
    with per_process() as kept, load_multi(keep(kept, ATTACH_COOKIE)) as program:
        with program.attach_tracing_multi([CLONE], cookies={CLONE: 4}):
            start_threads()
        assert kept[os.getpid()] == 4
        # copy_process() comes last.
        cookies = {CLONE: 4, "copy_process": 3}
        with program.attach_tracing_multi([CLONE, CLONE, "copy_process"], cookies=cookies):
            start_threads()
        assert kept[os.getpid()] == 3
        with Program.from_id(program.info().id) as opened:
            opened.attach_tracing_multi([CLONE], attach_type=AttachType.TRACE_FENTRY_MULTI)
        with pytest.raises(BpfFileNotFoundError, match="no kernel function kernel_clnoe"):
            program.attach_tracing_multi([CLONE, "kernel_clnoe"])
        with pytest.raises(ValueError, match="2 for 1 places"):
            program.attach_tracing_multi([CLONE], cookies=[1, 2])


def test_several_functions_by_their_numbers_or_names() -> None:
    """Something else would be attached."""
    with tracing(AttachType.TRACE_RAW_TP, CLONED[1], PASS) as program:
        with pytest.raises(TypeError, match="either symbols or btf_ids"):
            program.attach_tracing_multi()
        with pytest.raises(ValueError, match="nothing to attach to"):
            program.attach_tracing_multi([])
        with pytest.raises(TypeError, match="is to be loaded for one of TRACE_FENTRY_MULTI"):
            program.attach_tracing_multi(btf_ids=[1])


# ---- LSM ------------------------------------------------------------------------------------


def lsm(insns: list[Any], attach_type: AttachType = AttachType.LSM_MAC) -> Program:
    return Program.load(
        ProgramType.LSM, insns, license="GPL", attach_type=attach_type, attach_to="task_setnice"
    )


@pytest.mark.needs_config("CONFIG_BPF_LSM")
@pytest.mark.refused_like("lsm.c")
@pytest.mark.in_vm
def test_an_lsm_program_denies() -> None:
    """What it returns is dropped, or it denies when it is gone."""
    with lsm(only_this_process([mov(R0, -errno.EPERM)])) as program:
        with program.attach_lsm(), pytest.raises(PermissionError):
            os.nice(0)
        os.nice(0)


@pytest.mark.needs_config("CONFIG_BPF_LSM")
@pytest.mark.refused_like("lsm.c")
@pytest.mark.in_vm
def test_an_lsm_program_denies_in_one_cgroup() -> None:
    """Processes outside are judged as well, or those inside are not (6.0)."""
    made = cgroup()
    deny = [mov(R0, 0), exit_()]
    try:
        with lsm(deny, AttachType.LSM_CGROUP) as program:
            with pytest.raises(BpfFileNotFoundError, match="open the cgroup /no/such"):
                program.attach_lsm_cgroup("/no/such")
            with pytest.raises(BpfError, match="/tmp is no cgroup v2 directory"):
                program.attach_lsm_cgroup("/tmp")
            with program.attach_lsm_cgroup(made):
                os.nice(0)
                with inside_cgroup(), pytest.raises(PermissionError):
                    os.nice(0)
            with inside_cgroup():
                os.nice(0)
    finally:
        remove_cgroups()


# ---- freplace -------------------------------------------------------------------------------


@FREPLACE
def test_a_program_takes_a_functions_place() -> None:
    """The original runs on, or does not come back."""
    spec = CollectionSpec.from_file(compiled("replacement"))
    packet = bytes(64)
    with spec.load() as original:
        target = original.programs["calls_number"]
        spec.select("other_number")
        with spec.load(targets={"other_number": target}) as objects:
            replacing = objects.programs["other_number"]
            assert target.test_run(packet).return_value == 1
            with replacing.attach():
                assert target.test_run(packet).return_value == 2
                with pytest.raises(BpfError):
                    replacing.attach_freplace()
            assert target.test_run(packet).return_value == 1
            with spec_again() as second:
                other = second.programs["calls_number"]
                with replacing.attach_freplace(other, "number"):
                    assert other.test_run(packet).return_value == 2
                    assert target.test_run(packet).return_value == 1
                with pytest.raises(BpfFileNotFoundError, match=r"no function nomber.*: number"):
                    replacing.attach_freplace(other, "nomber")
                with pytest.raises(TypeError, match="target and function go together"):
                    replacing.attach_freplace(other)


def spec_again() -> Any:
    return CollectionSpec.from_file(compiled("replacement")).load()


@pytest.mark.needs_config("CONFIG_BPF_LSM")
@pytest.mark.refused_like("lsm.c")
@pytest.mark.in_vm
def test_a_sleepable_lsm_program() -> None:
    """At the hook that may sleep on every kernel, which each exec passes."""
    with per_process() as counts, sleepable_lsm("bprm_committed_creds")(counts) as program:
        with program.attach_lsm(), subprocess.Popen([TRUE]) as process:
            assert process.wait() == 0
        assert counts.lookup(process.pid) == 1
