"""Objects that clang compiled, loaded and run: what the programs did is what is checked."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest

import ebpf
from ebpf.links.group import LinkGroup
from ebpf.spec import CollectionSpec
from tests.kernel.samples import python
from tests.objects import compiled


def spec_of(name: str) -> CollectionSpec:
    return CollectionSpec.from_file(compiled(name))


def test_a_tracer_sees_a_real_execution(true_command: list[str]) -> None:
    """CO-RE offsets, options, data sections or relocations that are wrong show in the record."""
    spec = spec_of("tracer")
    spec.variables["only_parent"].value = os.getpid()
    with spec.load(kconfig={"CONFIG_BPF": True}) as objects:
        assert objects.maps["events"].info().max_entries == 8192
        objects.attach()
        child = subprocess.Popen(true_command)
        child.wait()
        with ebpf.RingBuffer(objects.maps["events"], codec="IIIiQq") as ring:
            ((pid, parent, version, option, number, negative),) = ring.read_batch()
        assert (pid, parent) == (child.pid, os.getpid())
        assert version >> 16 == int(os.uname().release.split(".")[0])
        assert (option, number, negative) == (0, 6, -7)
        assert objects.variables["counter"].value == 6
        assert objects.variables["zeroed"].value == 2
        assert objects.variables["negative"].value == -7


def test_variables_are_live(true_command: list[str]) -> None:
    """A variable that is a copy would not be seen by the program."""
    spec = spec_of("tracer")
    spec.variables["only_parent"].value = os.getpid()
    with spec.load(kconfig={"CONFIG_BPF": True}) as objects:
        objects.programs["on_exec"].attach()
        objects.variables["counter"].value = 1000
        subprocess.run(true_command, check=True)
        counter = objects.variables["counter"]
        assert counter.value == 1001
        assert repr(counter) == "<ebpf.Variable 'counter' in .data: u64 = 1001>"
        with pytest.raises(ebpf.BpfPermissionError, match=r"only_parent.*constant.*before load"):
            objects.variables["only_parent"].value = 1
        assert objects.maps[".rodata"].info().frozen
    assert repr(counter) == "<ebpf.Variable 'counter' in .data: closed>"


def test_maps_decode_by_their_types() -> None:
    """Field names that are lost would have to be written twice."""
    with spec_of("tracer").load(kconfig={"CONFIG_BPF": True}) as objects:
        table = objects.maps["table"]
        table[3] = {"count": 1, "name": b"three", "total": 1 << 40}
        record = table[3]
        assert (record.count, record.name, record.total) == (1, b"three", 1 << 40)
        assert table.info().btf_value_type_id


def test_a_missing_field_is_explained() -> None:
    """ "invalid func unknown#195896080" tells nobody what is missing."""
    spec = spec_of("missing")
    spec.select("needs_field")
    with pytest.raises(ebpf.VerifierError) as error:
        spec.load(kconfig={"CONFIG_NOBODY_HAS_THIS": 1})
    text = str(error.value)
    assert "program 'needs_field': struct task_struct has no field `no_such_field`" in text
    assert f"(instruction {error.value.instruction}, {error.value.source})" in text
    assert "195896080" not in text


TWINS = """
#define SEC(name) __attribute__((section(name), used))
struct task_struct { int FIELD; } __attribute__((preserve_access_index));
static __attribute__((noinline)) int helper(struct task_struct *task)
{
	volatile int offset = __builtin_preserve_field_info(task->FIELD, 0);
	return offset;
}
SEC("raw_tp/FIELD") int with_FIELD(unsigned long long *context)
{
	struct task_struct *task = (void *)context[0];
	if (ASKED || __builtin_preserve_field_info(task->FIELD, 2))
		return helper(task);
	return 0;
}
"""


def test_the_field_is_that_of_the_function_that_was_refused(tmp_path: Path) -> None:
    """Linked objects may have static functions of one name, which miss different fields."""
    paths = []
    for field, asked in (("first_missing", "0"), ("second_missing", "1")):
        source = TWINS.replace("FIELD", field).replace("ASKED", asked)
        (tmp_path / f"{field}.bpf.c").write_text(source, encoding="utf-8")
        paths.append(compiled(field, folder=tmp_path))
    spec = CollectionSpec.from_files(paths)
    assert {"helper", "helper#2"} <= set(spec.functions)
    with pytest.raises(ebpf.VerifierError, match="no field `second_missing`"):
        spec.load()


def test_a_program_that_asks_first_loads() -> None:
    """Poison behind a test that is false has to be pruned, not refused."""
    spec = spec_of("missing")
    spec.select("asks_first")
    with spec.load(kconfig={"CONFIG_NOBODY_HAS_THIS": 1}) as objects:
        assert list(objects.programs) == ["asks_first"]


def test_a_map_that_was_not_created_is_named() -> None:
    """The verifier knows a number only."""
    spec = spec_of("missing")
    spec.select("needs_map")
    spec.maps["left_out"].autocreate = False
    with pytest.raises(ebpf.VerifierError, match=r"uses the map 'left_out'.*autocreate"):
        spec.load(kconfig={"CONFIG_NOBODY_HAS_THIS": 1})


def test_a_map_of_variables_that_was_taken_out_is_told() -> None:
    """A KeyError would say that a name given to load is wrong."""
    spec = spec_of("tracer")
    del spec.maps[".bss"]
    with pytest.raises(ebpf.RelocationError, match=r"'.bss', which was taken out.*autocreate"):
        spec.load(kconfig={"CONFIG_BPF": True})


def test_an_option_that_is_not_set_is_named() -> None:
    """A strong option without a value must not silently be zero."""
    spec = spec_of("missing")
    with pytest.raises(ebpf.RelocationError, match=r"CONFIG_NOBODY_HAS_THIS.*__weak.*kconfig="):
        spec.load()


def test_options_that_the_object_does_not_ask_for() -> None:
    """A name that is mistyped would leave the option as the kernel has it."""
    with pytest.raises(KeyError, match=r"no option 'CONFIG_BFP', but for: .*CONFIG_BPF"):
        spec_of("tracer").load(kconfig={"CONFIG_BFP": True})
    with pytest.raises(ValueError, match=r"LINUX_KERNEL_VERSION is what the running kernel says"):
        spec_of("tracer").load(kconfig={"LINUX_KERNEL_VERSION": 1})


def test_an_option_that_does_not_fit_is_told_in_words() -> None:
    """The name of a class of this library says nothing to who reads it."""
    with pytest.raises(ebpf.RelocationError, match=r"the value much does not fit its type, int"):
        spec_of("missing").load(kconfig={"CONFIG_NOBODY_HAS_THIS": "much"})


def test_data_can_grow() -> None:
    """An array at the end of a section is made longer by its map's value_size, as in libbpf."""
    spec = spec_of("tracer")
    spec.select()
    spec.maps[".data"].value_size = 8192
    with spec.load(kconfig={"CONFIG_BPF": True}) as objects:
        data = objects.maps[".data"][0]
        assert len(data) == 8192
        assert data.startswith(bytes(spec.maps[".data"].contents or b"none"))
    spec.maps[".data"].value_size = 1
    with pytest.raises(ebpf.ElfError, match=r"'.data'.*value_size is 1; data can grow"):
        spec.load(kconfig={"CONFIG_BPF": True})


