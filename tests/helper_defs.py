"""Writes bpf/bpf_helper_defs.h from the descriptions of helpers in the kernel's linux/bpf.h.

    python -m tests.helper_defs /usr/include/linux/bpf.h

Take that of the newest kernel. The list has been complete since 6.2: newer kernels add kfuncs.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

HEADER = Path(__file__).parents[1] / "src/ebpf/compile/include/bpf/bpf_helper_defs.h"

_PROTOTYPE = re.compile(r"^ \* ([a-z][\w ]*?[ *]+)(bpf_\w+)\(((?:[^()]|\n)*)\)$", re.MULTILINE)
# What the kernel calls a thing inside, and what a program sees of it.
_SEEN = {
    "struct sk_buff": "struct __sk_buff",
    "struct sk_msg_buff": "struct sk_msg_md",
    "struct xdp_buff": "struct xdp_md",
    "struct bpf_map": "void",
    "struct sock": "void",
    "size_t": "unsigned long",
    **{f"{kind}{bits}": f"__{kind}{bits}" for kind in "us" for bits in (8, 16, 32, 64)},
}
# Helpers with several descriptions, one for each kind of context.
_ANY_CONTEXT = {
    "bpf_get_socket_cookie": "void *ctx",
    "bpf_sk_assign": "void *ctx, void *sk, __u64 flags",
}

_TOP = """\
/* The kernel's helpers, by number, with the prototypes of linux/bpf.h.
 *
 * Made by tests/helper_defs.py. Each comment says since which Linux release the helper is there.
 * bpf/bpf_helpers.h includes this file, after the types that it needs (vmlinux.h, or linux/bpf.h).
 */

#ifndef __BPF_HELPER_DEFS_H__
#define __BPF_HELPER_DEFS_H__
"""


def prototypes(header: str) -> dict[str, tuple[str, str]]:
    """By name: the result's type and the arguments, as programs see them."""
    text = header.partition("Start of BPF helper function descriptions")[2]
    text = re.split(r"^#define _+BPF_FUNC_MAPPER\(", text, flags=re.MULTILINE)[0]
    found: dict[str, tuple[str, str]] = {}
    for result, name, arguments in _PROTOTYPE.findall(text):
        joined = re.sub(r"\s*\n \*\s*", " ", arguments)
        taken = _ANY_CONTEXT.get(name, _seen(joined))
        found[name] = _seen(result), taken
    return found


def _seen(text: str) -> str:
    return re.sub(
        r"struct \w+|\b[us](?:8|16|32|64)\b|\bsize_t\b",
        lambda match: _SEEN.get(match[0], match[0]),
        text,
    )


def written(header: str) -> str:
    """The whole file."""
    from ebpf.asm.helpers import Helper

    known = prototypes(header)
    structs = sorted(
        {
            name
            for both in known.values()
            for text in both
            for name in re.findall(r"struct \w+", text)
        }
    )
    lines = [_TOP, *(f"{name};" for name in structs), ""]
    for helper in Helper:
        result, arguments = known[f"bpf_{helper.name.lower()}"]
        since = ".".join(map(str, helper.since))
        lines.append(f"/* {since} */")
        lines.append(
            f"static {result}(*const bpf_{helper.name.lower()})({arguments}) = "
            f"(void *){int(helper)};"
        )
    return "\n".join([*lines, "", "#endif\n"])


def main() -> int:
    HEADER.write_text(written(Path(sys.argv[1]).read_text("utf-8")), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
