"""Loading: what is accepted, and what an author is told about what is not."""

from __future__ import annotations

import re
import signal
import sys
from typing import Any

import pytest

from ebpf import (
    AttachType,
    BpfError,
    BpfPermissionError,
    ClosedError,
    Map,
    MapType,
    NotSupportedError,
    Program,
    ProgramFlags,
    ProgramType,
    VerifierError,
)
from ebpf.asm import (
    R0,
    R1,
    R2,
    R6,
    R10,
    Assembly,
    Helper,
    Label,
    add,
    assemble,
    call,
    exit_,
    jeq,
    ld_map_fd,
    ldxdw,
    ldxw,
    mov,
    stw,
)
from tests.kernel import environment
from tests.kernel.samples import PASS, bpftool, python

FILTER = ProgramType.SOCKET_FILTER


def refused(insns: Any, type: ProgramType = FILTER, **options: Any) -> VerifierError:
    with pytest.raises(VerifierError) as caught:
        Program.load(type, insns, **options)
    return caught.value


def unchecked(*program: Any) -> Assembly:
    """For the verifier alone to refuse."""
    return assemble(program, check=False)


def here() -> int:
    """The line that calls."""
    return sys._getframe(1).f_lineno


@pytest.mark.everywhere
def test_every_form_of_instructions_loads_the_same_program() -> None:
    """The tag is the kernel's hash of the instructions: a form that is read wrongly has another."""
    code = assemble([mov(R0, 7), exit_()])
    forms: list[Any] = [
        code.resolve(),
        bytearray(code.resolve()),
        memoryview(code.resolve()),
        [mov(R0, 7), [exit_()]],
        (insn for insn in (mov(R0, 7), exit_())),
        code,
    ]
    tags = set()
    for form in forms:
        with Program.load(FILTER, form) as program:
            assert program.test_run(bytes(14)).return_value == 7
            tags.add(program.info().tag)
    assert len(tags) == 1


def test_maps_by_object_and_by_name_reach_the_program() -> None:
    """A reference that is resolved wrongly reads another map, or none."""

    def first_value(map: Any) -> list[Any]:
        return [
            stw(R10 - 4, 0),
            ld_map_fd(R1, map),
            mov(R2, R10),
            add(R2, -4),
            call("map_lookup_elem"),
            jeq(R0, 0, "end"),
            ldxw(R0, R0 + 0),
            Label("end"),
            exit_(),
        ]

    with (
        Map.create(MapType.ARRAY, value="I", max_entries=1) as one,
        Map.create(MapType.ARRAY, value="I", max_entries=1) as two,
    ):
        one[0], two[0] = 11, 22
        with (
            Program.load(FILTER, first_value(one)) as by_object,
            Program.load(FILTER, first_value("second"), maps={"second": two}) as by_name,
        ):
            assert by_object.test_run(bytes(14)).return_value == 11
            assert by_name.test_run(bytes(14)).return_value == 22
            assert by_name.info().map_ids == [two.info().id]


def test_what_no_kernel_takes_is_said_before_the_call() -> None:
    """The kernel would answer EINVAL to all of it."""
    with pytest.raises(ValueError, match="7 bytes is no whole number of 8-byte instructions"):
        Program.load(FILTER, b"1234567")
    with pytest.raises(ValueError, match="0 bytes"):
        Program.load(FILTER, b"")
    with pytest.raises(ValueError, match="16 characters; the kernel takes 15"):
        Program.load(FILTER, PASS, name="x" * 16)
    with pytest.raises(ValueError, match="UNKNOWN_9999 is not a program type"):
        Program.load(ProgramType(9999), PASS)
    with pytest.raises(TypeError, match="is not an ebpf"):
        Program.load(1, PASS)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="name no maps"):
        Program.load(FILTER, assemble(PASS).resolve(), maps={"a": sys.stdout})


