#!/usr/bin/env python3
"""pinned: two processes share a map by its name in a BPF file system.

    sudo python pinned.py

This process creates a map and pins it. A second one opens the map by the path, reads what the
first one wrote, and writes an answer. A pinned map stays when all processes that used it are
gone, so at the end its name is removed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

import ebpf


def create(directory: str) -> None:
    """What the first process does."""
    path = os.path.join(directory, f"pinned-example-{os.getpid()}")
    with ebpf.HashMap.create(
        ebpf.MapType.HASH, key="16s", value="Q", max_entries=16, name="shared"
    ) as shared:
        shared[b"question"] = 6 * 9
        shared.pin(path)
        print(f"process {os.getpid()}: wrote question = {shared[b'question']}", flush=True)
        print(f"process {os.getpid()}: pinned map {shared.info().id} at {path}", flush=True)
        try:
            subprocess.run([sys.executable, __file__, "--open", path], check=True)
            print(f"process {os.getpid()}: read answer = {shared[b'answer']}")
        finally:
            ebpf.unpin(path)
            print(f"process {os.getpid()}: unpinned, so the map goes with this process")


def answer(path: str) -> None:
    """What the second process does: it knows nothing but the path, and the formats."""
    with ebpf.HashMap.open(path, key="16s", value="Q") as shared:
        print(f"process {os.getpid()}: opened map {shared.info().id} at {path}")
        question = shared[b"question"]
        print(f"process {os.getpid()}: read question = {question}")
        shared[b"answer"] = 42
        print(f"process {os.getpid()}: wrote answer = 42")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--directory",
        default="/sys/fs/bpf",
        help="on a BPF file system, where the map is pinned for the moment (/sys/fs/bpf)",
    )
    parser.add_argument("--open", metavar="PATH", help="be the second process")
    options = parser.parse_args()
    try:
        if options.open:
            answer(options.open)
        else:
            create(options.directory)
    except ebpf.BpfError as error:
        # With no BPF file system at that place the message has the mount command.
        raise SystemExit(f"pinned: {error}") from None
    except subprocess.CalledProcessError as error:
        raise SystemExit(error.returncode) from None


if __name__ == "__main__":
    main()