def test_nothing_is_left_open_when_a_program_is_refused() -> None:
    """The descriptor check of conftest fails this test when a map or BTF leaks."""
    spec = spec_of("missing")
    spec.select("needs_field", "asks_first")
    with pytest.raises(ebpf.VerifierError):
        spec.load(kconfig={"CONFIG_NOBODY_HAS_THIS": 1})


class Stuck(ebpf.Link):
    """A link that fails to close, as detaching may."""

    def close(self) -> None:
        raise ebpf.BpfError(errno.EBUSY, "detach")


def test_closing_goes_on_behind_a_link_that_fails() -> None:
    """The descriptors of all else would stay open, out of reach."""
    spec = spec_of("missing")
    spec.select("asks_first")
    objects = spec.load(kconfig={"CONFIG_NOBODY_HAS_THIS": 1})
    program = objects.programs["asks_first"]
    group = LinkGroup([Stuck(-1), Stuck(-1)], "two")
    program._own(group)
    objects._links += [Stuck(-1), Stuck(-1)]
    with pytest.raises(ebpf.BpfError, match="detach"):
        objects.close()
    assert program.closed
    assert all(map.closed for map in objects.maps.values())


def test_a_numa_node_without_the_flag_is_not_asked_for() -> None:
    """libbpf leaves the flag to the source; a node that there is not would be refused."""
    spec = spec_of("missing")
    spec.select("asks_first")
    made = next(map for map in spec.maps.values() if not map.data and map.autocreate)
    made.numa_node = 1023
    with spec.load(kconfig={"CONFIG_NOBODY_HAS_THIS": 1}) as objects:
        assert not objects.maps[made.name].info().flags & ebpf.MapFlags.NUMA_NODE
    made.flags |= ebpf.MapFlags.NUMA_NODE
    with pytest.raises(ebpf.BpfError):
        spec.load(kconfig={"CONFIG_NOBODY_HAS_THIS": 1})


