"""What an object file holds, as plain values: no system call is made and no descriptor is held.

    spec = CollectionSpec.from_file("tracer.bpf.o")
    spec.variables["target_pid"].value = 42
    spec.maps["events"].max_entries = 1 << 20
    with spec.load() as objects: ...

Everything may be changed before ``load``. Programs, maps, variables and functions are found by
the names they have in the object, and refer to each other by those: a map that is renamed
(``spec.maps["events"].name = "trace"``) stays where it is in ``spec.maps``. Where an object has
several of one name, as static functions of linked files may be, the later ones are found as
``name#2``, ``name#3``.
"""

from __future__ import annotations

from ebpf.btf.fixups import BtfFixups
from ebpf.spec.collection import CollectionSpec
from ebpf.spec.externs import ExternKind, ExternSpec, KconfigType
from ebpf.spec.functions import (
    INSTRUCTION_SIZE,
    FunctionSpec,
    ProgramSpec,
    Relocation,
    RelocationKind,
)
from ebpf.spec.maps import Iproute2, MapSpec, Pinning, StructOps
from ebpf.spec.variables import VariableSpec

__all__ = [
    "INSTRUCTION_SIZE",
    "BtfFixups",
    "CollectionSpec",
    "ExternKind",
    "ExternSpec",
    "FunctionSpec",
    "Iproute2",
    "KconfigType",
    "MapSpec",
    "Pinning",
    "ProgramSpec",
    "Relocation",
    "RelocationKind",
    "StructOps",
    "VariableSpec",
]
