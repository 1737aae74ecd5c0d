"""All hooks of a network namespace."""

from __future__ import annotations

import errno

from ebpf._sys import Descriptor
from ebpf.errors import BpfError
from ebpf.net.namespace import describe, open_namespace
from ebpf.net.nfnetlink import BpfFunction, bpf_functions
from ebpf.queries.attached import AttachedHook, AttachedProgram
from ebpf.queries.hooks import query_hook
from ebpf.types import AttachType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ebpf.net.namespace import Namespace

_HOOKS = {
    "flow_dissector": AttachType.FLOW_DISSECTOR,
    "sk_lookup": AttachType.SK_LOOKUP,
}


def query_netns(netns: Namespace) -> dict[str, AttachedHook]:
    """What is attached to `netns`, by hook."""
    name = describe(netns)
    with Descriptor(open_namespace(netns)) as opened:
        try:
            hooks = {
                hook: query_hook(opened.fileno(), attach_type, f"ask what {hook} of the {name} has")
                for hook, attach_type in _HOOKS.items()
            }
        except BpfError as error:
            if error.errno != errno.EINVAL:
                raise
            what = f"ask what is attached to the {name}: this is no network namespace"
            raise BpfError(errno.EINVAL, what) from None
        functions = bpf_functions(opened, f"ask what netfilter of the {name} has")
    if functions is not None:
        hooks["netfilter"] = AttachedHook([_program(function) for function in functions])
    return hooks


def _program(function: BpfFunction) -> AttachedProgram:
    details = function._asdict()
    return AttachedProgram(details.pop("program_id"), **details)
