"""What is said of an EPERM: causes that are certain, facts that are known."""

from __future__ import annotations

import io

import pytest

from ebpf._sys import facts

NO_BPF = "neither CAP_BPF nor CAP_SYS_ADMIN"


def told(
    patch: pytest.MonkeyPatch,
    held: set[str] | None,
    setting: int | None = 2,
    takes: str | None = None,
    seccomp: bool | None = False,
) -> str:
    known = None if held is None else frozenset(held)
    patch.setattr(facts, "effective_capabilities", lambda: known)
    patch.setattr(facts, "unprivileged_bpf_disabled", lambda: setting)
    patch.setattr(facts, "seccomp", lambda: seccomp)
    return facts.explain_permission(takes)


@pytest.mark.parametrize(
    ("held", "setting", "certain"),
    [
        (set(), 2, True),
        (set(), 1, True),
        (set(), 0, False),
        (set(), None, False),
        ({"CAP_BPF"}, 2, False),
        ({"CAP_SYS_ADMIN"}, 2, False),
        (None, 2, False),
    ],
)
def test_a_cause_is_claimed_only_where_it_is_known(
    monkeypatch: pytest.MonkeyPatch, held: set[str] | None, setting: int | None, certain: bool
) -> None:
    """A wrong cause costs more time than none."""
    said = told(monkeypatch, held, setting)
    assert (NO_BPF in said) == certain
    shown = "unknown" if setting is None else setting
    assert f"unprivileged_bpf_disabled: {shown}" in said
    assert ("capabilities: unknown" in said) == (held is None)


@pytest.mark.parametrize(
    ("version", "limit", "said"),
    [((5, 10), 0, True), ((5, 10), None, False), ((5, 11), 0, False)],
)
def test_a_memlock_limit_is_a_fact_where_it_may_count(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, int], limit: int | None, said: bool
) -> None:
    """Kernels to which the charging of 5.11 was brought back would be said to charge it."""
    monkeypatch.setattr(facts, "kernel_version", lambda: version)
    monkeypatch.setattr(facts, "memlock", lambda: (limit, limit))
    fact = "RLIMIT_MEMLOCK: 0 bytes, and kernels before 5.11 charge BPF memory to it"
    assert (fact in told(monkeypatch, {"CAP_BPF"})) == said


@pytest.mark.parametrize(
    ("held", "certain"),
    [({"CAP_BPF", "CAP_PERFMON"}, True), (set(), True), ({"CAP_SYS_ADMIN"}, False), (None, False)],
)
def test_a_capability_that_is_asked_for_in_any_case(
    monkeypatch: pytest.MonkeyPatch, held: set[str] | None, certain: bool
) -> None:
    """With CAP_BPF held, what is missing for opening by id is CAP_SYS_ADMIN."""
    said = told(monkeypatch, held, takes="CAP_SYS_ADMIN")
    assert ("The kernel asks for CAP_SYS_ADMIN" in said) == certain
    # Root of a container would be told to become root.
    assert ("--cap-add SYS_ADMIN)" in said) == certain
    assert NO_BPF not in said


@pytest.mark.parametrize(
    ("seccomp", "word"), [(True, "a filter is in force"), (False, "none"), (None, "unknown")]
)
def test_seccomp_is_a_fact(monkeypatch: pytest.MonkeyPatch, seccomp: bool, word: str) -> None:
    """In a container it is the most frequent cause."""
    assert f"seccomp: {word};" in told(monkeypatch, set(), seccomp=seccomp)


@pytest.mark.parametrize(
    ("status", "held", "seccomp"),
    [
        ("Name:\tx\nCapEff:\t0000000000200000\nSeccomp:\t2\n", {"CAP_SYS_ADMIN"}, True),
        ("Name:\tx\nCapEff:\t0000000000000000\nSeccomp:\t0\n", set(), False),
        ("Name:\tx\nCapEff:\t0000000000000000\n", set(), False),
        # A name may have all but the newline in it.
        ("Name:\tx\rCapEff:\t1\x0cCapEff:\t2\nCapEff:\t0000000000000000\n", set(), False),
        (None, None, None),
    ],
)
def test_the_status_of_the_thread(
    monkeypatch: pytest.MonkeyPatch,
    status: str | None,
    held: set[str] | None,
    seccomp: bool | None,
) -> None:
    """Without /proc nothing is known; without a Seccomp line the kernel has none."""

    def opened(path: str, mode: str) -> io.BytesIO:
        if status is None:
            raise FileNotFoundError(path)
        return io.BytesIO(status.encode())

    monkeypatch.setattr("builtins.open", opened)
    assert facts.effective_capabilities() == held
    assert facts.seccomp() is seccomp


@pytest.mark.parametrize(
    ("held", "setting", "may"),
    [
        ({"CAP_BPF"}, 2, True),
        ({"CAP_SYS_ADMIN"}, 2, True),
        (None, 2, True),
        (set(), 0, True),
        (set(), 2, False),
        (set(), None, False),
    ],
)
def test_who_may_create_objects(
    monkeypatch: pytest.MonkeyPatch, held: set[str] | None, setting: int | None, may: bool
) -> None:
    """For who may not, a raised memlock limit changes nothing but the limit."""
    told(monkeypatch, held, setting)
    assert facts.may_hold_bpf() is may
