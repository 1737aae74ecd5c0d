"""StackTraceMap: stacks that programs store."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest

import ebpf
from ebpf import ProgramType, StackTraceMap, asm
from ebpf.asm import R2, R3, Helper


def collect(m: StackTraceMap[tuple[int, ...]]) -> int:
    """Let a program store its kernel stack; the id."""
    code = [asm.ld_map_fd(R2, m), asm.mov(R3, 0), asm.call(Helper.GET_STACKID), asm.exit_()]
    # R1 is the context still.
    with ebpf.Program.load(ProgramType.RAW_TRACEPOINT, code, license="GPL") as program:
        id = program.test_run(flags=ebpf.TestRunFlags.RUN_ON_CPU, cpu=0).return_value
    assert id < 1 << 31, "bpf_get_stackid failed"
    return id


@functools.cache
def kernel_functions() -> tuple[int, int]:
    """The lowest and highest address of the kernel's code."""
    text = Path("/proc/kallsyms").read_text(encoding="ascii")
    low, high = (re.search(rf"^(\w+) . {name}$", text, re.M) for name in ("_stext", "_etext"))
    assert low is not None
    assert high is not None
    return int(low[1], 16), int(high[1], 16)


@pytest.mark.needs_config("CONFIG_PERF_EVENTS")
@pytest.mark.parametrize("max_entries", [1, 5, 64])
def test_a_stack_is_found_by_its_id(max_entries: int) -> None:
    """A stack is not under its id, has no frames of the kernel, or iteration leaves it out."""
    with StackTraceMap.create(max_entries=max_entries) as m:
        id = collect(m)
        stack = m[id]
        assert len(stack) == 127
        low, high = kernel_functions()
        frames = [address for address in stack if address]
        assert any(low <= address < high for address in frames)
        assert all(address == 0 for address in stack[len(frames) :])
        assert list(m) == [id]
        assert list(m.items()) == [(id, stack)]
        assert id in m
        assert m.delete(id) is True
        assert m.delete(id) is False
        assert m.lookup(id) is None
        with pytest.raises(KeyError):
            m[id]
        with pytest.raises(KeyError):
            del m[id]
        collect(m)
        m.clear()
        assert list(m) == []


@pytest.mark.needs_config("CONFIG_PERF_EVENTS")
def test_fewer_frames() -> None:
    """A map for fewer frames than the kernel's most is read with the wrong size."""
    with StackTraceMap.create(value="4Q", max_entries=4) as m:
        assert len(m[collect(m)]) == 4
        with StackTraceMap.from_id(m.info().id) as same:
            assert len(same[next(iter(same))]) == 4


@pytest.mark.needs_config("CONFIG_PERF_EVENTS")
def test_the_functions_of_a_stack() -> None:
    """Frames get the names of other functions than /proc/kallsyms has at their addresses."""
    with StackTraceMap.create(max_entries=4) as m:
        stack = m[collect(m)]
    frames = ebpf.Symbolizer().kernel(stack)
    assert [frame.address for frame in frames] == [address for address in stack if address]
    # The way from the system call to the test run of the program.
    assert any("bpf" in (frame.name or "") for frame in frames)
