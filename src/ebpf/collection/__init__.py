"""A loaded Spec: its maps, programs and variables.

image      one program's instructions from the functions it reaches (pure)
tags       exception callbacks and contexts, from declaration tags (pure)
externs    kernel options, kernel symbols, kfuncs
target     what a program attaches to, as the kernel wants it at load
btf        loading BTF, less what the kernel does not know
maps       creating maps, or opening those that are pinned
variables  global variables, live
arena      the memory of an arena, and the variables in it
struct_ops structs of functions as the kernel has them
programs   loading a program
loader     all of it in order
explain    verifier errors at instructions that were made unusable
"""

from __future__ import annotations

import warnings
from types import MappingProxyType

from ebpf._sys.closing import close_all
from ebpf.btf.types import Kind
from ebpf.codec import from_btf
from ebpf.collection.loader import Loader
from ebpf.collection.variables import Variable
from ebpf.errors import BtfError, ClosedError
from ebpf.pin import BPFFS
from ebpf.programs import LOG_SIZE
from ebpf.spec.members import Named
from ebpf.token import ForObject

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from typing import Any, NoReturn, SupportsIndex

    from typing_extensions import Self

    from ebpf.btf import Btf
    from ebpf.codec import Codec
    from ebpf.links import Link
    from ebpf.maps import Map
    from ebpf.programs import Program
    from ebpf.spec import CollectionSpec
    from ebpf.token import Token

# The words in front of C's types that have names of their own.
_KINDS = {"struct": Kind.STRUCT, "union": Kind.UNION, "enum": Kind.ENUM}


class _Variables(Named[Variable]):
    what = "variable"