WITHOUT_PROC = """
import ctypes
import ebpf, ebpf.collection
assert ctypes.CDLL(None).mount(b"none", b"/proc", b"tmpfs", 0, None) == 0
with ebpf.CollectionSpec.from_file({path!r}).load() as objects:
    print(*objects.programs)
"""


def test_loading_takes_no_proc() -> None:
    """In a container without /proc an object has to load, as `Map.create` works there."""
    private = ("unshare", "--mount", "--propagation", "private")
    told = python(WITHOUT_PROC.format(path=str(compiled("data"))), prefix=private)
    assert told.split() == list(spec_of("data").programs)


WITHOUT_DESCRIPTORS = """
import errno, os, resource, warnings
import ebpf, ebpf.collection
ebpf.CollectionSpec.from_file({good!r}).load().close()
spec = ebpf.CollectionSpec.from_file({bad!r})
spec.select("unbounded")
warnings.simplefilter("ignore")
for limit in range(len(os.listdir("/proc/self/fd")) - 1, 64):
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, 4096))
    try:
        spec.load()
    except ebpf.VerifierError as error:
        print("refused:", error.program)
        break
    except ebpf.BpfError as error:
        assert error.errno == errno.EMFILE, error
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
"""


def test_without_descriptors_the_kernel_is_still_quoted() -> None:
    """A module that cannot be imported for want of one is no reason to refuse a program."""
    code = WITHOUT_DESCRIPTORS.format(good=str(compiled("data")), bad=str(compiled("refused")))
    assert python(code).split() == ["refused:", "unbounded"]


def test_given_map_takes_the_place(bpffs: Path) -> None:
    """Programs have to use the caller's map, and closing the collection must not close it."""
    with ebpf.Map.create(ebpf.MapType.HASH, key="I", value=24, max_entries=16) as mine:
        options = {"CONFIG_BPF": True}
        with spec_of("tracer").load(maps={"table": mine}, kconfig=options) as objects:
            assert objects.maps["table"] is mine
        assert not mine.closed
    with (
        ebpf.Map.create(ebpf.MapType.HASH, key="I", value="I", max_entries=16) as other,
        pytest.raises(ebpf.BpfError, match=r"value_size is 4.*the object has 24"),
    ):
        spec_of("tracer").load(maps={"table": other}, kconfig=options)
