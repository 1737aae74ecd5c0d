"""Maps of type STRUCT_OPS: an object's struct of functions as the kernel has that struct.

The object is compiled against some kernel's declaration, so members are matched by name, as CO-RE
does it. The value of the map is another struct, ``bpf_struct_ops_NAME``, which has the kernel's
``struct NAME`` as a member.
"""

from __future__ import annotations

import errno
import sys

from ebpf._sys import bpf
from ebpf.btf import Kind
from ebpf.btf import types as t
from ebpf.btf.core.names import essential_name
from ebpf.collection.target import AttachTarget
from ebpf.errors import ENOTSUPP, BpfError, NotSupportedError, RelocationError, from_errno
from ebpf.links import Link
from ebpf.links.functions import missing, nearest_type
from ebpf.types import AttachType, MapFlags, MapType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ebpf.btf import Btf
    from ebpf.maps import Map
    from ebpf.programs import Program
    from ebpf.programs.kernel_types import KernelTypes, Module
    from ebpf.spec import CollectionSpec, MapSpec

_POINTER_SIZE = 8
_KEY = bytes(4)

_LEFT = "; those that a killed process has left, ebpf.links.cleanup() unregisters"
_HINTS = {
    errno.EBUSY: "the kernel registers a map's value only once; load the object again",
    errno.EEXIST: f"functions of that name are registered already{_LEFT}",
    errno.EINVAL: "a function, a name or the device that they are for is missing",
}
# By a link the value may be there already.
_LINK_HINTS = _HINTS | {
    errno.EBUSY: f"the kernel has one of this kind at a time, and another is registered{_LEFT}"
}


