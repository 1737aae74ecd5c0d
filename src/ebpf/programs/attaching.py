"""The attach_ methods of a program, and the links that it owns."""

from __future__ import annotations

from ebpf import links
from ebpf._sys import Descriptor
from ebpf._sys.closing import close_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, TypeVar

    from ebpf.links import IteratorLink, Link, LinkGroup, TcFilter, UsdtSpecs
    from ebpf.links.arrays import Cookies
    from ebpf.links.base import HasFileno
    from ebpf.links.binaries import StrPath
    from ebpf.links.cgroup import Cgroup, Mode
    from ebpf.links.counter import Event
    from ebpf.links.netfilter import Family
    from ebpf.net.interface import AnyInterface
    from ebpf.net.namespace import Namespace
    from ebpf.spec import ProgramSpec
    from ebpf.types import AttachType, CgroupIterOrder, NetfilterHook, XdpMode

    L = TypeVar("L", bound=Link)


class Attaching(Descriptor):
    """A loaded program, as far as it can be attached."""

    spec: ProgramSpec | None
    attach_type: AttachType | None
    #: The name of what it was loaded for, where it has one and was loaded here.
    attach_to: str
    #: Where programs of the object find the arguments of USDT probes, if they look for them.
    usdt_specs: UsdtSpecs | None = None

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        self._links: set[Link] = set()

    def attach(self, **where: Any) -> Link:
        """Attach the program as its section in the object file says; see `ebpf.links.section`.

        Args:
            where: what a section has no room for, such as ``cgroup="/sys/fs/cgroup/web"`` for a
                program of ``cgroup_skb/egress``.

        Raises:
            EbpfError: the section names no target, or nothing that can be attached by name.
            TypeError: `where` lacks what the section takes, or has something else.
        """
        if self.spec is None:
            raise TypeError(f"attach: {self!r} is not from an object file; call an attach_ method")
        way, target = self.spec.attach, self.spec.target
        return self._own(links.attach_by_section(self, way, target, **where))

    def attach_tracepoint(self, category: str, name: str, *, cookie: int = 0) -> Link:
        """Run the program at a tracepoint; see `ebpf.links.attach_tracepoint`."""
        return self._own(links.attach_tracepoint(self, category, name, cookie=cookie))

    def attach_raw_tracepoint(self, name: str, *, cookie: int = 0) -> Link:
        """Run the program at a raw tracepoint; see `ebpf.links.attach_raw_tracepoint`."""
        return self._own(links.attach_raw_tracepoint(self, name, cookie=cookie))

    def attach_kprobe(
        self, symbol: str | None = None, *, offset: int = 0, address: int = 0, cookie: int = 0
    ) -> Link:
        """Run the program when a kernel function is entered; see `ebpf.links.attach_kprobe`."""
        return self._own(
            links.attach_kprobe(self, symbol, offset=offset, address=address, cookie=cookie)
        )

    def attach_kretprobe(
        self, symbol: str | None = None, *, address: int = 0, cookie: int = 0, maxactive: int = 0
    ) -> Link:
        """Run the program when a kernel function returns; see `ebpf.links.attach_kretprobe`."""
        return self._own(
            links.attach_kretprobe(
                self, symbol, address=address, cookie=cookie, maxactive=maxactive
            )
        )

    def attach_ksyscall(self, name: str, *, cookie: int = 0) -> Link:
        """Run the program when a system call is made; see `ebpf.links.attach_ksyscall`."""
        return self._own(links.attach_ksyscall(self, name, cookie=cookie))

    def attach_kretsyscall(self, name: str, *, cookie: int = 0) -> Link:
        """Run the program when a system call returns; see `ebpf.links.attach_kretsyscall`."""
        return self._own(links.attach_kretsyscall(self, name, cookie=cookie))

    def attach_kprobe_multi(
        self,
        symbols: str | Iterable[str] | None = None,
        *,
        addresses: Iterable[int] | None = None,
        cookies: Cookies = None,
    ) -> Link:
        """Run the program when functions are entered; see `ebpf.links.attach_kprobe_multi`."""
        return self._own(
            links.attach_kprobe_multi(self, symbols, addresses=addresses, cookies=cookies)
        )

    def attach_kretprobe_multi(
        self,
        symbols: str | Iterable[str] | None = None,
        *,
        addresses: Iterable[int] | None = None,
        cookies: Cookies = None,
    ) -> Link:
        """Run the program when functions return; see `ebpf.links.attach_kretprobe_multi`."""
        return self._own(
            links.attach_kretprobe_multi(self, symbols, addresses=addresses, cookies=cookies)
        )

    def attach_kprobe_session(
        self,
        symbols: str | Iterable[str] | None = None,
        *,
        addresses: Iterable[int] | None = None,
        cookies: Cookies = None,
    ) -> Link:
        """Run the program at entries and returns; see `ebpf.links.attach_kprobe_session`."""
        return self._own(
            links.attach_kprobe_session(self, symbols, addresses=addresses, cookies=cookies)
        )

    def attach_uprobe(
        self,
        path: StrPath,
        symbol: str | None = None,
        *,
        offset: int = 0,
        pid: int | None = None,
        ref_ctr_offset: int = 0,
        cookie: int = 0,
    ) -> Link:
        """Run the program at a place of a file; see `ebpf.links.attach_uprobe`."""
        options = {"offset": offset, "ref_ctr_offset": ref_ctr_offset, "cookie": cookie}
        return self._own(links.attach_uprobe(self, path, symbol, pid=pid, **options))

    def attach_uretprobe(
        self,
        path: StrPath,
        symbol: str | None = None,
        *,
        offset: int = 0,
        pid: int | None = None,
        ref_ctr_offset: int = 0,
        cookie: int = 0,
    ) -> Link:
        """Run the program when a file's function returns; see `ebpf.links.attach_uretprobe`."""
        options = {"offset": offset, "ref_ctr_offset": ref_ctr_offset, "cookie": cookie}
        return self._own(links.attach_uretprobe(self, path, symbol, pid=pid, **options))

    def attach_uprobe_multi(
        self,
        path: StrPath,
        symbols: str | Iterable[str] | None = None,
        *,
        offsets: Iterable[int] | None = None,
        ref_ctr_offsets: Iterable[int] | None = None,
        cookies: Cookies = None,
        pid: int | None = None,
    ) -> Link:
        """Run the program at many places of a file; see `ebpf.links.attach_uprobe_multi`."""
        places = {"offsets": offsets, "ref_ctr_offsets": ref_ctr_offsets}
        return self._own(
            links.attach_uprobe_multi(self, path, symbols, cookies=cookies, pid=pid, **places)
        )

    def attach_uretprobe_multi(
        self,
        path: StrPath,
        symbols: str | Iterable[str] | None = None,
        *,
        offsets: Iterable[int] | None = None,
        ref_ctr_offsets: Iterable[int] | None = None,
        cookies: Cookies = None,
        pid: int | None = None,
    ) -> Link:
        """Run the program when functions return; see `ebpf.links.attach_uretprobe_multi`."""
        places = {"offsets": offsets, "ref_ctr_offsets": ref_ctr_offsets}
        return self._own(
            links.attach_uretprobe_multi(self, path, symbols, cookies=cookies, pid=pid, **places)
        )

    def attach_uprobe_session(
        self,
        path: StrPath,
        symbols: str | Iterable[str] | None = None,
        *,
        offsets: Iterable[int] | None = None,
        ref_ctr_offsets: Iterable[int] | None = None,
        cookies: Cookies = None,
        pid: int | None = None,
    ) -> Link:
        """Run the program at entries and returns; see `ebpf.links.attach_uprobe_session`."""
        places = {"offsets": offsets, "ref_ctr_offsets": ref_ctr_offsets}
        return self._own(
            links.attach_uprobe_session(self, path, symbols, cookies=cookies, pid=pid, **places)
        )

    def attach_usdt(
        self,
        path: StrPath,
        provider: str,
        name: str,
        *,
        pid: int | None = None,
        cookie: int = 0,
    ) -> LinkGroup:
        """Run the program at a USDT probe; see `ebpf.links.attach_usdt`."""
        return self._own(
            links.attach_usdt(
                self, path, provider, name, pid=pid, cookie=cookie, specs=self.usdt_specs
            )
        )

    def attach_perf_event(
        self,
        event: Event,
        *,
        period: int = 0,
        frequency: int = 0,
        pid: int | None = None,
        cpu: int | None = None,
        cookie: int = 0,
    ) -> LinkGroup:
        """Run the program as a counter goes on; see `ebpf.links.attach_perf_event`."""
        rate = {"period": period, "frequency": frequency, "cookie": cookie}
        return self._own(links.attach_perf_event(self, event, pid=pid, cpu=cpu, **rate))

    def attach_tracing(self, *, cookie: int = 0) -> Link:
        """Run the program where it was loaded for; see `ebpf.links.attach_tracing`."""
        return self._own(links.attach_tracing(self, cookie=cookie))

    def attach_tracing_multi(
        self,
        symbols: str | Iterable[str] | None = None,
        *,
        btf_ids: Iterable[int] | None = None,
        cookies: Cookies = None,
    ) -> Link:
        """Run the program at many functions; see `ebpf.links.attach_tracing_multi`."""
        return self._own(
            links.attach_tracing_multi(self, symbols, btf_ids=btf_ids, cookies=cookies)
        )

    def attach_lsm(self, *, cookie: int = 0) -> Link:
        """Have the program judge what it was loaded for; see `ebpf.links.attach_lsm`."""
        return self._own(links.attach_lsm(self, cookie=cookie))

    def attach_lsm_cgroup(self, cgroup: Cgroup) -> Link:
        """Have the program judge one cgroup; see `ebpf.links.attach_lsm_cgroup`."""
        return self._own(links.attach_lsm_cgroup(self, cgroup))

    def attach_cgroup(
        self,
        cgroup: Cgroup,
        attach_type: AttachType | None = None,
        *,
        mode: Mode | None = None,
        replace: HasFileno | None = None,
        before: HasFileno | None = None,
        after: HasFileno | None = None,
        first: bool = False,
        preorder: bool = False,
        expected_revision: int = 0,
    ) -> Link:
        """Run the program for what a cgroup does; see `ebpf.links.attach_cgroup`."""
        return self._own(
            links.attach_cgroup(
                self,
                cgroup,
                attach_type,
                mode=mode,
                replace=replace,
                before=before,
                after=after,
                first=first,
                preorder=preorder,
                expected_revision=expected_revision,
            )
        )

    def attach_netns(self, netns: Namespace | None = None) -> Link:
        """Run the program for a network namespace; see `ebpf.links.attach_netns`."""
        return self._own(links.attach_netns(self, netns))

    def attach_netfilter(
        self,
        hook: NetfilterHook,
        family: Family = "ipv4",
        *,
        priority: int = 0,
        defrag: bool = False,
        netns: Namespace | None = None,
    ) -> Link:
        """Run the program among netfilter's rules; see `ebpf.links.attach_netfilter`."""
        return self._own(
            links.attach_netfilter(
                self, hook, family, priority=priority, defrag=defrag, netns=netns
            )
        )

    def attach_sockmap(self, map: HasFileno, attach_type: AttachType | None = None) -> Link:
        """Have the program judge the data of a map's sockets; see `ebpf.links.attach_sockmap`."""
        return self._own(links.attach_sockmap(self, map, attach_type))

    def attach_socket_filter(self, socket: HasFileno) -> Link:
        """Have the program filter what comes in; see `ebpf.links.attach_socket_filter`."""
        return self._own(links.attach_socket_filter(self, socket))

    def attach_reuseport(self, socket: HasFileno) -> Link:
        """Have the program choose a group's socket; see `ebpf.links.attach_reuseport`."""
        return self._own(links.attach_reuseport(self, socket))

    def attach_freplace(self, target: HasFileno | None = None, function: str = "") -> Link:
        """Run the program in a function's place; see `ebpf.links.attach_freplace`."""
        return self._own(links.attach_freplace(self, target, function))

    def attach_iter(
        self,
        *,
        map: HasFileno | None = None,
        cgroup: Cgroup | None = None,
        order: CgroupIterOrder | None = None,
        pid: int | None = None,
        tid: int | None = None,
    ) -> IteratorLink:
        """Make an iterator of the program, to be read; see `ebpf.links.attach_iter`."""
        return self._own(
            links.attach_iter(self, map=map, cgroup=cgroup, order=order, pid=pid, tid=tid)
        )

    def attach_xdp(self, interface: AnyInterface, *, mode: XdpMode | None = None) -> Link:
        """Run the program for each received frame; see `ebpf.links.attach_xdp`."""
        return self._own(links.attach_xdp(self, interface, mode=mode))

    def attach_xdp_netlink(
        self,
        interface: AnyInterface,
        *,
        mode: XdpMode | None = None,
        replace: HasFileno | None = None,
    ) -> Link:
        """Attach without a link; see `ebpf.links.attach_xdp_netlink`."""
        return self._own(links.attach_xdp_netlink(self, interface, mode=mode, replace=replace))

    def attach_tc(
        self,
        interface: AnyInterface,
        direction: str,
        *,
        protocol: str | int = "all",
        priority: int = 0,
        handle: int = 0,
        direct_action: bool = True,
    ) -> TcFilter:
        """Run the program as a filter of the clsact qdisc; see `ebpf.links.attach_tc`."""
        place = {"priority": priority, "handle": handle}
        return self._own(
            links.attach_tc(
                self,
                interface,
                direction,
                protocol=protocol,
                direct_action=direct_action,
                **place,
            )
        )

    def attach_tcx(
        self,
        interface: AnyInterface,
        attach_type: AttachType | None = None,
        *,
        before: HasFileno | None = None,
        after: HasFileno | None = None,
        first: bool = False,
        expected_revision: int = 0,
    ) -> Link:
        """Run the program for each packet in or out; see `ebpf.links.attach_tcx`."""
        return self._own(
            links.attach_tcx(
                self,
                interface,
                attach_type,
                before=before,
                after=after,
                first=first,
                expected_revision=expected_revision,
            )
        )

    def attach_netkit(
        self,
        interface: AnyInterface,
        attach_type: AttachType | None = None,
        *,
        before: HasFileno | None = None,
        after: HasFileno | None = None,
        first: bool = False,
        expected_revision: int = 0,
    ) -> Link:
        """Run the program for what one end of a pair sends; see `ebpf.links.attach_netkit`."""
        return self._own(
            links.attach_netkit(
                self,
                interface,
                attach_type,
                before=before,
                after=after,
                first=first,
                expected_revision=expected_revision,
            )
        )

    def _own(self, link: L) -> L:
        # One at a time, so that threads which attach at once do not lose each other's link.
        for other in tuple(self._links):
            if other.closed:
                self._links.discard(other)
        self._links.add(link)
        return link

    def close(self) -> None:
        """Close the program's links, which detaches those that are not pinned, and the program."""
        owned, self._links = self._links, set()
        try:
            close_all(owned)
        finally:
            super().close()

    def __del__(self) -> None:
        # Whoever still holds a link keeps it: only `close` detaches.
        self._links = set()
        super().__del__()
