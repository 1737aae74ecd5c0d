"""USDT: probes that programs were built with (``sys/sdt.h``), attached by provider and name.

A USDT probe is a uprobe at a place that the file lists, with a description of where its arguments
are. Programs that include libbpf's ``usdt.bpf.h`` find the description in a map of theirs, by the
cookie of the attachment; `UsdtSpecs` fills that map. Its layout differs from one version of the
header to the next, so it is taken from the types of the object.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
from functools import partial

from ebpf._sys import bpf
from ebpf._sys.arguments import check_number, check_text
from ebpf._sys.mappings import executable_mappings
from ebpf.errors import BpfError, BpfFileNotFoundError, FormatError, NotSupportedError
from ebpf.links.binaries import find_binary, open_image, place_of
from ebpf.links.create import check_process, check_type
from ebpf.links.group import LinkGroup
from ebpf.links.uprobe import Place, open_probe
from ebpf.types import ProgramType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ebpf.btf import Btf
    from ebpf.elf.image import ElfImage
    from ebpf.elf.usdt import UsdtProbe
    from ebpf.elf.usdt_arguments import UsdtArgument
    from ebpf.links.base import HasFileno, Link
    from ebpf.links.binaries import StrPath
    from ebpf.maps import Map

IDS_MAP = "__bpf_usdt_ip_to_spec_id"
_SPEC = "__bpf_usdt_spec"
_ET_EXEC = 2
_U64 = (1 << 64) - 1

# Cookies tell a program which description is meant; before, the instruction's address does.
_COOKIE_SINCE = (5, 15)


def attach_usdt(
    program: HasFileno,
    path: StrPath,
    provider: str,
    name: str,
    *,
    pid: int | None = None,
    cookie: int = 0,
    specs: UsdtSpecs | None = None,
) -> LinkGroup:
    """Run a KPROBE program at a USDT probe of a file, at each of its places.

    Args:
        path: the executable or library, as for `attach_uprobe`.
        provider, name: of the probe: ``"python", "gc__start"``.
        pid: one process only; by default every one, those to come included.
        cookie: what bpf_usdt_cookie() returns in the program, or bpf_get_attach_cookie() (5.15)
            in one without usdt.bpf.h.
        specs: the maps of the object that the program is from, where it reads the probe's
            arguments by libbpf's usdt.bpf.h. `Program.attach_usdt` knows them.

    A probe with a semaphore has it raised for as long as the program is attached (4.20).

    Raises:
        BpfFileNotFoundError: no such file or probe; the message has the nearest names.
        BpfProcessLookupError: no such process.
        FormatError: arguments of a form that is not known.
        NotSupportedError: before 5.15, a library or position-independent program without `pid`,
            for a program with usdt.bpf.h; a cookie; a kernel without uprobes.
        BpfError: E2BIG, the object's map has no room for more descriptions.
    """
    check_text("provider", provider)
    check_text("name", name)
    check_number("cookie", cookie, 64)
    if pid is not None:
        check_process("pid", pid)
    found = find_binary(path, pid)
    file, start = place_of(found)
    target = f"usdt {found}:{provider}:{name}"
    check_type(program, target, ProgramType.KPROBE)
    with open_image(found) as image:
        probes = [
            probe._replace(
                offset=start + probe.offset, semaphore=probe.semaphore and start + probe.semaphore
            )
            for probe in _find(image, found, provider, name)
        ]
        place = UsdtTarget(file, target, image, pid)
    if specs is not None:
        return specs.attach(program, place, probes, cookie)
    return LinkGroup.make(
        probes, lambda probe: attach_at(program, file, probe, target, pid, cookie), target
    )


def _find(image: ElfImage, file: str, provider: str, name: str) -> list[UsdtProbe]:
    from ebpf.elf.usdt import usdt_probes

    every = usdt_probes(image)
    probes = [probe for probe in every if (probe.provider, probe.name) == (provider, name)]
    if probes:
        return probes
    if not every:
        raise BpfFileNotFoundError(errno.ENOENT, f"no USDT probes in {file}")
    import difflib

    names = sorted({f"{probe.provider}:{probe.name}" for probe in every})
    near = difflib.get_close_matches(f"{provider}:{name}", names, n=5) or names[:5]
    raise BpfFileNotFoundError(
        errno.ENOENT, f"no USDT probe {provider}:{name} in {file}; nearest: {', '.join(near)}"
    )


def attach_at(
    program: HasFileno, file: str, probe: UsdtProbe, target: str, pid: int | None, cookie: int
) -> Link:
    """Attach at one place of a probe; the kernel raises the semaphore."""
    place = Place(file, probe.offset, f"{file}:{probe.offset:#x} ({target})")
    return open_probe(program, "uprobe", place, pid, probe.semaphore, cookie)


class UsdtSpecs:
    """The maps in which programs of an object find where the arguments of a probe are.

    Equal descriptions share an entry; one is free again when its last attachment is closed.
    """

    def __init__(self, specs: Map[Any, Any], ids: Map[Any, Any] | None, btf: Btf) -> None:
        """`specs` and `ids` are the object's maps, `btf` its types.

        Raises:
            BtfError, CodecError: the types have no such struct, or one of another kind.
        """
        from ebpf.btf import Kind
        from ebpf.codec import from_btf

        self._map = specs
        self._ids = ids
        struct = btf.find(_SPEC, Kind.STRUCT)
        self._codec = from_btf(btf, struct.id)
        array: Any = btf.resolve(btf.find_struct(_SPEC).field("args").type_id)
        self._room: int = array.length
        fields = {member.name for member in btf.layout(array.type_id).type.members}
        #: Whether the object's usdt.bpf.h knows scaled indexes (libbpf 1.7).
        self._scaled = "idx_reg_off" in fields
        # By description: its number, and how many attachments have it.
        self._used: dict[bytes, tuple[int, int]] = {}
        # By the address of an instruction: the numbers of its attachments.
        self._numbers: dict[int, list[int]] = {}
        self._lock = threading.Lock()

    def attach(
        self, program: HasFileno, target: UsdtTarget, probes: Sequence[UsdtProbe], cookie: int
    ) -> LinkGroup:
        """Describe each probe in the map, and attach there."""
        described = [self._describe(probe, target, cookie) for probe in probes]
        attachment = UsdtLinks(self, target.described)
        try:
            for probe, description in zip(probes, described, strict=True):
                attachment.add(program, target, probe, description)
        except BaseException:
            attachment.close()
            raise
        return attachment

    def _describe(self, probe: UsdtProbe, target: UsdtTarget, cookie: int) -> bytes:
        from ebpf.elf.usdt_arguments import parse_arguments

        arguments = parse_arguments(probe.arguments, target.machine)
        if len(arguments) > self._room:
            raise FormatError(
                f"{target.described}: {len(arguments)} arguments, and the object's usdt.bpf.h has"
                f" room for {self._room}"
            )
        specs = [self._argument(argument, target) for argument in arguments]
        return self._codec.pack(
            {
                "args": tuple(specs + [{}] * (self._room - len(specs))),
                "usdt_cookie": cookie,
                "arg_cnt": len(specs),
            }
        )

    def _argument(self, argument: UsdtArgument, target: UsdtTarget) -> dict[str, int | bool]:
        from ebpf.elf.usdt_arguments import ArgumentKind

        fields: dict[str, int | bool] = {
            "val_off": argument.value & _U64,
            "arg_type": int(argument.kind),
            "reg_off": argument.register,
            "arg_signed": argument.signed,
            "arg_bitshift": 64 - 8 * argument.size,
        }
        if argument.kind == ArgumentKind.SIB:
            if not self._scaled:
                raise FormatError(
                    f"{target.described}: an argument is at a scaled index, which the object's"
                    " usdt.bpf.h does not know; compile it with that of libbpf 1.7 or newer"
                )
            fields["idx_reg_off"] = argument.index_register
            fields["scale_bitshift"] = argument.scale.bit_length() - 1
        return fields

    def acquire(self, description: bytes, target: str) -> int:
        """The number under which programs find `description`."""
        with self._lock:
            number, users = self._used.get(description, (-1, 0))
            if number < 0:
                number = self._free_number(target)
                bpf.map_update_elem(self._map.fileno(), _u32(number), description)
            self._used[description] = (number, users + 1)
            return number

    def _free_number(self, target: str) -> int:
        taken = {number for number, _ in self._used.values()}
        room = self._map.max_entries
        for number in range(room):
            if number not in taken:
                return number
        raise BpfError(
            errno.E2BIG,
            f"attach to {target}: {self._map.name} has room for {room} descriptions; compile the"
            " object with a larger BPF_USDT_MAX_SPEC_CNT",
        )

    def release(self, description: bytes) -> None:
        """One attachment less has `description`."""
        with self._lock:
            number, users = self._used[description]
            if users > 1:
                self._used[description] = (number, users - 1)
            else:
                del self._used[description]

    def remember(self, address: int, number: int, target: str) -> None:
        """Have programs find a description by the instruction's address."""
        if self._ids is None:
            raise NotSupportedError(
                f"attach to {target}: the object has no map {IDS_MAP}, cookies", _COOKIE_SINCE
            )
        with self._lock:
            bpf.map_update_elem(self._ids.fileno(), _u64(address), _u32(number))
            self._numbers.setdefault(address, []).append(number)

    def forget(self, address: int, number: int) -> None:
        """The opposite of `remember`; of several attachments at one place the last one counts."""
        with self._lock:
            numbers = self._numbers[address]
            numbers.remove(number)
            if not numbers:
                del self._numbers[address]
            if self._ids is None or self._ids.closed:
                return
            if numbers:
                bpf.map_update_elem(self._ids.fileno(), _u64(address), _u32(numbers[-1]))
            else:
                bpf.map_delete_elem(self._ids.fileno(), _u64(address))


