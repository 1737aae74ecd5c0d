"""What a loader adds to an object's BTF before a kernel sees it."""

from __future__ import annotations

from ebpf.btf import types as t
from ebpf.btf.btf import Btf
from ebpf.btf.edit import BtfEditor
from ebpf.plain import dataclass, field


@dataclass
class BtfFixups:
    """What only the loader knows of the BTF: compilers leave sizes, offsets and linkages open.

    ``sections`` are {type id of a Datasec: (size, {type id of a Var: offset})}, ``linkages``
    {type id of a Var or Func: linkage}, and ``externs`` the Datasecs whose externs must become
    variables, as no kernel knows externs (``.ksyms``).
    """

    sections: dict[int, tuple[int, dict[int, int]]] = field(default_factory=dict)
    linkages: dict[int, t.Linkage] = field(default_factory=dict)
    externs: list[int] = field(default_factory=list)

    def apply(self, btf: Btf) -> BtfEditor:
        """`btf` with everything filled in. Raises BtfError."""
        editor = BtfEditor(btf)
        for type_id, (size, offsets) in self.sections.items():
            editor.set_section(type_id, size, offsets)
        for type_id, linkage in self.linkages.items():
            editor.set_linkage(type_id, linkage)
        for type_id in self.externs:
            editor.allocate_externs(type_id)
        return editor

    def copy(self) -> BtfFixups:
        return BtfFixups(dict(self.sections), dict(self.linkages), list(self.externs))
