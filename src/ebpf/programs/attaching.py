"""The attach_ methods of a program, and the links that it owns."""

from __future__ import annotations

from ebpf import links
from ebpf._sys.closing import close_all
from ebpf.errors import ClosedError
from ebpf.programs.watching import Watching

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    from ebpf.links import IteratorLink, Link, LwtRoute, TcFilter
    from ebpf.links.base import HasFileno
    from ebpf.links.cgroup import Cgroup, Mode
    from ebpf.net.interface import AnyInterface
    from ebpf.net.namespace import Namespace
    from ebpf.net.nfnetlink import Family
    from ebpf.net.routes import Address, Network
    from ebpf.spec import ProgramSpec
    from ebpf.types import AttachType, CgroupIterOrder, NetfilterHook, XdpMode

    L = TypeVar("L", bound=Link)


class Attaching(Watching):
    """A loaded program, as far as it can be attached."""

    spec: ProgramSpec | None
    attach_type: AttachType | None
    #: The name of what it was loaded for, where it has one and was loaded here.
    attach_to: str

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

    def attach_lsm(self, *, cookie: int = 0, attach_type: AttachType | None = None) -> Link:
        """Have an LSM program judge what it was loaded for: 0 allows, a negative errno denies.

        Arguments and errors are those of `attach_tracing`, and NotSupportedError where the BPF LSM
        is not among the active ones (kernel parameter ``lsm=``): the program would never run.
        Without securityfs that cannot be told.
        """
        return self._own(links.attach_lsm(self, cookie=cookie, attach_type=attach_type))

    def attach_lsm_cgroup(self, cgroup: Cgroup) -> Link:
        """Have an LSM program judge what the processes of one cgroup do (6.0).

        The program was loaded with the attach type LSM_CGROUP; 1 allows, 0 denies (EPERM, or what
        bpf_set_retval() says).

        Args:
            cgroup: a directory of the cgroup v2 file system, or an object with its descriptor.

        Raises:
            BpfFileNotFoundError: no such directory.
            BpfError: EBADF, it is on no cgroup v2 file system; EINVAL, the program is of another
                type or was loaded for another hook.
            NotSupportedError: a kernel before 6.0.
        """
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
        """Run a program for what the processes of a cgroup and of those below it do.

        By a link (5.7), which lets other programs in beside it. With a `mode` it is attached
        without one (BPF_PROG_ATTACH), and who else may attach is what the mode says. That
        attachment ends when it is closed, when the process ends by itself, and when the cgroup is
        removed; what a process leaves that SIGKILL or SIGTERM ended, `ebpf.links.cleanup` detaches.

        Args:
            cgroup: a directory of the cgroup v2 file system, or an object with its descriptor.
            attach_type: the hook, such as CGROUP_INET_EGRESS; by default what the program was
                loaded for, or the only one that programs of its type have.
            mode: "single", no program may be attached in cgroups below; "override", one may, and
                runs there instead; "multi", all run, first those of the lowest cgroup.
            replace: the program to put this one in the place of, with mode "multi" (5.6).
            before, after: what to run next to, of the same hook and cgroup (6.17): a link, or with
                mode "multi" a program that was attached in this mode.
            first: run before what is attached there now (6.17).
            preorder: run before the programs of cgroups below, not after (links 6.17, modes 6.15).
            expected_revision: attach only where the hook was not changed since this revision of
                `ebpf.query` (6.17).

        Raises:
            BpfFileNotFoundError: no such directory; or what to go next to is not attached there.
            BpfPermissionError: the hook is taken by a program that lets no other in, which the
                message names; or the rights are missing.
            BpfError: EBADF, the directory is no cgroup v2; ESTALE, the revision is another; EINVAL,
                the program is of another type or for another hook, or attached there already, or a
                link is to go next to a program; E2BIG, there are 64 programs.
            NotSupportedError: a kernel without the hook, or without what is asked for.
        """
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

    def attach_lwt(
        self,
        destination: str | Network,
        interface: AnyInterface,
        *,
        gateway: str | Address | None = None,
        metric: int = 0,
        headroom: int = 0,
    ) -> LwtRoute:
        """Have a program of the LWT types see the packets of a new route.

        As ``ip route add DESTINATION encap bpf out ... dev INTERFACE`` does it: LWT_IN programs run
        for packets that came in and go on by the route, LWT_OUT for those of this machine's
        sockets, LWT_XMIT for both when they are sent, and may redirect or prepend. BPF_OK (0) lets
        a packet go on, BPF_DROP (2) is EPERM to its sender, BPF_REDIRECT (7) is for LWT_XMIT.

        A LWT_SEG6LOCAL program is what a segment does (``encap seg6local action End.BPF``): it
        runs for packets that came in with a segment routing header whose current segment the route
        has, and which has gone on to the next one; BPF_OK sends them there.

        Closing removes the route, and so does the end of the process. After SIGKILL or SIGTERM it
        stays, until `ebpf.links.cleanup` removes it.

        Args:
            destination: the network, such as "10.9.0.0/24"; for LWT_SEG6LOCAL one of IPv6.
            interface: a name or index where the calling thread is, or an `Interface`.
            gateway: the router that the packets go to; without it they go to their own address.
            metric: the route with the lowest is used; 0 for the kernel's choice.
            headroom: bytes that a LWT_XMIT program may want to prepend, up to 256.

        Raises:
            ValueError: no network or address, or of two versions of IP; no headroom that there is.
            BpfFileNotFoundError: ENODEV, there is no such interface.
            BpfFileExistsError: there is such a route already.
            BpfError: EINVAL, the program is of another type; ENETUNREACH, ENETDOWN.
            NotSupportedError: a kernel that was built without it.
        """
        options = {"metric": metric, "headroom": headroom}
        return self._own(links.attach_lwt(self, destination, interface, gateway=gateway, **options))

    def attach_netns(self, netns: Namespace | None = None) -> Link:
        """Run a SK_LOOKUP (5.9) or FLOW_DISSECTOR program for a network namespace.

        A namespace has room for 64 programs that look up sockets, which run in the order in which
        they were attached, and for one flow dissector.

        Args:
            netns: a name of ``ip netns``, the path of a namespace's file, the id of a process that
                is in it, or an object with its descriptor; by default what the calling thread is
                in.

        Raises:
            BpfFileNotFoundError: no such namespace, or no such process.
            BpfError: E2BIG or EEXIST, the hook is taken; EINVAL, this is no network namespace, or
                the program is of another type.
        """
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
        """Run a NETFILTER program among netfilter's rules: 1 accepts a packet, 0 drops it (6.4).

        Args:
            hook: PRE_ROUTING, LOCAL_IN, FORWARD, LOCAL_OUT or POST_ROUTING.
            family: whose packets.
            priority: the lowest runs first; those of iptables' and nftables' tables are known
                numbers (filter 0, mangle -150, connection tracking -200, nat -100 or 100).
            defrag: have fragments put together before (6.6); `priority` is above -400 then.
            netns: as for `attach_netns`; by default what the calling thread is in.

        Raises:
            BpfError: EBUSY, a BPF program has this priority there; EINVAL, the program is of
                another type.
            NotSupportedError: a kernel before 6.4, or 6.6 with `defrag`.
            ValueError: a family or priority that no kernel takes.
        """
        return self._own(
            links.attach_netfilter(
                self, hook, family, priority=priority, defrag=defrag, netns=netns
            )
        )

    def attach_sockmap(self, map: HasFileno, attach_type: AttachType | None = None) -> Link:
        """Have a SK_SKB or SK_MSG program judge the data of the sockets in a map.

        SK_MSG_VERDICT programs see what a socket of the map sends, SK_SKB_STREAM_VERDICT ones what
        it receives, cut in messages by a SK_SKB_STREAM_PARSER program where there is one;
        SK_SKB_VERDICT (5.13) is for sockets that are no streams, too. A socket gets the programs
        that the map has when it is put in.

        By a link, which can be updated and pinned (6.10). On older kernels the program is attached
        to the map until it is closed, or until the map is gone.

        Args:
            map: a SOCKMAP or SOCKHASH.
            attach_type: the hook; by default what the program was loaded for, or SK_MSG_VERDICT.

        Raises:
            ValueError: `attach_type` is needed, or no hook of these maps.
            BpfError: EBUSY, the hook is taken; EINVAL, `map` is another map, or the program of
                another type or for another hook.
            NotSupportedError: a kernel without the hook.
        """
        return self._own(links.attach_sockmap(self, map, attach_type))

    def attach_socket_filter(self, socket: HasFileno) -> Link:
        """Have a SOCKET_FILTER program judge what a socket receives (SO_ATTACH_BPF).

        It returns how many bytes of the packet are kept, 0 to drop it. A filter that the socket has
        is replaced: its attachment is closed without an effect. It ends when it is closed, which
        leaves the socket without a filter, and with the socket, which the attachment does not keep
        open.

        Raises:
            BpfError: ENOTSOCK; EPERM, the filter is locked; EINVAL, the program is of another type.
        """
        return self._own(links.attach_socket_filter(self, socket))

    def attach_reuseport(self, socket: HasFileno) -> Link:
        """Have a program choose the socket that gets a packet or connection, among those of a port.

        The sockets have SO_REUSEPORT and the same address: `socket` stands for them all. A
        SK_REUSEPORT program calls bpf_sk_select_reuseport(); a SOCKET_FILTER program returns the
        number of the socket, in the order in which they were bound (SO_ATTACH_REUSEPORT_EBPF).

        It ends when it is closed, if `socket` is still open and no other program has taken its
        place, and with the last socket of the group.

        Raises:
            BpfError: ENOTSOCK; EINVAL, the socket is in no group, or the program is of another
                type.
        """
        return self._own(links.attach_reuseport(self, socket))

    def attach_freplace(self, target: HasFileno | None = None, function: str = "") -> Link:
        """Have an EXT program run in the place of a global function of another program.

        Args:
            target: a program with a function of the same prototype; by default the one that the
                program was loaded for (its `attach_program`).
            function: the function's name in `target`, with it.

        Raises:
            BpfFileNotFoundError: `target` has no such function; the message has the nearest names.
            BpfError: EINVAL, the prototypes differ or the program is of another type; EBUSY, the
                function is traced (fentry) or replaced already.
        """
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
        """Make an iterator of a TRACING program that was loaded for one (TRACE_ITER, 5.8).

        Read it with `IteratorLink.walk`, `read` or `records`.

        Args:
            map: what bpf_map_elem, bpf_sk_storage_map and sockmap iterators walk over.
            cgroup: where a cgroup iterator begins (6.1): a directory of the cgroup v2 file system,
                or an object with its descriptor; without one the root.
            order: which cgroups it visits, by default all below, parents first (DESCENDANTS_PRE).
            pid: one process, for task, task_file and task_vma iterators (6.1); or
            tid: one thread.

        Raises:
            BpfError: EINVAL, the program is of another type or for no iterator; EBADF, the iterator
                takes a map; EACCES, the program does not fit the map's keys and values.
            BpfProcessLookupError: no such process.
            NotSupportedError: a cgroup or a process on a kernel before 6.1, which would ignore it.
            TypeError: parameters that this iterator does not have.
        """
        return self._own(
            links.attach_iter(self, map=map, cgroup=cgroup, order=order, pid=pid, tid=tid)
        )

    def attach_xdp(self, interface: AnyInterface, *, mode: XdpMode | None = None) -> Link:
        """Run an XDP program for each frame that an interface receives.

        It returns an `XdpAction`: the frame is dropped, passed on, sent back, or redirected.
        Programs with the attach type XDP_DEVMAP or XDP_CPUMAP are attached by being in the value of
        a map.

        Args:
            interface: a name or index where the calling thread is, or an `Interface`.
            mode: DRIVER, GENERIC or OFFLOAD; by default in the driver where that has XDP at all,
                even if it refuses this program, and generic elsewhere.

        Raises:
            BpfFileNotFoundError: ENODEV, there is no such interface.
            BpfError: EBUSY, a program is attached there already; EINVAL, the program is of another
                type, or was loaded for a map or another device; ERANGE, frames may be longer than
                the driver takes for a program without XDP_HAS_FRAGS; EINVAL, ENOSPC, ENOMEM, the
                driver takes none as the interface is set up (queues, MTU, offloads).
            BpfFileExistsError: a program is attached in another mode.
            NotSupportedError: the driver has no XDP in this mode.
        """
        return self._own(links.attach_xdp(self, interface, mode=mode))

    def attach_xdp_netlink(
        self,
        interface: AnyInterface,
        *,
        mode: XdpMode | None = None,
        replace: HasFileno | None = None,
    ) -> Link:
        """Attach an XDP program over netlink, without a link.

        It is what `attach_xdp` does on kernels that have no links for XDP, and a way to take over
        what ``ip link`` attached. Closing detaches; after SIGKILL or SIGTERM the program stays on
        the interface, until `ebpf.links.cleanup` removes it.

        Args:
            interface, mode: as for `attach_xdp`.
            replace: the program that is attached, to be replaced by this one atomically.

        Raises:
            BpfFileNotFoundError: ENODEV, there is no such interface.
            BpfFileExistsError: another program than `replace` is attached, or one in another mode.
            BpfError: EBUSY, a program is attached there already, or a link; EINVAL, the program is
                of another type, or was loaded for a map or another device.
            NotSupportedError: the driver has no XDP in this mode.
            BpfPermissionError: it takes CAP_NET_ADMIN. Who may not write in /run leaves nothing
                there by which `ebpf.links.cleanup` could know it.
        """
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
        """Run a SCHED_CLS program as a filter of an interface (``tc filter add ... bpf da``).

        The clsact qdisc is made where there is none. Closing removes the filter, and the qdisc if
        it was made here and has no other filters. After SIGKILL or SIGTERM both stay, until
        `ebpf.links.cleanup` removes them. It takes pyroute2: ``pip install 'ebpf[tc]'``.

        Args:
            interface: a name or index where the calling thread is, or an `Interface`.
            direction: "ingress" or "egress".
            protocol: what packets it is for: a key of `PROTOCOLS`, or an ETH_P number.
            priority: filters run from the lowest to the highest (1 to 65535); 0 for the kernel's
                choice, which is 49152 and then one less each time.
            handle: tells filters of the same priority apart (1 to 2^32 - 1); 0 for the kernel's
                choice.
            direct_action: what the program returns is the verdict (TC_ACT_OK 0, TC_ACT_SHOT 2,
                TC_ACT_REDIRECT 7, TC_ACT_UNSPEC -1 for the next filter); otherwise it is a class.

        Raises:
            EbpfError: pyroute2 is not installed.
            BpfFileNotFoundError: ENODEV, there is no such interface.
            BpfFileExistsError: a filter with this priority and handle is there already.
            BpfError: EINVAL, the program is of another type, the place is one of other filters, or
                the interface has the older ingress qdisc, which has no egress.
            NotSupportedError: the kernel was built without the qdisc or its BPF filters.
            BpfPermissionError: it takes CAP_NET_ADMIN.
        """
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
        """Run a SCHED_CLS program for each packet that an interface receives or sends (6.6).

        It returns TCX_NEXT (-1) to have the next program decide, TCX_PASS (0), TCX_DROP (2) or
        TCX_REDIRECT (7).

        Args:
            interface: a name or index where the calling thread is, or an `Interface`.
            attach_type: TCX_INGRESS or TCX_EGRESS; by default what the program was loaded for.
            before, after: the program or link beside which it is to run; by default after all
                others.
            first: before all others.
            expected_revision: only where this is the revision of the hook, from `ebpf.query`.

        Raises:
            BpfFileNotFoundError: ENODEV, there is no such interface; ENOENT, the anchor is not
                there.
            BpfFileExistsError: the program is attached there already.
            BpfError: EINVAL, the program is of another type; ESTALE, the revision is another one;
                ERANGE, as many programs as fit (63) are there.
            NotSupportedError: a kernel before 6.6; `attach_tc` has the clsact qdisc for those.
        """
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
        """Run a SCHED_CLS program for what one end of a netkit pair sends (6.7, CONFIG_NETKIT).

        It returns NETKIT_NEXT (-1), NETKIT_PASS (0), NETKIT_DROP (2) or NETKIT_REDIRECT (7).

        Args:
            interface: the primary interface of the pair: a name or index where the calling thread
                is, or an `Interface`.
            attach_type: NETKIT_PRIMARY, for what the primary interface sends, or NETKIT_PEER, for
                what its peer sends; by default what the program was loaded for.
            before, after, first, expected_revision: as for `attach_tcx`.

        Raises:
            BpfFileNotFoundError: ENODEV, there is no such interface; ENOENT, the anchor is not
                there.
            BpfFileExistsError: the program is attached there already.
            BpfPermissionError: EACCES, the interface is the peer of the pair.
            BpfError: ENXIO, it is no netkit interface; and those of `attach_tcx`.
            NotSupportedError: a kernel before 6.7.
        """
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
        # By another thread or a handler, which may not have seen the link.
        if self.closed:
            link.close()
            raise ClosedError(f"{self!r} is closed")
        return link

    def close(self) -> None:
        """Close the program's links, which detaches those that are not pinned, and the program."""
        try:
            super().close()
        finally:
            # After it: who adds a link then sees that the program is closed.
            owned, self._links = self._links, set()
            close_all(tuple(owned))

    def __del__(self) -> None:
        # Whoever still holds a link keeps it: only `close` detaches.
        self._links = set()
        super().__del__()
