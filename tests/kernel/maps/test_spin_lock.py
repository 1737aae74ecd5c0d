"""The flag LOCK: values with a struct bpf_spin_lock, which the kernel knows by BTF."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import ebpf
from ebpf import ArrayMap, HashMap, Map, MapType, UpdateFlags
from tests.kernel.maps.support import Btf

# struct value { u64 a; u64 b; struct bpf_spin_lock lock; }
VALUE = "QQI"


@pytest.fixture(params=[MapType.HASH, MapType.ARRAY, MapType.RHASH], ids=str)
def m(request: pytest.FixtureRequest) -> Iterator[Any]:
    btf = Btf()
    u32 = btf.integer("unsigned int", 4)
    u64 = btf.integer("unsigned long", 8)
    lock = btf.struct("bpf_spin_lock", 4, val=(u32, 0))
    value = btf.struct("value", 24, a=(u64, 0), b=(u64, 8), lock=(lock, 16))
    with (
        btf.load() as loaded,
        Map.create(
            request.param,
            key="I",
            value=VALUE,
            max_entries=2,
            name="locked",
            btf=loaded,
            btf_key_type_id=u32,
            btf_value_type_id=value,
        ) as map,
    ):
        yield map


def test_locked_values_are_written_and_read(m: Any) -> None:
    """With LOCK the value is not written, or the lock itself is overwritten or shown."""
    m.put(1, (5, 6, 0xDEAD))
    m.put(1, (7, 8, 0xDEAD), flags=UpdateFlags.LOCK)
    assert m.lookup(1, flags=UpdateFlags.LOCK) == m.lookup(1) == (7, 8, 0)
    m.put(1, (9, 9, 0), flags=UpdateFlags.LOCK | UpdateFlags.EXIST)
    assert m[1] == (9, 9, 0)
    with pytest.raises(FileExistsError, match=r"NOEXIST"):
        m.put(1, (1, 1, 0), flags=UpdateFlags.LOCK | UpdateFlags.NOEXIST)


def test_locked_reads_are_never_torn(m: Any) -> None:
    """A read with LOCK sees half of a write with LOCK."""
    m.put(1, (0, 0, 0))
    done = threading.Event()

    def write() -> None:
        for number in range(300):
            m.put(1, (number, number, 0), flags=UpdateFlags.LOCK)
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    while not done.is_set():
        a, b, _ = m.lookup(1, flags=UpdateFlags.LOCK)
        assert a == b
    thread.join()


def test_lookup_and_delete_with_the_lock() -> None:
    """LOOKUP_AND_DELETE (5.14) ignores LOCK, or an old kernel is not dated."""
    with HashMap.create(key="I", value="Q", max_entries=2) as m:
        m[1] = 5
        with pytest.raises(ebpf.BpfError) as caught:
            m.lookup_and_delete(1, flags=UpdateFlags.LOCK)
        assert m[1] == 5
        if isinstance(caught.value, ebpf.NotSupportedError):
            raise caught.value
        assert "flag LOCK: it needs a value" in str(caught.value)


@pytest.mark.parametrize("cls", [HashMap, ArrayMap])
def test_without_a_lock_in_the_value_the_error_says_so(cls: Any) -> None:
    """LOCK on a value without a lock is answered by a bare EINVAL."""
    with cls.create(key="I", value="Q", max_entries=2, name="plain") as m:
        m[1] = 5
        for use in (
            lambda: m.put(1, 6, flags=UpdateFlags.LOCK),
            lambda: m.lookup(1, flags=UpdateFlags.LOCK),
        ):
            with pytest.raises(ebpf.BpfError, match=r"'plain'.*LOCK: .*bpf_spin_lock") as caught:
                use()
            assert caught.value.errno == errno.EINVAL
            assert not isinstance(caught.value, ebpf.NotSupportedError)
        assert m[1] == 5