def test_a_closed_map_is_never_resolved_to_a_number() -> None:
    """Its number may belong to another map by now."""
    closed = Map.create(MapType.ARRAY, value="I", max_entries=1)
    closed.close()
    with pytest.raises(ClosedError, match="is closed"):
        Program.load(FILTER, [ld_map_fd(R1, closed), *PASS])


# What kernels say of each, the newest wording last.
REFUSALS = {
    "unset register": (unchecked(exit_()), r"R0 !read_ok"),
    "context": ([ldxdw(R0, R1 + 1000), exit_()], r"invalid bpf_context access off=1000 size=8"),
    "unreachable": (unchecked(*PASS, mov(R0, 1), exit_()), r"unreachable insn 2"),
    "endless": (
        [mov(R0, 0), Label("a"), jeq(R0, 1, "b"), jeq(R0, 0, "a"), Label("b"), exit_()],
        r"back-edge from insn 2 to 1|infinite loop detected at insn [12]",
    ),
    "no exit": (unchecked(mov(R0, 0)), r"last insn is not an exit or jmp"),
    "no such helper": ([call(9999), exit_()], r"invalid func unknown#9999"),
    "pointer as size": (
        [mov(R2, R1), call("get_current_comm"), exit_()],
        r"R[12] type=ctx expected=(fp|scalar).*"
        r"|(unknown func|program of this type cannot use helper)"
        r" bpf_get_current_comm#16",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_the_message_is_the_line_that_explains(case: str) -> None:
    """Statistics and register states close a log; an author who is shown those learns nothing."""
    insns, reason = REFUSALS[case]
    error = refused(insns)
    assert re.match(
        rf"load a SOCKET_FILTER program: ({reason})($|: [A-Z]| \(instruction )",
        error.strerror or "",
    ), error.log
    # The whole log: its last line is the statistics, which the message does without.
    assert re.search(r"^processed \d+ insns .*\n\Z", error.log, re.MULTILINE)
    assert "processed" not in (error.strerror or "")


@pytest.mark.everywhere
def test_the_message_names_instruction_and_line_of_python() -> None:
    """Without them an author of a long program searches."""
    line = here() + 1
    wrong = ldxdw(R0, R1 + 1000)
    error = refused([mov(R6, 0), wrong, exit_()])
    assert f" (instruction 1: r0 = *(u64 *)(r1 +1000), {__file__}:{line})" in str(error)
    # Numbers in the reason itself are instructions too.
    line = here() + 1
    wrong = mov(R0, 1)
    error = refused(unchecked(*PASS, wrong, exit_()))
    assert "unreachable insn 2" in str(error)
    assert f" (instruction 2, {__file__}:{line})" in str(error)


def test_a_program_of_bytes_has_no_lines_to_name() -> None:
    """The instruction is still named."""
    error = refused(assemble([ldxdw(R0, R1 + 1000), exit_()]).resolve())
    assert (error.strerror or "").endswith("(instruction 0: r0 = *(u64 *)(r1 +1000))")


def test_a_reason_of_two_lines_is_shown_whole() -> None:
    """The second line alone does not say what was accessed."""
    with Map.create(MapType.ARRAY, value="I", max_entries=1) as map:
        error = refused(
            [
                stw(R10 - 4, 0),
                ld_map_fd(R1, map),
                mov(R2, R10),
                add(R2, -4),
                call("map_lookup_elem"),
                jeq(R0, 0, "end"),
                ldxdw(R0, R0 + 4),
                Label("end"),
                *PASS,
            ]
        )
    assert "invalid access to map value, value_size=4 off=4 size=8; R0 " in str(error)


def test_a_helper_for_gpl_programs_says_the_licence() -> None:
    """The commonest reason of all for a first program to be refused."""
    insns = [mov(R1, 0), mov(R2, 0), call("trace_printk"), *PASS]
    error = refused([*insns], ProgramType.KPROBE, license="Proprietary")
    assert re.search("cannot call GPL(-restricted| only) function", str(error))


def test_a_log_longer_than_the_buffer_is_read_whole() -> None:
    """A log cut off before its end lacks the one line that matters."""
    insns = [mov(R0, 0), [add(R0, 1) for _ in range(500)], ldxw(R0, R1 + 2000), exit_()]
    error = refused(insns, log_size=64)
    assert "invalid bpf_context access off=2000" in str(error)
    for number in (0, 1, 250, 500):
        assert re.search(rf"^{number}: \(", error.log, re.MULTILINE), error.log[:300]


def test_the_log_of_an_accepted_program_is_kept_where_asked_for() -> None:
    """An author who counts the verifier's steps reads them off it."""
    with Program.load(FILTER, PASS) as program:
        assert program.log == ""
    with Program.load(FILTER, PASS, log_level=1) as program:
        assert "processed 2 insns" in program.log
    with Program.load(FILTER, PASS, log_level=2, log_size=1) as program:
        assert "1: (95) exit" in program.log
    with Program.load(FILTER, PASS, log_level=4) as program:
        assert "stack depth" in program.log


@pytest.mark.parametrize("type", [t for t in ProgramType if (t.since or (0, 0)) > (5, 10)])
def test_a_type_younger_than_the_kernel_names_its_release(type: ProgramType) -> None:
    """ "Invalid argument" sends an author looking for a mistake that isn't there."""
    assert type.since is not None
    attach_type = AttachType.NETFILTER if type == ProgramType.NETFILTER else None
    flags = ProgramFlags.SLEEPABLE if type == ProgramType.SYSCALL else 0
    insns = [mov(R0, 1), exit_()]
    if environment.kernel_version() >= type.since:
        Program.load(type, insns, attach_type=attach_type, flags=flags).close()
        return
    with pytest.raises(NotSupportedError, match=f"load a {type} program") as caught:
        Program.load(type, insns, attach_type=attach_type, flags=flags)
    assert caught.value.minimum_version == type.since


@pytest.mark.parametrize("flag", [ProgramFlags.XDP_HAS_FRAGS, ProgramFlags.TEST_REG_INVARIANTS])
def test_a_flag_younger_than_the_kernel_names_its_release(flag: ProgramFlags) -> None:
    """The type is known then; what is not is the flag."""
    assert flag.since is not None
    if environment.kernel_version() >= flag.since:
        Program.load(ProgramType.XDP, [mov(R0, 1), exit_()], flags=flag).close()
        return
    with pytest.raises(NotSupportedError, match=f"with the flag {flag}:") as caught:
        Program.load(ProgramType.XDP, [mov(R0, 1), exit_()], flags=flag)
    assert caught.value.minimum_version == flag.since


def test_a_field_younger_than_the_kernel_names_its_release() -> None:
    """The kernel answers E2BIG, which says nothing of the field."""
    from ebpf._sys import bpf

    code = assemble(PASS).resolve()
    # Not a keyring, and without a signature to check: kernels that know the field ignore it.
    loaded = bpf.prog_load(prog_type=FILTER, insns=code, license=b"GPL\0", keyring_id=-1)
    if environment.kernel_version() >= (6, 18):
        import os

        os.close(loaded.checked("load a program"))
        return
    with pytest.raises(NotSupportedError, match="load a program with keyring_id") as caught:
        loaded.checked("load a program")
    assert caught.value.minimum_version == (6, 18)


def test_a_wrong_argument_is_not_taken_for_an_old_kernel() -> None:
    """Asking for a log must not make every refusal "requires Linux 6.4", which has longer logs."""
    with pytest.raises(BpfError, match="Invalid argument") as caught:
        Program.load(ProgramType.KPROBE, PASS, attach_btf_id=1, log_level=1)
    assert not isinstance(caught.value, NotSupportedError)
    with pytest.raises(BpfError, match="Invalid argument"):
        Program.load(ProgramType.CGROUP_SOCK, PASS, attach_type=AttachType.LIRC_MODE2)


@pytest.mark.parametrize(
    "helper", [h for h in Helper if h.since > (5, 10) and h.name in ("KTIME_GET_TAI_NS", "LOOP")]
)
def test_a_helper_younger_than_the_kernel_names_its_release(helper: Helper) -> None:
    """ "unknown func" alone does not say which kernel has it."""
    if environment.kernel_version() >= helper.since:
        error: BpfError = refused(
            unchecked(call(helper), call(9999), exit_()), ProgramType.SCHED_CLS
        )
        return
    with pytest.raises(NotSupportedError, match=f"the helper {helper.name.lower()}") as caught:
        Program.load(ProgramType.SCHED_CLS, unchecked(call(helper), exit_()))
    error = caught.value
    assert caught.value.minimum_version == helper.since
    assert isinstance(error.__cause__, VerifierError)
    assert "func" in error.__cause__.log


LOAD = """
import ebpf
from ebpf.asm import *
ebpf.Program.load(ebpf.ProgramType.KPROBE, [mov(R0, 0), exit_()], license="GPL")
"""
# Root by its number only: another user could not look into every folder that the tests run from.
POWERLESS = ("setpriv", "--inh-caps=-all", "--bounding-set=-all")


def test_without_capabilities_the_message_has_the_facts() -> None:
    """EPERM has many causes; a wrong guess costs an hour."""
    told = python(LOAD, prefix=POWERLESS, status=1)
    assert "ebpf.errors.BpfPermissionError: load a KPROBE program: not permitted." in told
    assert "capabilities: none of CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN" in told
    assert re.search(r"unprivileged_bpf_disabled: [012]\b", told)
    assert re.search(r"lockdown: \w+", told)


def test_a_cause_is_named_only_where_it_is_certain() -> None:
    """With CAP_BPF held, its lack is not why a tracing program is refused."""
    prefix = ("setpriv", "--inh-caps=-all,+bpf", "--bounding-set=-all,+bpf")
    told = python(LOAD, prefix=prefix, status=1)
    assert "capabilities: CAP_BPF;" in told
    assert "neither CAP_BPF nor CAP_SYS_ADMIN" not in told


def test_a_small_memlock_limit_does_not_stop_a_load() -> None:
    """Kernels before 5.11 charge programs to it, and the default is too small for most."""
    code = f"""
import resource
_, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, hard))
{LOAD}"""
    python(code)


def test_a_memlock_limit_that_cannot_be_raised_is_a_stated_fact() -> None:
    """On a kernel that charges, the remedy is to raise it outside."""
    code = f"import resource\nresource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))\n{LOAD}"
    # CAP_IPC_LOCK would lift the limit, CAP_SYS_RESOURCE let the library raise it.
    prefix = ("setpriv", "--bounding-set=-ipc_lock,-sys_resource")
    if environment.kernel_version() >= (5, 11):
        python(code, prefix=prefix)
        return
    told = python(code, prefix=prefix, status=1)
    assert "RLIMIT_MEMLOCK: 0 bytes, and kernels before 5.11 charge BPF memory to it" in told


# Branches that the verifier walks one by one: slow to verify, small to send.
SLOW = """
import signal, ebpf
from ebpf.asm import *
def slow(steps):
    return [mov(R0, 0), mov(R6, 0), Label("again"), [add(R0, 1) for _ in range(60)],
            add(R6, 1), jlt(R6, steps, "again"), mov(R0, 0), exit_()]
"""


def test_a_timer_that_fires_all_the_time_does_not_stop_a_load() -> None:
    """The verifier gives up (EAGAIN) at each signal; a profiler sends a thousand a second."""
    code = f"""{SLOW}
fired = 0
def handler(number, frame):
    global fired
    fired += 1
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
for _ in range(3):
    ebpf.Program.load(ebpf.ProgramType.SOCKET_FILTER, slow(3000)).close()
assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()
before = fired
while fired == before:
    pass
signal.setitimer(signal.ITIMER_REAL, 0)
print("fired", fired)
"""
    assert "fired" in python(code)


def test_a_handler_that_raises_ends_a_load() -> None:
    """Ctrl-C while a big program is verified must not be retried away."""
    code = f"""{SLOW}
def handler(number, frame):
    raise KeyboardInterrupt
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.1)
try:
    while True:
        ebpf.Program.load(ebpf.ProgramType.SOCKET_FILTER, slow(3000)).close()
except KeyboardInterrupt:
    print("interrupted")
"""
    assert "interrupted" in python(code)


def test_bpftool_shows_the_name_that_was_given() -> None:
    """The longest that the kernel takes, with every kind of character."""
    with Program.load(FILTER, PASS, name="with.a_name_15c") as program:
        assert bpftool("prog", "show", "id", str(program.info().id))["name"] == "with.a_name_15c"


def test_a_refused_program_costs_no_permission_error_class() -> None:
    """The verifier's EACCES is about the program, not about who loads it."""
    error = refused(unchecked(exit_()))
    assert not isinstance(error, (PermissionError, BpfPermissionError))
    assert isinstance(error, OSError)
    assert error.errno == 13


def test_signals_module_is_untouched() -> None:
    """A load must not leave signals blocked in the calling thread."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    Program.load(FILTER, PASS).close()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


AS_NOBODY = """
import os, ebpf
from ebpf.asm import *
# All of it as root: nobody may have no way into the folder of the interpreter.
for name in ebpf.__all__:
    getattr(ebpf, name)
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
def attempt(use):
    try:
        use()
    except ebpf.BpfPermissionError as error:
        print(error)
"""
WITHOUT_PROC = (
    *("unshare", "--mount", "--propagation", "private"),
    *("sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"),
)


def test_opening_by_id_names_the_capability_that_it_takes() -> None:
    """Whoever may load programs still may not open those of others."""
    use = "for kind in (ebpf.Map, ebpf.Program, ebpf.Link): attempt(lambda: kind.from_id(1))"
    told = python(AS_NOBODY + use).splitlines()
    assert len(told) == 3
    assert all("The kernel asks for CAP_SYS_ADMIN" in line for line in told)


def test_without_proc_a_refusal_is_still_that_refusal() -> None:
    """What can't be read in order to explain must not take the place of what happened."""
    use = "attempt(lambda: ebpf.Program.load(ebpf.ProgramType.KPROBE, [mov(R0, 0), exit_()]))"
    told = python(AS_NOBODY + use, prefix=WITHOUT_PROC)
    assert "load a KPROBE program: not permitted. Facts: capabilities: unknown" in told
    assert "unprivileged_bpf_disabled: unknown" in told
    assert "seccomp: unknown" in told
    assert "[EPERM]" in told


def test_without_proc_what_takes_it_says_so() -> None:
    """A file that is not found is no explanation; what can be done without /proc is done."""
    told = python(
        """
import ebpf
from ebpf.asm import *
m = ebpf.ArrayMap.create(value="Q", max_entries=1)
p = ebpf.Program.load(ebpf.ProgramType.SOCKET_FILTER, [mov(R0, 0), exit_()])
for use in (m.info, lambda: ebpf.Map.from_fd(m.fileno()),
            lambda: ebpf.Program.from_id(p.info().id)):
    try:
        use()
    except ebpf.BpfError as error:
        print(error)
m[0] = 1
m.pin("/sys/fs/bpf/no_proc")
ebpf.unpin("/sys/fs/bpf/no_proc")
m.freeze()
try:
    m[0] = 2
except ebpf.BpfPermissionError as error:
    print("frozen:", error)
ring = ebpf.Map.create(ebpf.MapType.RINGBUF, max_entries=4096)
with ebpf.RingBuffer(ring) as reader:
    print(reader.read_batch())
for owner in (m, p, ring):
    owner.close()
""",
        prefix=WITHOUT_PROC,
    ).splitlines()
    assert len(told) == 5, told
    mount = "/proc is not mounted; mount it with: mount -t proc proc /proc"
    assert all(mount in line for line in told[:3]), told
    assert "frozen: write the key 0 to" in told[3]
    assert told[4] == "[]"
