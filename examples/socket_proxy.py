#!/usr/bin/env python3
"""socket_proxy: a TCP proxy whose data never comes to user space.

    sudo python socket_proxy.py 8080 192.168.1.5:80        until Ctrl-C

Python accepts a connection and opens one to the other side. Then both sockets are put in maps, and
what arrives at one is sent by the other in the kernel (SK_SKB, SOCKHASH). Python sees the ends of
the connections.
"""

from __future__ import annotations

import argparse
import contextlib
import select
import signal
import socket
import struct
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ebpf
from ebpf.asm import (
    R0,
    R1,
    R2,
    R3,
    R4,
    R6,
    R10,
    Label,
    add,
    call,
    exit_,
    jeq,
    ld_map_fd,
    ldxw,
    mov,
    stxdw,
)

if TYPE_CHECKING:
    from typing import TypeAlias

SO_COOKIE = 57
# Where struct __sk_buff has it.
LENGTH = 0
# tcpi_bytes_acked and tcpi_bytes_received of struct tcp_info.
BYTES = struct.Struct("=120xQQ")
# How often it is looked whether the last bytes have been sent, in seconds.
INTERVAL = 0.01


Sockets: TypeAlias = "ebpf.HashMap[int, socket.socket]"


def program(others: Sockets) -> list[object]:
    """Sends data by the socket that the map has for the cookie of the one where it arrived."""
    return [
        mov(R6, R1),
        # The end of the data comes as a packet of no length, which nothing can be sent of.
        ldxw(R0, R6 + LENGTH),
        jeq(R0, 0, "drop"),
        call("get_socket_cookie"),
        stxdw(R10 - 8, R0),
        mov(R1, R6),
        ld_map_fd(R2, others),
        mov(R3, R10),
        add(R3, -8),
        mov(R4, 0),
        call("sk_redirect_hash"),
        Label("drop"),
        exit_(),
    ]


def cookie(one: socket.socket) -> int:
    """The number by which the kernel knows the socket."""
    return int.from_bytes(one.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8), sys.byteorder)


def counted(one: socket.socket) -> tuple[int, int]:
    """How many bytes the other side has acknowledged, and how many have come from it."""
    info = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, BYTES.size)
    acknowledged, received = BYTES.unpack(info)
    return acknowledged, received


@dataclass(eq=False)
class Way:
    """From one socket to the other."""

    source: socket.socket
    target: socket.socket
    #: What `target` counts before any data.
    base: int
    #: The source has said its last word, which the target has been told.
    ending: bool = False
    ended: bool = False

    def is_empty(self) -> bool:
        """Whether all that came from the ending source has arrived behind the target."""
        # The end counts as a byte.
        return counted(self.target)[0] - self.base >= counted(self.source)[1] - 1


class Proxy:
    """The connections. In `others` each socket is found by the cookie of its other one; what comes
    to those in `watched` goes through the program.

    These are two maps because nothing may come to the program before it finds the other socket: it
    would be lost. A client that has said its last word before its socket is in them is turned away.
    """

    def __init__(self, others: Sockets, watched: Sockets, target: tuple[str, int]) -> None:
        self._others = others
        self._watched = watched
        self._target = target
        self._poll = select.epoll()
        self._ways: dict[int, tuple[Way, Way]] = {}

    def serve(self, server: socket.socket) -> None:
        """Serve until Ctrl-C."""
        self._poll.register(server, select.EPOLLIN)
        while True:
            waiting = any(way.ending and not way.ended for way, _ in self._ways.values())
            happened = dict(self._poll.poll(INTERVAL if waiting else None))
            # At the end: a new socket may get the number of one that is closed.
            accepting = happened.pop(server.fileno(), 0)
            for fd, events in happened.items():
                if fd in self._ways:
                    self._has_ended(fd, events)
            if accepting:
                self._accept(server)
            for way, back in list(self._ways.values()):
                self._end(way, back)

    def _accept(self, server: socket.socket) -> None:
        client, address = server.accept()
        try:
            backend = socket.create_connection(self._target, 10)
        except OSError as error:
            print(f"socket_proxy: {self._target[0]}: {error}", file=sys.stderr, flush=True)
            client.close()
            return
        # Without a time limit, so that MSG_DONTWAIT does not wait.
        backend.settimeout(None)
        print(f"{address[0]} port {address[1]} is connected", flush=True)
        there = Way(client, backend, counted(backend)[0])
        back = Way(backend, client, counted(client)[0])
        try:
            self._join(there, back)
        except OSError as error:
            # The maps take no socket of a connection that is ending, nor more than they have room
            # for. The sockets leave them when they are closed.
            print(f"socket_proxy: {address[0]}: {error}", file=sys.stderr, flush=True)
            self._close(there, back)

    def _join(self, there: Way, back: Way) -> None:
        for way in (there, back):
            self._others[cookie(way.source)] = way.target
        for way, other in ((there, back), (back, there)):
            self._poll.register(way.source, select.EPOLLRDHUP | select.EPOLLET)
            self._ways[way.source.fileno()] = (way, other)
            self._watched[cookie(way.source)] = way.source
            # What came before waits for what comes next, unless the kernel looks again (which
            # tcp_set_rcvlowat does).
            way.source.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)

    def _has_ended(self, fd: int, events: int) -> None:
        way, back = self._ways[fd]
        if events & select.EPOLLERR:
            self._close(way, back)
        elif events & (select.EPOLLRDHUP | select.EPOLLHUP):
            way.ending = True

    def _end(self, way: Way, back: Way) -> None:
        """Tell the target of the end, once all that came before has been sent."""
        if way.ending and not way.ended and way.is_empty():
            way.ended = True
            with contextlib.suppress(OSError):
                way.target.shutdown(socket.SHUT_WR)
        if way.ended and back.ended:
            self._close(way, back)

    def _close(self, *ways: Way) -> None:
        for way in ways:
            if self._ways.pop(way.source.fileno(), None):
                self._poll.unregister(way.source)
            way.source.close()

    def close(self) -> None:
        for ways in list(self._ways.values()):
            self._close(*ways)
        self._poll.close()


def sockets(name: str) -> Sockets:
    return ebpf.HashMap.create(
        ebpf.MapType.SOCKHASH, key="Q", value="Q", max_entries=4096, name=name
    )


def run(port: int, target: tuple[str, int]) -> None:
    """Attach, and serve until Ctrl-C."""
    with (
        socket.create_server(("127.0.0.1", port)) as server,
        sockets("others") as others,
        sockets("watched") as watched,
        ebpf.Program.load(
            ebpf.ProgramType.SK_SKB,
            program(others),
            attach_type=ebpf.AttachType.SK_SKB_STREAM_VERDICT,
            name="socket_proxy",
        ) as redirecting,
    ):
        # Before the sockets: they have the programs that the map has when they are put in.
        redirecting.attach_sockmap(watched)
        listening = server.getsockname()[1]
        proxy = Proxy(others, watched, target)
        try:
            print(f"socket_proxy: listening at port {listening}", file=sys.stderr, flush=True)
            proxy.serve(server)
        except KeyboardInterrupt:
            pass
        finally:
            proxy.close()


def place(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host, int(port)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("port", type=int, help="where to listen; 0 for the kernel's choice")
    parser.add_argument("target", type=place, help="HOST:PORT to connect to")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run(options.port, options.target)
    except (ebpf.EbpfError, OSError) as error:
        raise SystemExit(f"socket_proxy: {error}") from None


if __name__ == "__main__":
    main()
