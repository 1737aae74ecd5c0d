/* A program of many kinds of section, each of which the kernel wants told apart. */

#include "bpf.h"

LICENSE("GPL");

#define PROGRAM(section, name, result)                                                             \
	SEC(section) int name(void *context)                                                       \
	{                                                                                          \
		return result;                                                                     \
	}

PROGRAM("socket", a_socket, 0)
PROGRAM("xdp", an_xdp, 2)
PROGRAM("xdp.frags", an_xdp_frags, 2)
PROGRAM("xdp/devmap", an_xdp_devmap, 2)
PROGRAM("xdp.frags/cpumap", an_xdp_cpumap, 2)
PROGRAM("tc", a_tc, 0)
PROGRAM("tcx/ingress", a_tcx, 0)
PROGRAM("netkit/peer", a_netkit, 0)
PROGRAM("action", an_action, 0)
PROGRAM("cgroup_skb/egress", a_cgroup_skb, 1)
PROGRAM("cgroup/sock_create", a_cgroup_sock, 1)
PROGRAM("cgroup/connect4", a_connect4, 1)
PROGRAM("cgroup/recvmsg6", a_recvmsg6, 1)
PROGRAM("cgroup/dev", a_cgroup_dev, 1)
PROGRAM("cgroup/sysctl", a_sysctl, 1)
PROGRAM("cgroup/getsockopt", a_getsockopt, 1)
PROGRAM("sockops", a_sockops, 1)
PROGRAM("sk_skb/stream_verdict", a_verdict, 1)
PROGRAM("sk_msg", an_sk_msg, 1)
PROGRAM("sk_lookup", an_sk_lookup, 1)
PROGRAM("sk_reuseport/migrate", a_migrate, 1)
PROGRAM("flow_dissector", a_dissector, 0)
PROGRAM("lwt_xmit", an_lwt, 0)
PROGRAM("netfilter", a_netfilter, 1)
PROGRAM("raw_tp/sched_switch", a_raw_tp, 0)
PROGRAM("tp/sched/sched_switch", a_tp, 0)
PROGRAM("kprobe.session/do_unlinkat", a_session, 0)
PROGRAM("kprobe.multi/do_unlink*", a_multi, 0)
PROGRAM("uprobe.s/file:symbol", an_uprobe, 0)
PROGRAM("perf_event", a_perf_event, 0)
PROGRAM("tp_btf/sched_switch", a_tp_btf, 0)
PROGRAM("fentry/do_unlinkat", an_fentry, 0)
PROGRAM("fmod_ret/security_file_open", an_fmod_ret, 0)
PROGRAM("lsm/file_open", an_lsm, 0)
PROGRAM("lsm_cgroup/socket_bind", an_lsm_cgroup, 1)
PROGRAM("iter/task", an_iter, 0)
PROGRAM("syscall", a_syscall, 0)
PROGRAM("freplace/function", a_freplace, 0)
