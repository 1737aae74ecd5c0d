"""All hooks of a cgroup."""

from __future__ import annotations

import errno

from ebpf.elf.sections import SECTION_DEFINITIONS
from ebpf.errors import BpfError, NotSupportedError
from ebpf.links.cgroup import open_cgroup
from ebpf.links.cgroup_hooks import CGROUP_HOOKS
from ebpf.queries.hooks import query_hook
from ebpf.types import AttachType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ebpf.links.cgroup import Cgroup
    from ebpf.queries.attached import AttachedHook

# Of several names for a hook, the first: "cgroup/sock_create", not "cgroup/sock".
_NAMES: dict[AttachType, str] = {}
for _row in SECTION_DEFINITIONS:
    if _row.attach_type in CGROUP_HOOKS or _row.attach_type == AttachType.LSM_CGROUP:
        _NAMES.setdefault(_row.attach_type, _row.pattern.rstrip("+"))


def query_cgroup(cgroup: Cgroup, effective: bool) -> dict[str, AttachedHook]:
    """What is attached to `cgroup`, by hook."""
    hooks = {}
    with open_cgroup(cgroup) as opened:
        for attach_type, name in _NAMES.items():
            action = f"ask what {name} of {opened.name} has"
            try:
                hooks[name] = query_hook(opened.fileno(), attach_type, action, effective=effective)
            except NotSupportedError:
                continue
            except BpfError as error:
                if error.errno == errno.EBADF:
                    what = f"{action}: {opened.name} is no cgroup v2 directory"
                    raise BpfError(errno.EBADF, what) from None
                # The kernel does not know the hook.
                if error.errno != errno.EINVAL:
                    raise
    return hooks