class UsdtTarget:
    """The file that some probes are in."""

    def __init__(self, file: str, described: str, image: ElfImage, pid: int | None) -> None:
        self.file = file
        self.described = described
        self.pid = pid
        self.machine = image.machine
        #: Whether it is loaded where it was linked for.
        self.fixed = image.type == _ET_EXEC

    def address(self, probe: UsdtProbe) -> int:
        """Where the probe's instruction is in memory.

        Raises:
            NotSupportedError: in every process somewhere else.
            BpfFileNotFoundError: the process has not loaded the file.
        """
        if self.fixed:
            return probe.address
        if self.pid is None:
            raise NotSupportedError(
                f"attach to {self.described}, which is loaded anywhere, without pid", _COOKIE_SINCE
            )
        for mapping in executable_mappings(self.pid):
            address = mapping.start + probe.offset - mapping.offset
            if mapping.start <= address < mapping.end and mapping.is_file(self.file):
                return address
        raise BpfFileNotFoundError(
            errno.ENOENT, f"attach to {self.described}: process {self.pid} has not loaded it"
        )


class UsdtLinks(LinkGroup):
    """The attachments to a USDT probe, and what the maps say of them."""

    def __init__(self, specs: UsdtSpecs, target: str) -> None:
        super().__init__([], target)
        self._specs = specs
        # A child of this process has the maps too, and must not take out what the parent uses.
        self._owner = os.getpid()
        self._undo: list[Callable[[], None]] = []

    def add(
        self, program: HasFileno, target: UsdtTarget, probe: UsdtProbe, description: bytes
    ) -> None:
        """Attach at one more place."""
        from ebpf.features import perf_event_cookie

        number = self._specs.acquire(description, self.target)
        self._undo.append(partial(self._specs.release, description))
        # What the program was told when it was loaded (LINUX_HAS_BPF_COOKIE).
        if perf_event_cookie():
            cookie = number
        else:
            cookie = 0
            address = target.address(probe)
            self._specs.remember(address, number, self.target)
            self._undo.append(partial(self._specs.forget, address, number))
        link = attach_at(program, target.file, probe, self.target, target.pid, cookie)
        self.links = (*self.links, link)

    def close(self) -> None:
        """Detach, and free the entries in the maps. Closing twice does nothing."""
        try:
            super().close()
        finally:
            while self._undo and self._owner == os.getpid():
                self._undo.pop()()


def _u32(number: int) -> bytes:
    return number.to_bytes(4, sys.byteorder)


def _u64(number: int) -> bytes:
    return number.to_bytes(8, sys.byteorder)
