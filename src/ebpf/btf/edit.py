"""``BtfEditor``: BTF with some of its types changed, for a loader and for old kernels."""

from __future__ import annotations

from collections.abc import Mapping

from ebpf.btf import types as t
from ebpf.btf.btf import Btf
from ebpf.btf.build import BtfBuilder, StringPool
from ebpf.btf.encode import encode
from ebpf.btf.words import own_words
from ebpf.errors import BtfError
from ebpf.plain import replace

# libbpf's name for the variable that stands for the functions of .ksyms.
_DUMMY_KSYM = "dummy_ksym"
_INT = t.Int(name="int", size=4, bits=32, encoding=t.IntEncoding.SIGNED)


class BtfEditor(BtfBuilder):
    """Starts as a copy of `btf`, whose types can then be replaced, and to which can be added.

    Every type keeps its id and every string its offset, so that .BTF.ext and instructions which
    refer to them stay valid; new types and strings come after those that are there. Types of
    kinds that only the layout section describes are kept as they are.
    """

    def __init__(self, btf: Btf) -> None:
        super().__init__(btf.byte_order, btf.base)
        self._source = btf
        self._changed: dict[int, t.Type] = {}
        self.records = list(own_words(btf))
        strings, layout = btf.header.strings, btf.header.layout
        self._strings = StringPool(
            btf.base.strings if btf.base else None, btf.data[strings.start : strings.end]
        )
        self._layout = btf.data[layout.start : layout.end]

    def type(self, type_id: int) -> t.Type:
        """The type `type_id` as it is by now. Raises BtfError when there is none."""
        return self._changed.get(type_id) or self._source.type(type_id)

    def add(self, type: t.Type) -> int:
        type_id = super().add(type)
        self._changed[type_id] = replace(type, id=type_id)
        return type_id

    def replace(self, type_id: int, type: t.Type) -> None:
        """Puts `type`, of whatever kind, at `type_id`. Names are not checked.

        Raises BtfError for an id that is the base's or nobody's, and for a number that the
        format does not hold.
        """
        if not self.start_id <= type_id < self.next_id:
            raise BtfError(
                f"BTF type {type_id} cannot be replaced: "
                f"this BTF's own are {self.start_id}..{self.next_id - 1}"
            )
        self.records[type_id - self.start_id] = encode(type, self.string)
        self._changed[type_id] = replace(type, id=type_id)

    def drop_layout(self) -> None:
        """Leaves out the layout section, which kernels before 7.1 refuse."""
        self._layout = b""

    def set_linkage(self, type_id: int, linkage: t.Linkage) -> None:
        """Changes the linkage of a Var or Func. Raises BtfError for another kind."""
        type = self.type(type_id)
        if not isinstance(type, (t.Var, t.Func)):
            raise BtfError(
                f"BTF type {type_id} is {type.kind.name}: only VAR and FUNC have linkage"
            )
        self.replace(type_id, replace(type, linkage=linkage))

    def set_section(
        self, type_id: int, size: int | None = None, offsets: Mapping[int, int] | None = None
    ) -> None:
        """Sets the `size` of a Datasec and the `offsets` in it, {id of the Var: bytes}.

        Compilers leave both 0. The variables are then sorted by offset, as kernels demand it.
        Raises BtfError when `type_id` is no Datasec or `offsets` has a variable that it lacks.
        """
        section = self._section(type_id)
        offsets = offsets or {}
        foreign = set(offsets) - {variable.type_id for variable in section.variables}
        if foreign:
            raise BtfError(f"section {section.name!r} has no variable of type id {min(foreign)}")
        variables = [
            variable._replace(offset=offsets.get(variable.type_id, variable.offset))
            for variable in section.variables
        ]
        variables.sort(key=lambda variable: variable.offset)
        size = section.size if size is None else size
        self.replace(type_id, replace(section, size=size, variables=tuple(variables)))

    def allocate_externs(self, type_id: int) -> None:
        """Turns the externs of a Datasec, ``.ksyms``, into what the kernel takes: 4-byte ints.

        The kernel knows no extern variables and functions, so each variable becomes a global int
        and each function a global one, for which a variable ``dummy_ksym`` stands in the section.
        The types that the program meant are lost, so read them before. Raises BtfError.
        """
        section = self._section(type_id)
        integer = self._four_byte_int()
        dummy = 0
        named: set[int] = set()
        variables = []
        for position, variable in enumerate(section.variables):
            entry_id = variable.type_id
            entry = self.type(entry_id)
            if isinstance(entry, t.Func):
                dummy = dummy or self.add(
                    t.Var(name=_DUMMY_KSYM, type_id=integer, linkage=t.Linkage.GLOBAL)
                )
                if entry.type_id not in named:
                    named.add(entry.type_id)
                    self._name_parameters(entry)
                self.set_linkage(entry_id, t.Linkage.GLOBAL)
                entry_id = dummy
            elif isinstance(entry, t.Var):
                allocated = replace(entry, type_id=integer, linkage=t.Linkage.GLOBAL)
                self.replace(entry_id, allocated)
            else:
                raise BtfError(f"section {section.name!r} holds {entry.kind.name} {entry_id}")
            variables.append(t.SectionVariable(entry_id, 4 * position, 4))
        changed = replace(section, size=4 * len(variables), variables=tuple(variables))
        self.replace(type_id, changed)

    def _section(self, type_id: int) -> t.Datasec:
        section = self.type(type_id)
        if not isinstance(section, t.Datasec):
            raise BtfError(f"BTF type {type_id} is {section.kind.name}, no DATASEC")
        return section

    def _four_byte_int(self) -> int:
        for type_id in range(1, self.next_id):
            type = self.type(type_id)
            if isinstance(type, t.Int) and type.bits == 32:
                return type_id
        return self.add(_INT)

    def _name_parameters(self, function: t.Func) -> None:
        """The kernel wants a name for every parameter of a function, declarations may have none."""
        prototype = self.type(function.type_id)
        if not isinstance(prototype, t.FuncProto):
            raise BtfError(f"BTF FUNC {function.name!r}: type {function.type_id} is no FUNC_PROTO")
        named = tuple(
            parameter._replace(name=_DUMMY_KSYM)
            if parameter.type_id and not parameter.name
            else parameter
            for parameter in prototype.parameters
        )
        if named != prototype.parameters:
            self.replace(function.type_id, replace(prototype, parameters=named))
