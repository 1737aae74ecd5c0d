"""Static linking: several object files become one. Pure: bytes in, bytes out.

    link([("main.bpf.o", main), ("helpers.bpf.o", helpers)])

What comes out is an object file as libbpf's linker writes it (``bpftool gen object``), which
every loader reads and which can be linked again. Linking sections and not Specs leaves all that
an object can hold to the one reader that knows it.

inputs (the objects) -> layout (sections), symbols and match (who defines what, and whether all
mean the same) -> relocate, btf, ext (what refers to what) -> write (the file)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ebpf.elf.linker.btf import merge_btf
from ebpf.elf.linker.ext import merge_ext
from ebpf.elf.linker.inputs import Input, blaming, read_input
from ebpf.elf.linker.layout import Layout
from ebpf.elf.linker.relocate import Relocator
from ebpf.elf.linker.symbols import SymbolTable
from ebpf.elf.linker.write import Strings, SymbolWriter, write
from ebpf.errors import LinkError

__all__ = ["link"]


def link(objects: Iterable[tuple[str, bytes]]) -> bytes:
    """One object file made of several; each is (what to call it in messages, its bytes).

    A global function, variable or map that one object declares ``extern`` is the one that another
    defines. Of two definitions one has to be weak, and the strong one counts, or else the first;
    all must agree in type. Static ones stay apart. Hidden symbols are found by the other objects,
    and static for the verifier. Sections of one name come one after the other; license and version
    must be the same in all objects that say them. Externs that nothing defines stay externs.

    Raises LinkError for objects that do not fit together, other kinds of FormatError for one that
    is malformed, and ValueError for no objects at all.
    """
    inputs = [read_input(label, bytes(data)) for label, data in objects]
    if not inputs:
        raise ValueError("objects is empty: there is nothing to link")
    _check_byte_order(inputs)
    layout, symbols = Layout(), SymbolTable()
    for input in inputs:
        layout.add(input)
        symbols.add(input)
    return _finish(inputs, layout, symbols)


def _finish(inputs: Sequence[Input], layout: Layout, symbols: SymbolTable) -> bytes:
    order = inputs[0].elf.order
    strings = Strings()
    table = SymbolWriter(order, layout, strings)
    table.add_all(symbols)
    relocator = Relocator(layout)
    for input in inputs:
        for name, numbers in input.linked.items():
            number = symbols.globals[name].number
            input.symbol_numbers.update(dict.fromkeys(numbers, number))
        with blaming(input.label):
            relocator.add(input)
    btf: dict[str, bytes] = {}
    if any(input.btf for input in inputs):
        builder = merge_btf(inputs, layout, symbols)
        ext = merge_ext(inputs, builder)
        btf[".BTF"] = builder.to_bytes()
        if ext:
            btf[".BTF.ext"] = ext
    return write(order, layout, table, strings, relocator.found, btf)


def _check_byte_order(inputs: Sequence[Input]) -> None:
    first = inputs[0]
    for input in inputs:
        if input.elf.byte_order != first.elf.byte_order:
            raise LinkError(
                f"{first.label} is {first.elf.byte_order}-endian and {input.label} "
                f"{input.elf.byte_order}-endian; compile both with the same -target"
            )