class Collection:
    """The maps, programs and variables of a loaded object, by the names that they have in it.

    It owns them all, and the links of its programs: closing it closes and detaches everything
    that is not pinned. A context manager; warns (ResourceWarning) when it is collected open.
    """

    maps: Mapping[str, Map[Any, Any]]
    programs: Mapping[str, Program]
    variables: Mapping[str, Variable]

    def __init__(self, *arguments: object, **options: object) -> None:
        name = self.__class__.__name__
        raise TypeError(
            f"{name}(...) makes no collection: spec.load(...) and {name}.load(spec, ...) do"
        )

    def _fill(self, spec: CollectionSpec, loader: Loader) -> None:
        self._loader = loader
        self._closed = False
        self._links: list[Link] = []
        self._btf = spec.btf
        self.name = spec.name
        self.maps = MappingProxyType(loader.maps)
        self.programs = MappingProxyType(loader.programs)
        sections = {id(map): key for key, map in spec.maps.items()}
        self.variables = MappingProxyType(
            _Variables(
                (name, Variable(variable, loader.memories[sections[id(variable.map)]]))
                for name, variable in spec.variables.items()
                if sections.get(id(variable.map)) in loader.memories
            )
        )

    @classmethod
    def load(
        cls,
        spec: CollectionSpec,
        *,
        maps: Mapping[str, Map[Any, Any]] | None = None,
        targets: Mapping[str, Program] | None = None,
        pin_root: str = BPFFS,
        kernel_btf: Btf | str | os.PathLike[str] | None = None,
        kconfig: Mapping[str, str | int | bool] | None = None,
        token: Token | None = None,
        log_level: int = 0,
        log_size: int = LOG_SIZE,
    ) -> Self:
        """Create the maps of `spec` and load its programs. `spec` is not changed.

        Args:
            maps: maps to use in place of the object's, by name; they stay the caller's, with what
                they hold, and are not frozen.
            targets: loaded programs that programs of the object attach to, by the name of the
                latter: what an freplace program replaces a function of, or what fentry and fexit
                programs are to trace instead of the kernel.
            pin_root: the directory of the maps that the object wants pinned by name. One that is
                there already is used, if it is of the same kind.
            kernel_btf: types to match CO-RE relocations with, for kernels without their own: a
                Btf, or a file of raw BTF or an ELF file with BTF (vmlinux).
            kconfig: kernel options that the object asks for, in place of those of the running
                kernel's configuration: ``{"CONFIG_HZ": 250, "CONFIG_SMP": True}``.
            token: lets a process in a user namespace load the object (6.9); without it, the one
                that `Token.find` finds, as libbpf does it.
            log_level, log_size: as for `Program.load`, for each program.

        Raises:
            KeyError: a name in `maps`, `targets` or `kconfig` that the object does not have.
            FormatError: the object cannot be loaded on any kernel, or a type of this one is not
                what it declares.
            BpfFileNotFoundError: it asks for a function, variable, hook or struct that this kernel
                does not have; the message has the nearest names.
            VerifierError: a program was refused; the message says which, and why.
            NotSupportedError, BpfPermissionError, BpfError: what the kernel refused.

        When anything is raised, everything that was made before is closed again, and unpinned.
        """
        spec.check()
        spec = spec.copy()
        loader = Loader(
            spec,
            maps=maps,
            targets=targets,
            pin_root=pin_root,
            kernel_btf=kernel_btf,
            kconfig=kconfig,
            log_level=log_level,
            log_size=log_size,
        )
        try:
            with ForObject(token):
                loader.load()
            loader.finish()
        except BaseException:
            loader.undo()
            raise
        made = cls.__new__(cls)
        made._fill(spec, loader)
        return made

    def codec(self, name: str) -> Codec[Any]:
        """The codec for the C type `name` of the object, for a reader or a map.

        ``"event"`` or ``"struct event"``: the fields are those of the source, and need not be
        written again. The compiler describes a type that a map, a variable or a function uses;
        others are there with ``struct event *unused __attribute__((unused));``.

        Raises:
            BtfError: the object has no such type, or no types at all.
            CodecError: the type has no values.
        """
        if self._btf is None:
            raise BtfError(f"{self!r} has no BTF; compile the object with -g")
        word, _, rest = name.partition(" ")
        kind = _KINDS.get(word) if rest else None
        return from_btf(self._btf, self._btf.find(rest if kind else name, kind).id)

    def attach(self, **where: Any) -> list[Link]:
        """Attach every program by its section's name, and every struct_ops map.

        Programs whose section does not say where (``xdp``, ``perf_event``, ``uprobe`` without a
        path) are left out, as libbpf leaves them to their own attach methods; unless `where` does:
        with ``cgroup=`` all programs for cgroups are attached to that one.

        The collection owns the links. Raises what `Program.attach` and `attach_struct_ops` raise,
        and TypeError for a keyword that none of the programs takes; what was attached before is
        detached again.
        """
        from ebpf.links.section import names_target, takes

        taken = {takes(program.spec.attach) for program in self.programs.values() if program.spec}
        if where.keys() - taken:
            raise TypeError(f"attach: no program of {self!r} takes {min(where.keys() - taken)}=")
        made: list[Link] = []
        try:
            for program in self.programs.values():
                spec = program.spec
                if spec is None:
                    continue
                keyword = takes(spec.attach)
                if keyword in where:
                    made.append(program.attach(**{keyword: where[keyword]}))
                elif names_target(spec.attach, spec.target):
                    made.append(program.attach())
            for name in self._loader.structs:
                made.append(self.attach_struct_ops(name))
        except BaseException:
            close_all(made)
            raise
        return made

    def attach_struct_ops(self, name: str) -> Link:
        """Have the kernel use the functions of the STRUCT_OPS map `name`.

        A map of ``.struct_ops.link`` is attached by a link (Linux 6.4), which can be pinned; one
        of ``.struct_ops`` is registered until the link is closed, or the process ends by itself;
        what SIGKILL or SIGTERM leaves, `ebpf.links.cleanup` unregisters. The collection owns it.

        Raises:
            KeyError: no STRUCT_OPS map of that name was created.
            BpfError: EEXIST where the kernel has functions of that name, EINVAL where one is
                missing that it needs.
        """
        struct = self._loader.structs[name]
        link = struct.attach(self.maps[name], self.programs)
        self._links.append(link)
        return link

    def replace_struct_ops(self, link: Link, name: str) -> None:
        """Have `link` use the functions of the STRUCT_OPS map `name` in the place of its own.

        At no time are there none. What began with the old functions may go on with them, such as
        the connections of a congestion control. The map is one of ``.struct_ops.link`` (6.4), and
        the name in it the same.

        Raises:
            KeyError: no STRUCT_OPS map of that name was created.
            BpfError: EINVAL where `link` is of other functions or another name; EOPNOTSUPP where
                the kernel replaces no functions of this kind.
        """
        self._loader.structs[name].replace(self.maps[name], self.programs, link)

    def close(self) -> None:
        """Close everything that the collection owns. Closing twice does nothing."""
        if not self._closed:
            self._closed = True
            close_all([*self._links, self._loader])

    def __enter__(self) -> Self:
        if self._closed:
            raise ClosedError(f"{self!r} is closed")
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError(
            f"{self!r} holds descriptors and can't be copied or pickled; load the spec again, or"
            " pin its maps and programs"
        )

    def __repr__(self) -> str:
        parts = [f"programs={list(self.programs)}", f"maps={list(self.maps)}"]
        state = " closed" if self._closed else ""
        return f"<ebpf.Collection {self.name!r}: {', '.join(parts)}{state}>"
