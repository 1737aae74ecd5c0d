"""Programs whose target the kernel wants to know when they are loaded, named by the target."""

from __future__ import annotations

import os

import pytest

from ebpf import (
    AttachType,
    BpfFileNotFoundError,
    BpfPermissionError,
    Program,
    ProgramType,
    features,
)
from ebpf.btf import Kind
from ebpf.kernel_btf import kernel_btf
from ebpf.programs.load import Target
from ebpf.programs.target import find_target
from tests.kernel.samples import PASS

# Attach type -> a hook of every kernel, the type that stands for it, a name near to it.
HOOKS = {
    AttachType.TRACE_RAW_TP: ("sched_process_fork", "btf_trace_sched_process_fork", "shced"),
    AttachType.TRACE_ITER: ("task", "bpf_iter_task", "taks"),
}


@pytest.mark.parametrize("hook", HOOKS)
def test_the_target_is_found_by_its_name(hook: AttachType) -> None:
    """The program was verified for another hook, or for none."""
    name, stands_for, _ = HOOKS[hook]
    with Program.load(
        ProgramType.TRACING, PASS, license="GPL", attach_type=hook, attach_to=name
    ) as program:
        assert program.attach_type is hook
        kind = Kind.TYPEDEF if hook == AttachType.TRACE_RAW_TP else Kind.FUNC
        # The kernel reports the id since 6.0.
        assert attach_btf_id(program) in (0, kernel_btf().find(stands_for, kind).id)


def attach_btf_id(program: Program) -> int:
    from ebpf._sys import bpf

    return int(bpf.prog_info(program.fileno())["attach_btf_id"])


@pytest.mark.parametrize("hook", HOOKS)
def test_a_target_that_is_not_there_has_its_neighbours_named(hook: AttachType) -> None:
    """The kernel would say EINVAL to the id 0."""
    name, _, near = HOOKS[hook]
    with pytest.raises(BpfFileNotFoundError, match=rf"no (tracepoint|iterator) {near}.*") as caught:
        Program.load(ProgramType.TRACING, PASS, attach_type=hook, attach_to=near)
    if hook == AttachType.TRACE_ITER:
        assert name in str(caught.value)


def test_a_module_that_is_not_there_is_named() -> None:
    """A function of that name in the kernel would be traced instead."""
    with pytest.raises(BpfFileNotFoundError, match=r"do_nanosleep in the BTF of no_such_module"):
        Program.load(
            ProgramType.TRACING,
            PASS,
            attach_type=AttachType.TRACE_FENTRY,
            attach_to="no_such_module:do_nanosleep",
        )
    with pytest.raises(BpfFileNotFoundError, match=r"no_such_function in the BTF of vmlinux"):
        find_target(AttachType.TRACE_FENTRY, "vmlinux:no_such_function", None)


def test_a_function_of_a_module_comes_with_the_modules_types(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its number would mean another function in the kernel's own; or a descriptor stays open."""
    types = os.open("/dev/null", os.O_RDONLY)
    monkeypatch.setattr("ebpf.kernel_btf.module_names", lambda: ["one"])
    monkeypatch.setattr("ebpf.kernel_btf.module_with", lambda name, kind, among: ("one", 77))
    monkeypatch.setattr("ebpf.kernel_btf.module_descriptors", lambda names: {"one": types})
    with Target(AttachType.TRACE_FENTRY, "no_such_function", 0, None, None) as fields:
        assert fields == {"attach_btf_id": 77, "attach_prog_fd": types}
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(types)


def test_a_function_that_is_not_there_has_its_neighbours_named() -> None:
    """Functions are inlined and renamed from release to release."""
    with pytest.raises(
        BpfFileNotFoundError, match=r"no kernel function do_nanosleeb.*do_nanosleep"
    ):
        Program.load(
            ProgramType.TRACING,
            PASS,
            attach_type=AttachType.TRACE_FENTRY,
            attach_to="do_nanosleeb",
        )


def test_a_target_goes_with_a_hook_that_has_targets() -> None:
    """The name would be ignored."""
    with pytest.raises(TypeError, match="attach_to: goes with attach_program, or with"):
        Program.load(ProgramType.KPROBE, PASS, attach_to="do_nanosleep")
    with pytest.raises(TypeError, match="attach_to: a name, or attach_btf_id"):
        Program.load(
            ProgramType.TRACING,
            PASS,
            attach_type=AttachType.TRACE_FENTRY,
            attach_to="do_nanosleep",
            attach_btf_id=1,
        )


@pytest.mark.parametrize(
    ("type", "hook", "what"),
    [
        (ProgramType.TRACING, AttachType.TRACE_FENTRY, "kernel function"),
        (ProgramType.TRACING, AttachType.TRACE_RAW_TP, "tracepoint"),
        (ProgramType.LSM, AttachType.LSM_MAC, "LSM hook"),
    ],
)
def test_a_target_that_is_forgotten_is_said_to_be(
    type: ProgramType, hook: AttachType, what: str
) -> None:
    """The kernel's EPERM or EINVAL is taken for a matter of rights, or of the program."""
    with pytest.raises(TypeError, match=f"attach_to is missing.*{hook.name}.* one {what}"):
        Program.load(type, PASS, license="GPL", attach_type=hook)


def test_a_hook_that_the_kernel_refuses_to_everybody_is_no_matter_of_capabilities() -> None:
    """Who has all capabilities would look for the one that is missing."""
    if features.fentry():
        Program.load(
            ProgramType.TRACING,
            PASS,
            attach_type=AttachType.TRACE_FENTRY,
            attach_to="do_nanosleep",
        ).close()
        return
    with pytest.raises(BpfPermissionError, match=r"this kernel refuses .*; attach to tracepoints"):
        Program.load(
            ProgramType.TRACING,
            PASS,
            attach_type=AttachType.TRACE_FENTRY,
            attach_to="do_nanosleep",
        )
