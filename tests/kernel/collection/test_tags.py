"""Functions of which declaration tags say more than their types."""

from __future__ import annotations

import struct

import pytest

import ebpf
from ebpf.btf import Kind
from ebpf.collection import loader
from ebpf.collection.btf import knows_context_tags
from ebpf.errors import NotSupportedError
from ebpf.kernel_btf import loaded_btf
from ebpf.spec import CollectionSpec
from tests.kernel.environment import kernel_version
from tests.objects import compiled

IPV4 = 0x0800
PACKET = bytes(12) + struct.pack(">H", IPV4) + bytes(50)


@pytest.fixture(params=["as the kernel needs it", "as old kernels need it"])
def contexts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> CollectionSpec:
    """The object, loaded in the way of this kernel and in that of kernels before 6.8."""
    if request.param.startswith("as old"):
        monkeypatch.setattr(loader, "knows_context_tags", lambda: False)
    return CollectionSpec.from_file(compiled("context_tags"))


def test_tagged_parameters_are_contexts(contexts: CollectionSpec) -> None:
    """A kernel that takes them for memory or numbers refuses the program, or reads elsewhere."""
    contexts.programs["probe"].autoload = contexts.programs["sample"].autoload = False
    with contexts.load() as objects:
        run = {name: program.test_run for name, program in objects.programs.items()}
        assert run["packet_length"](PACKET).return_value == len(PACKET) - 14
        protocol = struct.unpack("=H", struct.pack(">H", IPV4))[0]
        assert run["packet_protocol"](PACKET).return_value == 2 * protocol
        assert run["queue"](PACKET).return_value == 2
        assert run["raw_argument"](ctx=struct.pack("=QQ", 4711, 0)).return_value == 4711


def test_registers_are_contexts_of_probes_and_samples(contexts: CollectionSpec) -> None:
    """The kernel's name for the registers is a typedef, which no object has as a struct."""
    contexts.select("probe", "sample")
    contexts.load().close()


def test_only_kernels_that_need_it_get_other_types() -> None:
    """Types that nothing needs would make the object differ from what libbpf loads."""
    spec = CollectionSpec.from_file(compiled("context_tags"))
    spec.select("packet_length")
    with spec.load() as objects:
        btf = loaded_btf(objects.programs["packet_length"].info().btf_id)
    copies = 1 if knows_context_tags() else 2
    assert len(btf.find_all("length", Kind.FUNC)) == copies
    assert len(btf.find_all("fifth_word", Kind.FUNC)) == 1


def test_tags_are_known_since_their_release() -> None:
    """A probe that is wrong in either direction would go unnoticed until a program is refused."""
    if not knows_context_tags():
        raise NotSupportedError("contexts by tag", (6, 8))


@pytest.mark.needs_config("CONFIG_UNWINDER_ORC")
def test_exceptions_end_in_the_callback() -> None:
    """Another callback, or none, returns another number; the frames in between must be left."""
    spec = CollectionSpec.from_file(compiled("exceptions"))
    if kernel_version() < (6, 7):
        with pytest.raises(FileNotFoundError, match="bpf_throw"):
            spec.load()
        raise NotSupportedError("exceptions", (6, 7))
    with spec.load() as objects:
        run = {name: program.test_run for name, program in objects.programs.items()}
        for program in run.values():
            assert program(bytes(60)).return_value == 5
        assert objects.variables["caught"].value == 0
        assert run["throws"](bytes(200)).return_value == 401
        assert objects.variables["caught"].value == 200
        assert run["throws_too"](bytes(200)).return_value == 77
        # Without a callback the program returns what it threw (6.7: the cookie).
        assert run["uncaught"](bytes(200)).return_value in (0, 200)
        assert objects.variables["caught"].value == 200


def test_a_callback_that_cannot_be_one() -> None:
    """The verifier says EINVAL of a number; the object's author knows names."""
    spec = CollectionSpec.from_file(compiled("exceptions"))
    spec.functions["handler"].hidden = True
    with pytest.raises(ebpf.RelocationError, match=r"'throws'.*'handler' has to be a global"):
        spec.load()
    del spec.functions["handler"]
    with pytest.raises(ebpf.RelocationError, match=r"'throws'.*no function 'handler'"):
        spec.load()
