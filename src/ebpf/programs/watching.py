"""The attach_ methods of programs that watch functions, tracepoints and counters."""

from __future__ import annotations

from ebpf import links
from ebpf._sys import Descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeVar

    from ebpf.links import Link, LinkGroup, UsdtSpecs
    from ebpf.links.arrays import Cookies
    from ebpf.links.binaries import StrPath
    from ebpf.links.counter import Event
    from ebpf.types import AttachType

    L = TypeVar("L", bound=Link)


class Watching(Descriptor):
    """A loaded program, as far as it can watch what the kernel and processes do."""

    #: Where programs of the object find the arguments of USDT probes, if they look for them.
    usdt_specs: UsdtSpecs | None = None

    if TYPE_CHECKING:

        def _own(self, link: L) -> L: ...

    def attach_tracepoint(self, category: str, name: str, *, cookie: int = 0) -> Link:
        """Run a TRACEPOINT program each time the tracepoint `category`:`name` is passed.

        The program's context is the tracepoint's record, whose fields
        ``/sys/kernel/tracing/events/<category>/<name>/format`` lists.

        Args:
            cookie: what bpf_get_attach_cookie() returns in the program (5.15).

        Raises:
            BpfFileNotFoundError: no such tracepoint (the message has the nearest names), or tracefs
                is not mounted (it has the command).
            BpfPermissionError: this process may not read tracefs (it has the command), or not open
                perf events.
            NotSupportedError: a cookie on a kernel before 5.15.
            BpfFileExistsError: the program is attached to this tracepoint already.
            BpfError: EINVAL, the program is of another type; EACCES, it reads beyond the record.
        """
        return self._own(links.attach_tracepoint(self, category, name, cookie=cookie))

    def attach_raw_tracepoint(self, name: str, *, cookie: int = 0) -> Link:
        """Run a RAW_TRACEPOINT program each time the tracepoint `name` is passed.

        The program's context is the array of the tracepoint's arguments, as u64 each. Needs no
        tracefs.

        Args:
            cookie: what bpf_get_attach_cookie() returns in the program (6.10).

        Raises:
            BpfFileNotFoundError: no such tracepoint; the message has the nearest names, where
                tracefs or the kernel's BTF is there to list them.
            NotSupportedError: a cookie on a kernel before 6.10.
            BpfFileExistsError: before 6.10, the program is attached to this tracepoint already.
            BpfError: EINVAL, the program is of another type or reads more arguments than there are.
        """
        return self._own(links.attach_raw_tracepoint(self, name, cookie=cookie))

    def attach_kprobe(
        self, symbol: str | None = None, *, offset: int = 0, address: int = 0, cookie: int = 0
    ) -> Link:
        """Run a KPROBE program when the kernel comes to an instruction: a function's entry, mostly.

        The program's context is ``struct pt_regs``.

        Args:
            symbol: a kernel function, with `offset` bytes into it. Of several functions with the
                same name, kernels before 6.7 take the first; or
            address: the instruction's address (needs readable kallsyms to be known).
            cookie: what bpf_get_attach_cookie() returns in the program (5.15).

        Raises:
            BpfFileNotFoundError: no such function; the message has the nearest names.
            NotSupportedError: the kernel was built without CONFIG_KPROBES, or a cookie before 5.15.
            BpfError: EINVAL or EILSEQ where no probe can be set (a blacklisted function, an address
                inside an instruction), EADDRNOTAVAIL where several functions have the name (the
                message has their addresses), EINVAL where the program is of another type, or does
                what only a uprobe (sleeps), or not every function (bpf_override_return) allows.
        """
        return self._own(
            links.attach_kprobe(self, symbol, offset=offset, address=address, cookie=cookie)
        )

    def attach_kretprobe(
        self, symbol: str | None = None, *, address: int = 0, cookie: int = 0, maxactive: int = 0
    ) -> Link:
        """Run a KPROBE program when a kernel function returns.

        Arguments and errors are those of `attach_kprobe`; the context holds the return value where
        the architecture returns it (``ax`` on x86-64).

        Args:
            maxactive: how many calls that have not returned yet are kept in mind, up to 4096; the
                returns of others are missed. By default twice the number of CPUs, at least 10. It
                takes an event in tracefs, which the process must be allowed to write to, and which
                a SIGKILL leaves behind: `remove_stale_events` finds it.
        """
        return self._own(
            links.attach_kretprobe(
                self, symbol, address=address, cookie=cookie, maxactive=maxactive
            )
        )

    def attach_ksyscall(self, name: str, *, cookie: int = 0) -> Link:
        """Run a KPROBE program when a system call is made.

        The program's context is ``struct pt_regs`` of the kernel's function for it. Where the
        kernel was built with wrappers (x86-64, arm64, s390x, riscv64), that function has one
        argument: the ``struct pt_regs`` of user space, in which the arguments of the system call
        are.

        Args:
            name: the system call's name: ``"openat"``.
            cookie: what bpf_get_attach_cookie() returns in the program (5.15).

        Raises:
            BpfFileNotFoundError: the kernel has no such system call; the message has the nearest.
            NotSupportedError, BpfError: as for `attach_kprobe`.
        """
        return self._own(links.attach_ksyscall(self, name, cookie=cookie))

    def attach_kretsyscall(self, name: str, *, cookie: int = 0) -> Link:
        """Run a KPROBE program when a system call returns.

        Arguments and errors are those of `attach_ksyscall`.
        """
        return self._own(links.attach_kretsyscall(self, name, cookie=cookie))

    def attach_kprobe_multi(
        self,
        symbols: str | Iterable[str] | None = None,
        *,
        addresses: Iterable[int] | None = None,
        cookies: Cookies = None,
    ) -> Link:
        """Run a KPROBE program when any of several kernel functions is entered (5.18).

        The program was loaded with the attach type TRACE_KPROBE_MULTI; its context is ``struct
        pt_regs``. The kernel needs CONFIG_FPROBE.

        Args:
            symbols: a pattern with ``*`` and ``?``, a function's name, or several names. Of a name
                that several functions have all are meant, but only the first where the kernel
                tells no addresses (before 6.5, or not to this process); or
            addresses: where functions begin.
            cookies: what bpf_get_attach_cookie() returns in the program: one for each of `symbols`
                or `addresses`, in their order, or by name.

        Raises:
            BpfFileNotFoundError: a function that is not there or cannot be traced; a pattern that
                none matches. Nothing is attached then.
            BpfError: EINVAL, the program is of another type or was loaded for another attach type.
            NotSupportedError: a kernel before 5.18, or without CONFIG_FPROBE.
            TypeError, ValueError: cookies that do not fit the symbols.
        """
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
        """Run a KPROBE program when any of several kernel functions returns (5.18).

        Arguments and errors are those of `attach_kprobe_multi`.
        """
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
        """Run a KPROBE program when kernel functions are entered and when they return (6.10).

        The program was loaded with the attach type TRACE_KPROBE_SESSION. When it returns 1 at the
        entry, it does not run at the return. Arguments and errors are those of
        `attach_kprobe_multi`.
        """
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
        """Run a KPROBE program when processes come to an instruction of a file: a function, mostly.

        The program's context is ``struct pt_regs``.

        Args:
            path: the executable or library: a path, a library's name (``libc.so.6``, or ``libc.so``
                or ``libc`` where it has one version), looked for as the dynamic loader does, a
                program's name, looked for in PATH, or ``ARCHIVE!/NAME`` for a library that an
                archive (zip, APK) has stored.
            symbol: a function, ``name`` or ``name@VERSION``, with `offset` bytes into it; without
                one `offset` counts from the start of the executable or library.
            pid: one process only; by default every one, those to come included.
            ref_ctr_offset: where in it a 16-bit number is that counts who is watching. It counts
                only in memory that the program may write to.
            cookie: what bpf_get_attach_cookie() returns in the program (5.15).

        Raises:
            BpfFileNotFoundError: no such file or function; the message has the nearest names.
            BpfProcessLookupError: no such process.
            NotSupportedError: a kernel without CONFIG_UPROBES, or a cookie before 5.15.
            BpfError: EADDRNOTAVAIL, several functions have the name; EINVAL, the offset is beyond
                the file, or the program is of another type; EOPNOTSUPP, an instruction that can't
                be probed.
            ElfError: a `symbol` of a file that is no ELF file.
        """
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
        """Run a KPROBE program when a function of a file returns to its caller.

        Arguments and errors are those of `attach_uprobe`; without `symbol`, `offset` is where the
        function begins. The context holds the return value.
        """
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
        """Run a KPROBE program when any of several functions of a file is entered (6.6).

        The program was loaded with the attach type TRACE_UPROBE_MULTI; its context is ``struct
        pt_regs``.

        Args:
            path: the executable or library, as for `attach_uprobe`.
            symbols: a pattern with ``*`` and ``?``, a function's name, or several names; or
            offsets: places, counted from the start of the executable or library.
            ref_ctr_offsets: for each place, where in it a 16-bit number is that counts who is
                watching; 0 for none.
            cookies: what bpf_get_attach_cookie() returns in the program: one for each of `symbols`
                or `offsets`, in their order, or by name.
            pid: one process only; by default every one, those to come included.

        Raises:
            BpfFileNotFoundError: no such file or function; a pattern that none matches.
            BpfProcessLookupError: no such process.
            BpfError: EINVAL, the program is of another type or was loaded for another attach type,
                or an offset is beyond the file.
            NotSupportedError: a kernel before 6.6.
            TypeError, ValueError: cookies or reference counters that do not fit the places.
        """
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
        """Run a KPROBE program when any of several functions of a file returns (6.6).

        Arguments and errors are those of `attach_uprobe_multi`.
        """
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
        """Run a KPROBE program when functions of a file are entered and when they return (6.13).

        The program was loaded with the attach type TRACE_UPROBE_SESSION. When it returns 1 at the
        entry, it does not run at the return. Arguments and errors are those of
        `attach_uprobe_multi`.
        """
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
        """Run a KPROBE program at a USDT probe of a file, at each of its places.

        Args:
            path: the executable or library, as for `attach_uprobe`.
            provider, name: of the probe: ``"python", "gc__start"``.
            pid: one process only; by default every one, those to come included.
            cookie: what bpf_usdt_cookie() returns in the program, or bpf_get_attach_cookie() (5.15)
                in one without usdt.bpf.h.

        A probe with a semaphore has it raised for as long as the program is attached (4.20).

        Raises:
            BpfFileNotFoundError: no such file or probe; the message has the nearest names.
            BpfProcessLookupError: no such process.
            FormatError: arguments of a form that is not known.
            NotSupportedError: before 5.15, a library or position-independent program without `pid`,
                for a program with usdt.bpf.h; a cookie; a kernel without uprobes.
            BpfError: E2BIG, the object's map has no room for more descriptions.
        """
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
        """Run a PERF_EVENT program each time a counter has come so far.

        The program's context is ``struct bpf_perf_event_data``: the registers, the period and an
        address.

        Args:
            event: what is counted: a `PerfHardware`, a `PerfSoftware`, or ``type`` and ``config``
                of ``struct perf_event_attr`` as a tuple.
            period: run after that many events; for clocks in nanoseconds. Or
            frequency: run about that often a second (Hz), for each CPU or for each thread of `pid`.
            pid: count one process only, on every CPU: an event for each of its threads, which since
                5.13 counts those that this one starts later as well. By default all processes. A
                thread that another starts while the events are made, before that one has its own,
                is missed; where a process starts many, count all and have the program compare
                process ids.
            cpu: count on one CPU only; by default each one that is online now, unless there is
                `pid`. One that goes, also because the machine sleeps, is not counted when it comes
                back: attach anew then.
            cookie: what bpf_get_attach_cookie() returns in the program (5.15). In threads that
                start later it may return 0: the kernel gives them counters without a cookie.

        Raises:
            BpfFileNotFoundError: this machine has no such counter (guests often have no
                hardware's).
            BpfProcessLookupError: no such process.
            BpfPermissionError: perf_event_paranoid; the message has it.
            BpfError: ENODEV, no such CPU; EINVAL, a frequency above the kernel's limit, or the
                program is of another type; EBUSY, EMFILE, no counter or descriptor is free.
            NotSupportedError: the counter can't interrupt, so no program can run at it, or the
                cookie on a kernel before 5.15.
        """
        rate = {"period": period, "frequency": frequency, "cookie": cookie}
        return self._own(links.attach_perf_event(self, event, pid=pid, cpu=cpu, **rate))

    def attach_tracing(self, *, cookie: int = 0, attach_type: AttachType | None = None) -> Link:
        """Run a TRACING program at the function or tracepoint that it was loaded for.

        fentry, fexit, fmod_ret and fsession programs run at a kernel function, or a function of
        another BPF program; tp_btf programs (TRACE_RAW_TP) at a tracepoint. Sleepable or not is a
        matter of loading.

        Args:
            cookie: what bpf_get_attach_cookie() returns in the program (5.19; tp_btf 6.10).
            attach_type: what the program was loaded for; a cookie needs it where that is not known,
                because the program was opened by id or pin.

        Raises:
            BpfError: EINVAL, the program is of another type, or was loaded for an iterator or
                several functions; EBUSY, the function is replaced; E2BIG, it has as many programs
                as fit.
            NotSupportedError: a cookie on a kernel before 5.19 (tp_btf: 6.10), or an architecture
                whose kernel has no trampolines.
        """
        return self._own(links.attach_tracing(self, cookie=cookie, attach_type=attach_type))

    def attach_tracing_multi(
        self,
        symbols: str | Iterable[str] | None = None,
        *,
        btf_ids: Iterable[int] | None = None,
        cookies: Cookies = None,
        attach_type: AttachType | None = None,
    ) -> Link:
        """Run a TRACING program at the entry or return of several kernel functions (7.2).

        The program was loaded with one of the attach types TRACE_FENTRY_MULTI, TRACE_FEXIT_MULTI
        and TRACE_FSESSION_MULTI; its context is the array of the function's arguments.

        Args:
            symbols: a pattern with ``*`` and ``?``, a function's name, or several names; or
            btf_ids: functions by their ids in the kernel's BTF.
            cookies: what bpf_get_attach_cookie() returns in the program: one for each of `symbols`
                or `btf_ids`, in their order, or by name. Not with a pattern.
            attach_type: what the program was loaded for, where that is not known because it was
                opened by id or pin.

        Raises:
            BpfFileNotFoundError: a function that is not there; a pattern that none matches.
            BpfError: EINVAL, the program is of another type or was loaded for another hook.
            NotSupportedError: a kernel before 7.2.
            TypeError, ValueError: cookies that do not fit the functions.
        """
        return self._own(
            links.attach_tracing_multi(
                self, symbols, btf_ids=btf_ids, cookies=cookies, attach_type=attach_type
            )
        )