class KernelStruct:
    """One struct of an object, laid out as the running kernel wants it.

    ``value`` is the map's value without the programs, ``places`` {offset of a function pointer:
    key of the program}, and ``targets`` {key of a program: what it is loaded for}.
    """

    def __init__(self, spec: MapSpec, btf: Btf, kernel: KernelTypes) -> None:
        assert spec.struct_ops is not None
        self.spec = spec
        self._btf = btf
        struct = btf.type(spec.struct_ops.type_id)
        assert isinstance(struct, t.Struct)
        found = _find(spec.name, struct.name, kernel)
        self.module, self._struct, self._wrapper, self._start = found
        self.value = bytearray(self._wrapper.size)
        self.places: dict[int, str] = {}
        self.targets: dict[str, AttachTarget] = {}
        members = {member.name: at for at, member in enumerate(self._struct.members)}
        for member in struct.members:
            self._place(member, members.get(member.name))

    def _place(self, member: t.Member, index: int | None) -> None:
        """Put one member of the object's struct where the kernel has it, at `index` there."""
        assert self.spec.struct_ops is not None
        size = self._btf.sizeof(member.type_id)
        data = self.spec.read(member.bit_offset // 8, size)
        program = self.spec.struct_ops.programs.get(member.name)
        if index is None:
            if program is not None or any(data):
                raise self._error(member, "is set, but this kernel's struct does not have it")
            return
        found = self._struct.members[index]
        if member.bitfield_size or found.bitfield_size:
            raise self._error(member, "is a bitfield, which struct_ops maps cannot have")
        local = self._btf.resolve(member.type_id)
        target = self.module.btf.resolve(found.type_id)
        if local.kind != target.kind:
            raise self._error(member, f"is {local.kind.name}, the kernel's is {target.kind.name}")
        offset = self._start + found.bit_offset // 8
        if isinstance(target, t.Pointer):
            self._place_pointer(member, index, offset, target, program, data)
            return
        if size != (needed := self.module.btf.sizeof(found.type_id)):
            raise self._error(member, f"has {size} bytes, the kernel's has {needed}")
        self.value[offset : offset + size] = data

    def _place_pointer(
        self,
        member: t.Member,
        index: int,
        offset: int,
        target: t.Pointer,
        program: str | None,
        data: bytes,
    ) -> None:
        if program is None:
            if any(data):
                raise self._error(member, "points to something that is no program")
            return
        if self.module.btf.resolve(target.type_id).kind != Kind.FUNC_PROTO:
            raise self._error(member, "is no function pointer in the kernel")
        self.places[offset] = program
        wanted = AttachTarget(self._struct.id, self.module.fd, index)
        if self.targets.setdefault(program, wanted) != wanted:
            raise self._error(member, f"is the second that program {program!r} is for")

    def _error(self, member: t.Member, problem: str) -> RelocationError:
        where = f"member {member.name!r} of struct {self._struct.name}"
        return RelocationError(f"map {self.spec.name!r}: {where} {problem}")

    def create(self, btf_fd: int) -> int:
        """A descriptor of the map, without a value."""
        try:
            return self._create(btf_fd)
        except NotSupportedError as error:
            if error.errno != ENOTSUPP:
                raise
        from ebpf.features.programs import verify_a_program

        # Kernels that read their own types when they verify their first program (5.10 does) know
        # no struct until then.
        verify_a_program()
        return self._create(btf_fd)

    def _create(self, btf_fd: int) -> int:
        flags = self.spec.flags | (MapFlags.VTYPE_BTF_OBJ_FD if self.module.fd else 0)
        return bpf.map_create(
            f"create the STRUCT_OPS map {self.spec.name!r}",
            max(filter(None, (MapType.STRUCT_OPS.since, flags.since))),
            map_type=MapType.STRUCT_OPS,
            key_size=len(_KEY),
            value_size=len(self.value),
            max_entries=1,
            map_flags=flags,
            map_name=self.spec.kernel_name.encode("utf-8", "surrogateescape"),
            btf_fd=btf_fd,
            btf_vmlinux_value_type_id=self._wrapper.id,
            value_type_btf_obj_fd=self.module.fd,
        )

    def attach(self, map: Map, programs: Mapping[str, Program]) -> Link:  # type: ignore[type-arg]
        """Register the struct with the kernel: by a link, or until the map's value is deleted.

        Raises BpfError: EEXIST where the kernel has one of that name already, EBUSY where it has
        one at a time (sched_ext), EINVAL where a function is missing that it needs.
        """
        from ebpf.links.struct_ops import register_struct_ops

        value = self._filled(programs)
        what = f"struct_ops {self.spec.name}"
        try:
            if self.spec.flags & MapFlags.LINK:
                return Link(_linked(map.fileno(), value, what), what)
            return register_struct_ops(map.fileno(), value, what)
        except NotSupportedError:
            raise
        except BpfError as error:
            code = error.errno or 0
            hints = _LINK_HINTS if self.spec.flags & MapFlags.LINK else _HINTS
            if code not in hints:
                raise
            raise from_errno(code, f"attach {what}: {hints[code]}") from error

    def replace(
        self,
        map: Map,  # type: ignore[type-arg]
        programs: Mapping[str, Program],
        link: Link,
    ) -> None:
        """Have `link` use the struct in the place of the one that it has (BPF_LINK_UPDATE).

        Raises BpfError: EINVAL where `link` is of another struct or name, EOPNOTSUPP where the
        kernel replaces no structs of this kind.
        """
        action = f"replace {link!r} by struct_ops {self.spec.name}"
        if not self.spec.flags & MapFlags.LINK:
            raise BpfError(errno.EINVAL, f"{action}: its section is not .struct_ops.link")
        _set_once(map.fileno(), self._filled(programs))
        try:
            bpf.link_update(action=action, link_fd=link.fileno(), new_prog_fd=map.fileno())
        except BpfError as error:
            if error.errno != errno.EINVAL:
                raise
            reason = "the link is of other functions, or the name in them is another"
            raise BpfError(errno.EINVAL, f"{action}: {reason}") from None

    def _filled(self, programs: Mapping[str, Program]) -> bytes:
        """The map's value with the programs in their places."""
        value = bytearray(self.value)
        for offset, name in self.places.items():
            fd = programs[name].fileno()
            value[offset : offset + _POINTER_SIZE] = fd.to_bytes(_POINTER_SIZE, sys.byteorder)
        return bytes(value)


def _linked(fd: int, value: bytes, what: str) -> int:
    """The descriptor of a link that registers the struct in the map `fd`."""
    _set_once(fd, value)
    return bpf.link_create(
        "struct_ops",
        f"attach {what}",
        AttachType.STRUCT_OPS.since,
        map_fd=fd,
        attach_type=AttachType.STRUCT_OPS,
    )


def _set_once(fd: int, value: bytes) -> None:
    try:
        bpf.map_update_elem(fd, _KEY, value)
    except BpfError as error:
        # The value stays in the map that a link used, and cannot be set twice.
        if error.errno != errno.EBUSY:
            raise


def _find(map: str, name: str, kernel: KernelTypes) -> tuple[Module, t.Struct, t.Struct, int]:
    """The module or kernel that takes ``struct NAME``, that struct, the one around it, and at
    which offset in that."""
    name = essential_name(name)
    # First what is around it: where a module has that, the kernel may have the struct itself.
    found = kernel.find(f"bpf_struct_ops_{name}", Kind.STRUCT)
    if found is None:
        raise missing(
            f"map {map!r}: this kernel takes no struct_ops of struct {name} (there is no struct"
            f" bpf_struct_ops_{name} in its BTF or its modules')",
            nearest_type(kernel.vmlinux, "bpf_struct_ops_", Kind.STRUCT, name),
        )
    module, wrapper = found
    assert isinstance(wrapper, t.Struct)
    for member in wrapper.members:
        struct = module.btf.type(member.type_id)
        if isinstance(struct, t.Struct) and struct.name == name:
            return module, struct, wrapper, member.bit_offset // 8
    raise RelocationError(f"map {map!r}: struct {wrapper.name} of the kernel has no struct {name}")


def kernel_structs(spec: CollectionSpec, kernel: KernelTypes) -> dict[str, KernelStruct]:
    """The kernel's form of each STRUCT_OPS map that is to be created.

    Programs whose maps are all left out are left out too, the others are loaded: nothing else can
    use them. Raises RelocationError.
    """
    made: dict[str, KernelStruct] = {}
    used: set[str] = set()
    for key, map in spec.maps.items():
        if map.struct_ops is None:
            continue
        used |= set(map.struct_ops.programs.values())
        if map.autocreate:
            assert spec.btf is not None
            made[key] = KernelStruct(map, spec.btf, kernel)
    needed = {name for struct in made.values() for name in struct.targets}
    for name in used:
        spec.programs[name].autoload = name in needed
    return made


def struct_ops_targets(structs: Mapping[str, KernelStruct]) -> dict[str, AttachTarget]:
    """What the programs of all `structs` are loaded for; one program has one member only."""
    targets: dict[str, AttachTarget] = {}
    for struct in structs.values():
        for name, target in struct.targets.items():
            if targets.setdefault(name, target) != target:
                raise RelocationError(
                    f"map {struct.spec.name!r}: program {name!r} is for another member of another"
                    " struct already"
                )
    return targets
