#!/usr/bin/env python3
"""congestion: a TCP congestion control of one's own, and what a connection makes of it.

    sudo python congestion.py                       windows of 2, 4, 8, 16 and 32 segments
    sudo python congestion.py --window 3 --kib 512

The kernel is given functions to call in the place of its own (struct_ops): as long as this runs,
any socket can ask for "ebpf_fixed" with TCP_CONGESTION. Here one does, on the loopback interface,
and sends data with one window after the other, which is set while the connection is open.

The functions are in congestion.bpf.c, which is compiled at the first start, by clang or by the
compiler of `pip install 'ebpf[compile]'`, and found in the cache from then on.
"""

from __future__ import annotations

import argparse
import signal
import socket
import struct
import sys
import threading
import time
from pathlib import Path

import ebpf

SOURCE = Path(__file__).with_suffix(".bpf.c")
NAME = b"ebpf_fixed"
# tcpi_snd_cwnd of struct tcp_info.
WINDOW = struct.Struct("=80xI")
CHUNK = bytes(1024)


def connection() -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection; the first one sends by our congestion control."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        sender = socket.socket()
        # Small segments, so that a few of them are not all there is to send.
        sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1024)
        sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, NAME)
        sender.connect(server.getsockname())
        return sender, server.accept()[0]


def drain(receiver: socket.socket) -> None:
    while receiver.recv(1 << 16):
        pass


def measure(sender: socket.socket, kib: int) -> tuple[int, float]:
    """Send; the window at the end, in segments, and how long it took, in milliseconds."""
    start = time.monotonic()
    for _ in range(kib):
        sender.sendall(CHUNK)
    (window,) = WINDOW.unpack(sender.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, WINDOW.size))
    return window, (time.monotonic() - start) * 1000


def register(objects: ebpf.Collection) -> None:
    """Give the kernel our functions; those of a congestion.py that was killed are there still."""
    try:
        objects.attach_struct_ops("fixed")
    except FileExistsError:
        ebpf.links.cleanup()
        objects.attach_struct_ops("fixed")


def run(windows: list[int], kib: int) -> None:
    """Register the functions, and send with each of the windows."""
    with ebpf.compile_c(SOURCE).load() as objects:
        register(objects)
        print("registered as ebpf_fixed", flush=True)
        variables = objects.variables
        variables["window"].value = windows[0]
        sender, receiver = connection()
        with sender, receiver:
            draining = threading.Thread(target=drain, args=(receiver,))
            draining.start()
            try:
                for window in windows:
                    variables["window"].value = window
                    found, took = measure(sender, kib)
                    print(f"window {window}: {found} segments, {kib} KiB in {took:.1f} ms")
            finally:
                sender.shutdown(socket.SHUT_WR)
                draining.join()
        print(f"the kernel has asked {variables['calls'].value} times")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--window",
        type=int,
        action="append",
        metavar="SEGMENTS",
        help="may be given again; with 1 the receiver's delayed acknowledgements are waited for",
    )
    parser.add_argument("--kib", type=int, default=4096, help="how much to send (4096)")
    options = parser.parse_args()
    windows = options.window or [2, 4, 8, 16, 32]
    if min(windows) < 1 or options.kib < 1:
        parser.error("--window and --kib are 1 or more")
    # By itself it would end Python at once, and leave the functions to the kernel.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        run(windows, options.kib)
    except ebpf.EbpfError as error:
        # No compiler, no permission, or a kernel without struct_ops.
        raise SystemExit(f"congestion: {error}") from None


if __name__ == "__main__":
    main()
