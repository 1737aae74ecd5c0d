"""What an object uses of the kernel, or of other objects."""

from __future__ import annotations

from enum import Enum

from ebpf.plain import dataclass
from ebpf.spec.names import Shown


class ExternKind(Enum):
    """What provides an extern.

    KCONFIG     an option of the kernel's configuration, or libbpf's LINUX_* (``__kconfig``)
    KSYM        a symbol of the kernel, by address (``extern const void x __ksym``)
    TYPED_KSYM  a variable of the kernel that its BTF knows (``extern const int x __ksym``)
    KFUNC       a function of the kernel or of a module (``extern int f(void) __ksym``)
    UNDEFINED   nothing that the object names: another object, to be linked with it
    """

    KCONFIG = "kconfig"
    KSYM = "ksym"
    TYPED_KSYM = "typed ksym"
    KFUNC = "kfunc"
    UNDEFINED = "undefined"


class KconfigType(Enum):
    """How the value of a kernel option is to be written."""

    BOOL = "bool"
    CHAR = "char"
    INT = "int"
    TRISTATE = "tristate"
    TEXT = "char[]"


@dataclass(repr=False)
class ExternSpec(Shown):
    """Something that the object uses and does not define; a ``weak`` one may be missing.

    ``btf_id`` is the Var or Func in the object's BTF and ``type_id`` the type behind it. For a
    KCONFIG extern ``offset`` and ``size`` (bytes) say where it is in the map ``.kconfig``, and
    ``kconfig`` and ``signed`` how it is to be written.
    """

    name: str
    kind: ExternKind
    weak: bool = False
    btf_id: int = 0
    type_id: int = 0
    offset: int = 0
    size: int = 0
    kconfig: KconfigType | None = None
    signed: bool = False
