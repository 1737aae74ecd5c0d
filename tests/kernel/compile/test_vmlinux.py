"""vmlinux.h of the running kernel."""

from __future__ import annotations

import os
from pathlib import Path

from ebpf.cli import main
from ebpf.compile.vmlinux import vmlinux_path
from tests.kernel.compile.conftest import Load, since
from tests.kernel.compile.test_helpers import run, values


def test_vmlinux_h_is_there_and_relocates(load: Load) -> None:
    """The header would be missing, not compile beside the others, or its fields stay where this
    kernel has them."""
    objects = load(
        """
        #include "vmlinux.h"
        #include <bpf/bpf_helpers.h>
        #include <bpf/bpf_core_read.h>
        #include <bpf/bpf_tracing.h>
        #include <bpf/bpf_endian.h>
        #include <bpf/usdt.bpf.h>
        pid_t tgid, parent;
        SEC("raw_tp") int BPF_PROG(run)
        {
            struct task_struct *task = (struct task_struct *)bpf_get_current_task();
            tgid = BPF_CORE_READ(task, tgid);
            parent = BPF_CORE_READ(task, real_parent, tgid);
            return 0;
        }
        """
    )
    run(objects)
    assert values(objects)["tgid"] == os.getpid()
    assert values(objects)["parent"] == os.getppid()


def test_the_command_writes_the_header(tmp_path: Path) -> None:
    """A Makefile would have no way to it but bpftool, or get another one than compile_c uses."""
    path = tmp_path / "vmlinux.h"
    assert main(["gen", "vmlinux-h", "-o", str(path)]) == 0
    text = path.read_text()
    assert "\nstruct task_struct {\n" in text
    assert text == Path(vmlinux_path()).read_text()


def test_vmlinux_h_declares_kfuncs(load: Load) -> None:
    """Every program would have to declare the kernel's functions itself, and programs that were
    written for bpftool's header do not."""
    since("a task by its pid in programs of the type syscall", 6, 12)
    objects = load(
        """
        #include "vmlinux.h"
        #include <bpf/bpf_helpers.h>
        int pid, found;
        SEC("syscall") int run(void *ctx)
        {
            struct task_struct *task = bpf_task_from_pid(pid);
            if (!task)
                return 1;
            found = task->tgid;
            bpf_task_release(task);
            return 2;
        }
        """
    )
    objects.variables["pid"].value = os.getpid()
    assert objects.programs["run"].test_run().return_value == 2
    assert values(objects)["found"] == os.getpid()
