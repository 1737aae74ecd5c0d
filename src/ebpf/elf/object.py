"""Puts a CollectionSpec together from the bytes of an object file."""

from __future__ import annotations

from ebpf.btf.ext import BtfExt
from ebpf.elf.context import Context, Role, only, place_variables, read_btf
from ebpf.elf.data import read_data
from ebpf.elf.ext import join_ext
from ebpf.elf.externs import read_externs
from ebpf.elf.functions import add_functions, add_programs, find_functions
from ebpf.elf.legacy import read_legacy_maps
from ebpf.elf.maps import fill_slots, read_maps
from ebpf.elf.reader import ElfFile
from ebpf.elf.struct_ops import read_struct_ops
from ebpf.spec import CollectionSpec

# What has its variables placed where it is read.
_PLACED = frozenset({Role.MAPS, Role.DATA, Role.ARENA, Role.STRUCT_OPS})


def parse(data: bytes, name: str) -> CollectionSpec:
    """The spec of an object file; `name` begins the names of its data maps.

    Raises FormatError: ElfError, BtfError or RelocationError.
    """
    elf = ElfFile(data)
    context = Context(elf, CollectionSpec(name=name, byte_order=elf.byte_order))
    _read_strings(context)
    _read_btf(context)
    # Where things are comes first, what refers to them after.
    functions = find_functions(context)
    add_programs(context, functions)
    places = read_maps(context)
    read_legacy_maps(context)
    read_data(context)
    _place_others(context)
    read_externs(context)
    read_struct_ops(context)
    add_functions(context, functions)
    fill_slots(context, places)
    if context.spec.btf_ext is not None:
        join_ext(context.spec, context.spec.btf_ext, functions)
    return context.spec


def _read_strings(context: Context) -> None:
    license = only(context.sections(Role.LICENSE), "license")
    if license is not None:
        text = bytes(context.elf.data(license)).partition(b"\0")[0]
        context.spec.license = text.decode("utf-8", "surrogateescape")
    version = only(context.sections(Role.VERSION), "version")
    if version is not None:
        raw = bytes(context.elf.data(version))
        if len(raw) != 4:
            raise version.error(f"{len(raw)} bytes, LINUX_VERSION_CODE has 4")
        context.spec.kernel_version = int.from_bytes(raw, context.elf.byte_order)


def _place_others(context: Context) -> None:
    """License, version and sections of the program's own (xdp-tools has ``.xdp_run_config``).

    Nothing here reads them, but a kernel refuses BTF that leaves a section's size open.
    """
    for section in context.elf.sections:
        datasec = context.datasec(section)
        if datasec is not None and context.roles[section.index] not in _PLACED:
            place_variables(context, section, datasec)


def _read_btf(context: Context) -> None:
    section = only(context.sections(Role.BTF), "section of BTF")
    if section is None or not section.size:
        return
    context.btf = read_btf(bytes(context.elf.data(section)))
    if context.btf.btf.byte_order != context.elf.byte_order:
        raise section.error(
            f"{context.btf.btf.byte_order}-endian in a {context.elf.byte_order}-endian file"
        )
    context.spec.btf = context.btf.btf
    ext = only(context.sections(Role.BTF_EXT), "section of BTF.ext")
    if ext is not None and ext.size:
        context.spec.btf_ext = BtfExt(bytes(context.elf.data(ext)), context.btf.btf)
