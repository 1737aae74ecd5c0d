/*
 * Compares every member of the structs in include/ebpf/attr.h and perf_event.h with the kernel
 * headers at hand; there is no code here. What 5.10 lacks is compared where LINUX_VERSION_CODE says
 * that the headers have it. A header with backports has more than it says, so less is compared.
 */
#include <stddef.h>

#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <linux/version.h>

#include "ebpf/core.h"

#define SINCE(major, minor) (LINUX_VERSION_CODE >= KERNEL_VERSION(major, minor, 0))

#define SIZE_OF(type, member) sizeof(((type *)0)->member)
#define END_OF(type, member) (offsetof(type, member) + SIZE_OF(type, member))

/* Our member is the kernel's: same place, same size. */
#define SAME(ours, field, theirs, path)                                                     \
	_Static_assert(offsetof(struct ebpf_##ours, field) == offsetof(theirs, path) &&     \
			       SIZE_OF(struct ebpf_##ours, field) == SIZE_OF(theirs, path), \
		       "struct ebpf_" #ours "." #field " is not " #theirs "." #path)

/* Our member is a word of the kernel's bit fields, which have no offset: it fills what lies between
 * two members that have one. tests/unit/test_layout.py looks at the bits. */
#define BETWEEN(ours, field, theirs, before, after)                                       \
	_Static_assert(offsetof(struct ebpf_##ours, field) == END_OF(theirs, before) &&   \
			       END_OF(struct ebpf_##ours, field) == offsetof(theirs, after), \
		       "struct ebpf_" #ours "." #field " is not between " #before " and " #after)

/* A newer kernel's struct may be longer than ours, never shorter. */
#define FITS(ours, theirs)                                      \
	_Static_assert(sizeof(struct ebpf_##ours) <= sizeof(theirs), \
		       "struct ebpf_" #ours " is longer than " #theirs)

SAME(attr_map_create, map_type, union bpf_attr, map_type);
SAME(attr_map_create, key_size, union bpf_attr, key_size);
SAME(attr_map_create, value_size, union bpf_attr, value_size);
SAME(attr_map_create, max_entries, union bpf_attr, max_entries);
SAME(attr_map_create, map_flags, union bpf_attr, map_flags);
SAME(attr_map_create, inner_map_fd, union bpf_attr, inner_map_fd);
SAME(attr_map_create, numa_node, union bpf_attr, numa_node);
SAME(attr_map_create, map_name, union bpf_attr, map_name);
SAME(attr_map_create, map_ifindex, union bpf_attr, map_ifindex);
SAME(attr_map_create, btf_fd, union bpf_attr, btf_fd);
SAME(attr_map_create, btf_key_type_id, union bpf_attr, btf_key_type_id);
SAME(attr_map_create, btf_value_type_id, union bpf_attr, btf_value_type_id);
SAME(attr_map_create, btf_vmlinux_value_type_id, union bpf_attr, btf_vmlinux_value_type_id);
#if SINCE(5, 16)
SAME(attr_map_create, map_extra, union bpf_attr, map_extra);
#endif
#if SINCE(6, 9)
SAME(attr_map_create, value_type_btf_obj_fd, union bpf_attr, value_type_btf_obj_fd);
SAME(attr_map_create, map_token_fd, union bpf_attr, map_token_fd);
#endif
#if SINCE(6, 18)
SAME(attr_map_create, excl_prog_hash, union bpf_attr, excl_prog_hash);
SAME(attr_map_create, excl_prog_hash_size, union bpf_attr, excl_prog_hash_size);
#endif

SAME(attr_map_elem, map_fd, union bpf_attr, map_fd);
SAME(attr_map_elem, key, union bpf_attr, key);
SAME(attr_map_elem, value, union bpf_attr, value);
SAME(attr_map_elem, flags, union bpf_attr, flags);

SAME(attr_map_next_key, map_fd, union bpf_attr, map_fd);
SAME(attr_map_next_key, key, union bpf_attr, key);
SAME(attr_map_next_key, next_key, union bpf_attr, next_key);

SAME(attr_map_batch, in_batch, union bpf_attr, batch.in_batch);
SAME(attr_map_batch, out_batch, union bpf_attr, batch.out_batch);
SAME(attr_map_batch, keys, union bpf_attr, batch.keys);
SAME(attr_map_batch, values, union bpf_attr, batch.values);
SAME(attr_map_batch, count, union bpf_attr, batch.count);
SAME(attr_map_batch, map_fd, union bpf_attr, batch.map_fd);
SAME(attr_map_batch, elem_flags, union bpf_attr, batch.elem_flags);
SAME(attr_map_batch, flags, union bpf_attr, batch.flags);

SAME(attr_map_freeze, map_fd, union bpf_attr, map_fd);

SAME(attr_prog_load, prog_type, union bpf_attr, prog_type);
SAME(attr_prog_load, insn_cnt, union bpf_attr, insn_cnt);
SAME(attr_prog_load, insns, union bpf_attr, insns);
SAME(attr_prog_load, license, union bpf_attr, license);
SAME(attr_prog_load, log_level, union bpf_attr, log_level);
SAME(attr_prog_load, log_size, union bpf_attr, log_size);
SAME(attr_prog_load, log_buf, union bpf_attr, log_buf);
SAME(attr_prog_load, kern_version, union bpf_attr, kern_version);
SAME(attr_prog_load, prog_flags, union bpf_attr, prog_flags);
SAME(attr_prog_load, prog_name, union bpf_attr, prog_name);
SAME(attr_prog_load, prog_ifindex, union bpf_attr, prog_ifindex);
SAME(attr_prog_load, expected_attach_type, union bpf_attr, expected_attach_type);
SAME(attr_prog_load, prog_btf_fd, union bpf_attr, prog_btf_fd);
SAME(attr_prog_load, func_info_rec_size, union bpf_attr, func_info_rec_size);
SAME(attr_prog_load, func_info, union bpf_attr, func_info);
SAME(attr_prog_load, func_info_cnt, union bpf_attr, func_info_cnt);
SAME(attr_prog_load, line_info_rec_size, union bpf_attr, line_info_rec_size);
SAME(attr_prog_load, line_info, union bpf_attr, line_info);
SAME(attr_prog_load, line_info_cnt, union bpf_attr, line_info_cnt);
SAME(attr_prog_load, attach_btf_id, union bpf_attr, attach_btf_id);
SAME(attr_prog_load, attach_prog_fd, union bpf_attr, attach_prog_fd);
#if SINCE(5, 11)
SAME(attr_prog_load, attach_prog_fd, union bpf_attr, attach_btf_obj_fd);
#endif
#if SINCE(5, 14)
SAME(attr_prog_load, fd_array, union bpf_attr, fd_array);
#endif
#if SINCE(5, 17)
SAME(attr_prog_load, core_relo_cnt, union bpf_attr, core_relo_cnt);
SAME(attr_prog_load, core_relos, union bpf_attr, core_relos);
SAME(attr_prog_load, core_relo_rec_size, union bpf_attr, core_relo_rec_size);
#endif
#if SINCE(6, 4)
SAME(attr_prog_load, log_true_size, union bpf_attr, log_true_size);
#endif
#if SINCE(6, 9)
SAME(attr_prog_load, prog_token_fd, union bpf_attr, prog_token_fd);
#endif
#if SINCE(6, 14)
SAME(attr_prog_load, fd_array_cnt, union bpf_attr, fd_array_cnt);
#endif
#if SINCE(6, 18)
SAME(attr_prog_load, signature, union bpf_attr, signature);
SAME(attr_prog_load, signature_size, union bpf_attr, signature_size);
SAME(attr_prog_load, keyring_id, union bpf_attr, keyring_id);
#endif

SAME(attr_prog_attach, target_fd, union bpf_attr, target_fd);
SAME(attr_prog_attach, attach_bpf_fd, union bpf_attr, attach_bpf_fd);
SAME(attr_prog_attach, attach_type, union bpf_attr, attach_type);
SAME(attr_prog_attach, attach_flags, union bpf_attr, attach_flags);
SAME(attr_prog_attach, replace_bpf_fd, union bpf_attr, replace_bpf_fd);
#if SINCE(6, 6)
SAME(attr_prog_attach, relative_fd, union bpf_attr, relative_fd);
SAME(attr_prog_attach, expected_revision, union bpf_attr, expected_revision);
SAME(attr_prog_attach, target_fd, union bpf_attr, target_ifindex);
SAME(attr_prog_attach, relative_fd, union bpf_attr, relative_id);
#endif

SAME(attr_prog_detach, target_fd, union bpf_attr, target_fd);
SAME(attr_prog_detach, attach_bpf_fd, union bpf_attr, attach_bpf_fd);
SAME(attr_prog_detach, attach_type, union bpf_attr, attach_type);
SAME(attr_prog_detach, attach_flags, union bpf_attr, attach_flags);
SAME(attr_prog_detach, replace_bpf_fd, union bpf_attr, replace_bpf_fd);
#if SINCE(6, 6)
SAME(attr_prog_detach, relative_fd, union bpf_attr, relative_fd);
SAME(attr_prog_detach, expected_revision, union bpf_attr, expected_revision);
#endif

SAME(attr_prog_query, target_fd, union bpf_attr, query.target_fd);
SAME(attr_prog_query, attach_type, union bpf_attr, query.attach_type);
SAME(attr_prog_query, query_flags, union bpf_attr, query.query_flags);
SAME(attr_prog_query, attach_flags, union bpf_attr, query.attach_flags);
SAME(attr_prog_query, prog_ids, union bpf_attr, query.prog_ids);
SAME(attr_prog_query, prog_cnt, union bpf_attr, query.prog_cnt);
#if SINCE(6, 0)
SAME(attr_prog_query, prog_attach_flags, union bpf_attr, query.prog_attach_flags);
#endif
#if SINCE(6, 6)
SAME(attr_prog_query, link_ids, union bpf_attr, query.link_ids);
SAME(attr_prog_query, link_attach_flags, union bpf_attr, query.link_attach_flags);
SAME(attr_prog_query, revision, union bpf_attr, query.revision);
SAME(attr_prog_query, target_fd, union bpf_attr, query.target_ifindex);
SAME(attr_prog_query, prog_cnt, union bpf_attr, query.count);
#endif

SAME(attr_prog_test_run, prog_fd, union bpf_attr, test.prog_fd);
SAME(attr_prog_test_run, retval, union bpf_attr, test.retval);
SAME(attr_prog_test_run, data_size_in, union bpf_attr, test.data_size_in);
SAME(attr_prog_test_run, data_size_out, union bpf_attr, test.data_size_out);
SAME(attr_prog_test_run, data_in, union bpf_attr, test.data_in);
SAME(attr_prog_test_run, data_out, union bpf_attr, test.data_out);
SAME(attr_prog_test_run, repeat, union bpf_attr, test.repeat);
SAME(attr_prog_test_run, duration, union bpf_attr, test.duration);
SAME(attr_prog_test_run, ctx_size_in, union bpf_attr, test.ctx_size_in);
SAME(attr_prog_test_run, ctx_size_out, union bpf_attr, test.ctx_size_out);
SAME(attr_prog_test_run, ctx_in, union bpf_attr, test.ctx_in);
SAME(attr_prog_test_run, ctx_out, union bpf_attr, test.ctx_out);
SAME(attr_prog_test_run, flags, union bpf_attr, test.flags);
SAME(attr_prog_test_run, cpu, union bpf_attr, test.cpu);
#if SINCE(5, 18)
SAME(attr_prog_test_run, batch_size, union bpf_attr, test.batch_size);
#endif

SAME(attr_prog_bind_map, prog_fd, union bpf_attr, prog_bind_map.prog_fd);
SAME(attr_prog_bind_map, map_fd, union bpf_attr, prog_bind_map.map_fd);
SAME(attr_prog_bind_map, flags, union bpf_attr, prog_bind_map.flags);

#if SINCE(6, 17)
SAME(attr_prog_stream_read, stream_buf, union bpf_attr, prog_stream_read.stream_buf);
SAME(attr_prog_stream_read, stream_buf_len, union bpf_attr, prog_stream_read.stream_buf_len);
SAME(attr_prog_stream_read, stream_id, union bpf_attr, prog_stream_read.stream_id);
SAME(attr_prog_stream_read, prog_fd, union bpf_attr, prog_stream_read.prog_fd);
#endif

#if SINCE(7, 0)
SAME(attr_prog_assoc_struct_ops, map_fd, union bpf_attr, prog_assoc_struct_ops.map_fd);
SAME(attr_prog_assoc_struct_ops, prog_fd, union bpf_attr, prog_assoc_struct_ops.prog_fd);
SAME(attr_prog_assoc_struct_ops, flags, union bpf_attr, prog_assoc_struct_ops.flags);
#endif

SAME(attr_obj, pathname, union bpf_attr, pathname);
SAME(attr_obj, bpf_fd, union bpf_attr, bpf_fd);
SAME(attr_obj, file_flags, union bpf_attr, file_flags);
#if SINCE(6, 5)
SAME(attr_obj, path_fd, union bpf_attr, path_fd);
#endif

SAME(attr_get_next_id, start_id, union bpf_attr, start_id);
SAME(attr_get_next_id, next_id, union bpf_attr, next_id);
SAME(attr_get_next_id, open_flags, union bpf_attr, open_flags);

SAME(attr_get_fd_by_id, id, union bpf_attr, prog_id);
SAME(attr_get_fd_by_id, open_flags, union bpf_attr, open_flags);
SAME(attr_get_fd_by_id, id, union bpf_attr, map_id);
SAME(attr_get_fd_by_id, id, union bpf_attr, btf_id);
SAME(attr_get_fd_by_id, id, union bpf_attr, link_id);
#if SINCE(6, 15)
SAME(attr_get_fd_by_id, fd_by_id_token_fd, union bpf_attr, fd_by_id_token_fd);
#endif

SAME(attr_info_by_fd, bpf_fd, union bpf_attr, info.bpf_fd);
SAME(attr_info_by_fd, info_len, union bpf_attr, info.info_len);
SAME(attr_info_by_fd, info, union bpf_attr, info.info);

SAME(attr_btf_load, btf, union bpf_attr, btf);
SAME(attr_btf_load, btf_log_buf, union bpf_attr, btf_log_buf);
SAME(attr_btf_load, btf_size, union bpf_attr, btf_size);
SAME(attr_btf_load, btf_log_size, union bpf_attr, btf_log_size);
SAME(attr_btf_load, btf_log_level, union bpf_attr, btf_log_level);
#if SINCE(6, 4)
SAME(attr_btf_load, btf_log_true_size, union bpf_attr, btf_log_true_size);
#endif
#if SINCE(6, 9)
SAME(attr_btf_load, btf_flags, union bpf_attr, btf_flags);
SAME(attr_btf_load, btf_token_fd, union bpf_attr, btf_token_fd);
#endif

SAME(attr_task_fd_query, pid, union bpf_attr, task_fd_query.pid);
SAME(attr_task_fd_query, fd, union bpf_attr, task_fd_query.fd);
SAME(attr_task_fd_query, flags, union bpf_attr, task_fd_query.flags);
SAME(attr_task_fd_query, buf_len, union bpf_attr, task_fd_query.buf_len);
SAME(attr_task_fd_query, buf, union bpf_attr, task_fd_query.buf);
SAME(attr_task_fd_query, prog_id, union bpf_attr, task_fd_query.prog_id);
SAME(attr_task_fd_query, fd_type, union bpf_attr, task_fd_query.fd_type);
SAME(attr_task_fd_query, probe_offset, union bpf_attr, task_fd_query.probe_offset);
SAME(attr_task_fd_query, probe_addr, union bpf_attr, task_fd_query.probe_addr);

SAME(attr_enable_stats, type, union bpf_attr, enable_stats.type);

#if SINCE(6, 9)
SAME(attr_token_create, flags, union bpf_attr, token_create.flags);
SAME(attr_token_create, bpffs_fd, union bpf_attr, token_create.bpffs_fd);
#endif

#if SINCE(7, 2)
SAME(common_attr, log_buf, struct bpf_common_attr, log_buf);
SAME(common_attr, log_size, struct bpf_common_attr, log_size);
SAME(common_attr, log_level, struct bpf_common_attr, log_level);
SAME(common_attr, log_true_size, struct bpf_common_attr, log_true_size);
FITS(common_attr, struct bpf_common_attr);
#endif

SAME(attr_raw_tracepoint_open, name, union bpf_attr, raw_tracepoint.name);
SAME(attr_raw_tracepoint_open, prog_fd, union bpf_attr, raw_tracepoint.prog_fd);
#if SINCE(6, 10)
SAME(attr_raw_tracepoint_open, cookie, union bpf_attr, raw_tracepoint.cookie);
#endif

SAME(attr_link_create, prog_fd, union bpf_attr, link_create.prog_fd);
SAME(attr_link_create, target_fd, union bpf_attr, link_create.target_fd);
SAME(attr_link_create, attach_type, union bpf_attr, link_create.attach_type);
SAME(attr_link_create, flags, union bpf_attr, link_create.flags);
SAME(attr_link_create, target_fd, union bpf_attr, link_create.target_ifindex);

SAME(attr_link_create_struct_ops, target_fd, union bpf_attr, link_create.target_fd);
SAME(attr_link_create_struct_ops, attach_type, union bpf_attr, link_create.attach_type);
SAME(attr_link_create_struct_ops, flags, union bpf_attr, link_create.flags);
#if SINCE(6, 4)
SAME(attr_link_create_struct_ops, map_fd, union bpf_attr, link_create.map_fd);
#endif

SAME(attr_link_create_target_btf, prog_fd, union bpf_attr, link_create.prog_fd);
SAME(attr_link_create_target_btf, target_fd, union bpf_attr, link_create.target_fd);
SAME(attr_link_create_target_btf, attach_type, union bpf_attr, link_create.attach_type);
SAME(attr_link_create_target_btf, flags, union bpf_attr, link_create.flags);
SAME(attr_link_create_target_btf, target_btf_id, union bpf_attr, link_create.target_btf_id);

SAME(attr_link_create_iter, prog_fd, union bpf_attr, link_create.prog_fd);
SAME(attr_link_create_iter, target_fd, union bpf_attr, link_create.target_fd);
SAME(attr_link_create_iter, attach_type, union bpf_attr, link_create.attach_type);
SAME(attr_link_create_iter, flags, union bpf_attr, link_create.flags);
SAME(attr_link_create_iter, iter_info, union bpf_attr, link_create.iter_info);
SAME(attr_link_create_iter, iter_info_len, union bpf_attr, link_create.iter_info_len);

SAME(attr_link_create_perf_event, prog_fd, union bpf_attr, link_create.prog_fd);
SAME(attr_link_create_perf_event, target_fd, union bpf_attr, link_create.target_fd);
SAME(attr_link_create_perf_event, attach_type, union bpf_attr, link_create.attach_type);
SAME(attr_link_create_perf_event, flags, union bpf_attr, link_create.flags);
#if SINCE(5, 15)
SAME(attr_link_create_perf_event, bpf_cookie, union bpf_attr, link_create.perf_event.bpf_cookie);
#endif

SAME(attr_link_create_kprobe_multi, prog_fd, union bpf_attr, link_create.prog_fd);
SAME(attr_link_create_kprobe_multi, target_fd, union bpf_attr, link_create.target_fd);
SAME(attr_link_create_kprobe_multi, attach_type, union bpf_attr, link_create.attach_type);
SAME(attr_link_create_kprobe_multi, flags, union bpf_attr, link_create.flags);
#if SINCE(5, 18)
SAME(attr_link_create_kprobe_multi, kprobe_multi_flags, union bpf_attr, link_create.kprobe_multi.flags);
SAME(attr_link_create_kprobe_multi, cnt, union bpf_attr, link_create.kprobe_multi.cnt);
SAME(attr_link_create_kprobe_multi, syms, union bpf_attr, link_create.kprobe_multi.syms);
SAME(attr_link_create_kprobe_multi, addrs, union bpf_attr, link_create.kprobe_multi.addrs);
SAME(attr_link_create_kprobe_multi, cookies, union bpf_attr, link_create.kprobe_multi.cookies);
#endif

SAME(attr_link_create_tracing, prog_fd, union bpf_attr, link_create.prog_fd);
SAME(attr_link_create_tracing, target_fd, union bpf_attr, link_create.target_fd);
SAME(attr_link_create_tracing, attach_type, union bpf_attr, link_create.attach_type);
SAME(attr_link_create_tracing, flags, union bpf_attr, link_create.flags);
#if SINCE(5, 19)
SAME(attr_link_create_tracing, target_btf_id, union bpf_attr, link_create.tracing.target_btf_id);
SAME(attr_link_create_tracing, cookie, union bpf_attr, link_create.tracing.cookie);
#endif

SAME(attr_link_create_netfilter, prog_fd, union bpf_attr, link_create.prog_fd);
SAME(attr_link_create_netfilter, target_fd, union bpf_attr, link_create.target_fd);
SAME(attr_link_create_netfilter, attach_type, union bpf_attr, link_create.attach_type);
SAME(attr_link_create_netfilter, flags, union bpf_attr, link_create.flags);
#if SINCE(6, 4)
SAME(attr_link_create_netfilter, pf, union bpf_attr, link_create.netfilter.pf);
SAME(attr_link_create_netfilter, hooknum, union bpf_attr, link_create.netfilter.hooknum);
SAME(attr_link_create_netfilter, priority, union bpf_attr, link_create.netfilter.priority);
SAME(attr_link_create_netfilter, netfilter_flags, union bpf_attr, link_create.netfilter.flags);
#endif

SAME(attr_link_create_tcx, prog_fd, union bpf_attr, link_create.prog_fd);
SAME(attr_link_create_tcx, target_fd, union bpf_attr, link_create.target_fd);
SAME(attr_link_create_tcx, attach_type, union bpf_attr, link_create.attach_type);
SAME(attr_link_create_tcx, flags, union bpf_attr, link_create.flags);
#if SINCE(6, 6)
SAME(attr_link_create_tcx, relative_fd, union bpf_attr, link_create.tcx.relative_fd);
SAME(attr_link_create_tcx, expected_revision, union bpf_attr, link_create.tcx.expected_revision);
SAME(attr_link_create_tcx, relative_fd, union bpf_attr, link_create.tcx.relative_id);
#endif

SAME(attr_link_create_uprobe_multi, prog_fd, union bpf_attr, link_create.prog_fd);
SAME(attr_link_create_uprobe_multi, target_fd, union bpf_attr, link_create.target_fd);
SAME(attr_link_create_uprobe_multi, attach_type, union bpf_attr, link_create.attach_type);
SAME(attr_link_create_uprobe_multi, flags, union bpf_attr, link_create.flags);
#if SINCE(6, 6)
SAME(attr_link_create_uprobe_multi, path, union bpf_attr, link_create.uprobe_multi.path);
SAME(attr_link_create_uprobe_multi, offsets, union bpf_attr, link_create.uprobe_multi.offsets);
SAME(attr_link_create_uprobe_multi, ref_ctr_offsets, union bpf_attr, link_create.uprobe_multi.ref_ctr_offsets);
SAME(attr_link_create_uprobe_multi, cookies, union bpf_attr, link_create.uprobe_multi.cookies);
SAME(attr_link_create_uprobe_multi, cnt, union bpf_attr, link_create.uprobe_multi.cnt);
SAME(attr_link_create_uprobe_multi, uprobe_multi_flags, union bpf_attr, link_create.uprobe_multi.flags);
SAME(attr_link_create_uprobe_multi, pid, union bpf_attr, link_create.uprobe_multi.pid);
#endif
#if SINCE(7, 2)
SAME(attr_link_create_uprobe_multi, path_fd, union bpf_attr, link_create.uprobe_multi.path_fd);
#endif

SAME(attr_link_create_netkit, prog_fd, union bpf_attr, link_create.prog_fd);
SAME(attr_link_create_netkit, target_fd, union bpf_attr, link_create.target_fd);
SAME(attr_link_create_netkit, attach_type, union bpf_attr, link_create.attach_type);
SAME(attr_link_create_netkit, flags, union bpf_attr, link_create.flags);
#if SINCE(6, 7)
SAME(attr_link_create_netkit, relative_fd, union bpf_attr, link_create.netkit.relative_fd);
SAME(attr_link_create_netkit, expected_revision, union bpf_attr, link_create.netkit.expected_revision);
SAME(attr_link_create_netkit, relative_fd, union bpf_attr, link_create.netkit.relative_id);
#endif

SAME(attr_link_create_cgroup, prog_fd, union bpf_attr, link_create.prog_fd);
SAME(attr_link_create_cgroup, target_fd, union bpf_attr, link_create.target_fd);
SAME(attr_link_create_cgroup, attach_type, union bpf_attr, link_create.attach_type);
SAME(attr_link_create_cgroup, flags, union bpf_attr, link_create.flags);
#if SINCE(6, 17)
SAME(attr_link_create_cgroup, relative_fd, union bpf_attr, link_create.cgroup.relative_fd);
SAME(attr_link_create_cgroup, expected_revision, union bpf_attr, link_create.cgroup.expected_revision);
SAME(attr_link_create_cgroup, relative_fd, union bpf_attr, link_create.cgroup.relative_id);
#endif

SAME(attr_link_create_tracing_multi, prog_fd, union bpf_attr, link_create.prog_fd);
SAME(attr_link_create_tracing_multi, target_fd, union bpf_attr, link_create.target_fd);
SAME(attr_link_create_tracing_multi, attach_type, union bpf_attr, link_create.attach_type);
SAME(attr_link_create_tracing_multi, flags, union bpf_attr, link_create.flags);
#if SINCE(7, 2)
SAME(attr_link_create_tracing_multi, ids, union bpf_attr, link_create.tracing_multi.ids);
SAME(attr_link_create_tracing_multi, cookies, union bpf_attr, link_create.tracing_multi.cookies);
SAME(attr_link_create_tracing_multi, cnt, union bpf_attr, link_create.tracing_multi.cnt);
#endif

SAME(attr_link_update, link_fd, union bpf_attr, link_update.link_fd);
SAME(attr_link_update, new_prog_fd, union bpf_attr, link_update.new_prog_fd);
SAME(attr_link_update, flags, union bpf_attr, link_update.flags);
SAME(attr_link_update, old_prog_fd, union bpf_attr, link_update.old_prog_fd);
#if SINCE(6, 4)
SAME(attr_link_update, new_prog_fd, union bpf_attr, link_update.new_map_fd);
SAME(attr_link_update, old_prog_fd, union bpf_attr, link_update.old_map_fd);
#endif

SAME(attr_link_detach, link_fd, union bpf_attr, link_detach.link_fd);

SAME(attr_iter_create, link_fd, union bpf_attr, iter_create.link_fd);
SAME(attr_iter_create, flags, union bpf_attr, iter_create.flags);

SAME(iter_info_map, map_fd, union bpf_iter_link_info, map.map_fd);

#if SINCE(6, 1)
SAME(iter_info_cgroup, order, union bpf_iter_link_info, cgroup.order);
SAME(iter_info_cgroup, cgroup_fd, union bpf_iter_link_info, cgroup.cgroup_fd);
SAME(iter_info_cgroup, cgroup_id, union bpf_iter_link_info, cgroup.cgroup_id);
#endif

#if SINCE(6, 1)
SAME(iter_info_task, tid, union bpf_iter_link_info, task.tid);
SAME(iter_info_task, pid, union bpf_iter_link_info, task.pid);
SAME(iter_info_task, pid_fd, union bpf_iter_link_info, task.pid_fd);
#endif

SAME(prog_info, type, struct bpf_prog_info, type);
SAME(prog_info, id, struct bpf_prog_info, id);
SAME(prog_info, tag, struct bpf_prog_info, tag);
SAME(prog_info, jited_prog_len, struct bpf_prog_info, jited_prog_len);
SAME(prog_info, xlated_prog_len, struct bpf_prog_info, xlated_prog_len);
SAME(prog_info, jited_prog_insns, struct bpf_prog_info, jited_prog_insns);
SAME(prog_info, xlated_prog_insns, struct bpf_prog_info, xlated_prog_insns);
SAME(prog_info, load_time, struct bpf_prog_info, load_time);
SAME(prog_info, created_by_uid, struct bpf_prog_info, created_by_uid);
SAME(prog_info, nr_map_ids, struct bpf_prog_info, nr_map_ids);
SAME(prog_info, map_ids, struct bpf_prog_info, map_ids);
SAME(prog_info, name, struct bpf_prog_info, name);
SAME(prog_info, ifindex, struct bpf_prog_info, ifindex);
BETWEEN(prog_info, gpl_compatible, struct bpf_prog_info, ifindex, netns_dev);
SAME(prog_info, netns_dev, struct bpf_prog_info, netns_dev);
SAME(prog_info, netns_ino, struct bpf_prog_info, netns_ino);
SAME(prog_info, nr_jited_ksyms, struct bpf_prog_info, nr_jited_ksyms);
SAME(prog_info, nr_jited_func_lens, struct bpf_prog_info, nr_jited_func_lens);
SAME(prog_info, jited_ksyms, struct bpf_prog_info, jited_ksyms);
SAME(prog_info, jited_func_lens, struct bpf_prog_info, jited_func_lens);
SAME(prog_info, btf_id, struct bpf_prog_info, btf_id);
SAME(prog_info, func_info_rec_size, struct bpf_prog_info, func_info_rec_size);
SAME(prog_info, func_info, struct bpf_prog_info, func_info);
SAME(prog_info, nr_func_info, struct bpf_prog_info, nr_func_info);
SAME(prog_info, nr_line_info, struct bpf_prog_info, nr_line_info);
SAME(prog_info, line_info, struct bpf_prog_info, line_info);
SAME(prog_info, jited_line_info, struct bpf_prog_info, jited_line_info);
SAME(prog_info, nr_jited_line_info, struct bpf_prog_info, nr_jited_line_info);
SAME(prog_info, line_info_rec_size, struct bpf_prog_info, line_info_rec_size);
SAME(prog_info, jited_line_info_rec_size, struct bpf_prog_info, jited_line_info_rec_size);
SAME(prog_info, nr_prog_tags, struct bpf_prog_info, nr_prog_tags);
SAME(prog_info, prog_tags, struct bpf_prog_info, prog_tags);
SAME(prog_info, run_time_ns, struct bpf_prog_info, run_time_ns);
SAME(prog_info, run_cnt, struct bpf_prog_info, run_cnt);
#if SINCE(5, 12)
SAME(prog_info, recursion_misses, struct bpf_prog_info, recursion_misses);
#endif
#if SINCE(5, 16)
SAME(prog_info, verified_insns, struct bpf_prog_info, verified_insns);
#endif
#if SINCE(6, 0)
SAME(prog_info, attach_btf_obj_id, struct bpf_prog_info, attach_btf_obj_id);
SAME(prog_info, attach_btf_id, struct bpf_prog_info, attach_btf_id);
FITS(prog_info, struct bpf_prog_info);
#endif

SAME(map_info, type, struct bpf_map_info, type);
SAME(map_info, id, struct bpf_map_info, id);
SAME(map_info, key_size, struct bpf_map_info, key_size);
SAME(map_info, value_size, struct bpf_map_info, value_size);
SAME(map_info, max_entries, struct bpf_map_info, max_entries);
SAME(map_info, map_flags, struct bpf_map_info, map_flags);
SAME(map_info, name, struct bpf_map_info, name);
SAME(map_info, ifindex, struct bpf_map_info, ifindex);
SAME(map_info, btf_vmlinux_value_type_id, struct bpf_map_info, btf_vmlinux_value_type_id);
SAME(map_info, netns_dev, struct bpf_map_info, netns_dev);
SAME(map_info, netns_ino, struct bpf_map_info, netns_ino);
SAME(map_info, btf_id, struct bpf_map_info, btf_id);
SAME(map_info, btf_key_type_id, struct bpf_map_info, btf_key_type_id);
SAME(map_info, btf_value_type_id, struct bpf_map_info, btf_value_type_id);
#if SINCE(5, 16)
SAME(map_info, map_extra, struct bpf_map_info, map_extra);
#endif
#if SINCE(6, 9)
SAME(map_info, btf_vmlinux_id, struct bpf_map_info, btf_vmlinux_id);
#endif
#if SINCE(6, 18)
SAME(map_info, hash, struct bpf_map_info, hash);
SAME(map_info, hash_size, struct bpf_map_info, hash_size);
FITS(map_info, struct bpf_map_info);
#endif

SAME(btf_info, btf, struct bpf_btf_info, btf);
SAME(btf_info, btf_size, struct bpf_btf_info, btf_size);
SAME(btf_info, id, struct bpf_btf_info, id);
#if SINCE(5, 11)
SAME(btf_info, name, struct bpf_btf_info, name);
SAME(btf_info, name_len, struct bpf_btf_info, name_len);
SAME(btf_info, kernel_btf, struct bpf_btf_info, kernel_btf);
FITS(btf_info, struct bpf_btf_info);
#endif

#if SINCE(6, 17)
SAME(token_info, allowed_cmds, struct bpf_token_info, allowed_cmds);
SAME(token_info, allowed_maps, struct bpf_token_info, allowed_maps);
SAME(token_info, allowed_progs, struct bpf_token_info, allowed_progs);
SAME(token_info, allowed_attachs, struct bpf_token_info, allowed_attachs);
FITS(token_info, struct bpf_token_info);
#endif

SAME(link_info, type, struct bpf_link_info, type);
SAME(link_info, id, struct bpf_link_info, id);
SAME(link_info, prog_id, struct bpf_link_info, prog_id);

SAME(link_info_raw_tracepoint, type, struct bpf_link_info, type);
SAME(link_info_raw_tracepoint, id, struct bpf_link_info, id);
SAME(link_info_raw_tracepoint, prog_id, struct bpf_link_info, prog_id);
SAME(link_info_raw_tracepoint, tp_name, struct bpf_link_info, raw_tracepoint.tp_name);
SAME(link_info_raw_tracepoint, tp_name_len, struct bpf_link_info, raw_tracepoint.tp_name_len);
#if SINCE(6, 17)
SAME(link_info_raw_tracepoint, cookie, struct bpf_link_info, raw_tracepoint.cookie);
#endif

SAME(link_info_tracing, type, struct bpf_link_info, type);
SAME(link_info_tracing, id, struct bpf_link_info, id);
SAME(link_info_tracing, prog_id, struct bpf_link_info, prog_id);
SAME(link_info_tracing, attach_type, struct bpf_link_info, tracing.attach_type);
#if SINCE(5, 13)
SAME(link_info_tracing, target_obj_id, struct bpf_link_info, tracing.target_obj_id);
SAME(link_info_tracing, target_btf_id, struct bpf_link_info, tracing.target_btf_id);
#endif
#if SINCE(6, 17)
SAME(link_info_tracing, cookie, struct bpf_link_info, tracing.cookie);
#endif

SAME(link_info_cgroup, type, struct bpf_link_info, type);
SAME(link_info_cgroup, id, struct bpf_link_info, id);
SAME(link_info_cgroup, prog_id, struct bpf_link_info, prog_id);
SAME(link_info_cgroup, cgroup_id, struct bpf_link_info, cgroup.cgroup_id);
SAME(link_info_cgroup, attach_type, struct bpf_link_info, cgroup.attach_type);

SAME(link_info_iter, type, struct bpf_link_info, type);
SAME(link_info_iter, id, struct bpf_link_info, id);
SAME(link_info_iter, prog_id, struct bpf_link_info, prog_id);
SAME(link_info_iter, target_name, struct bpf_link_info, iter.target_name);
SAME(link_info_iter, target_name_len, struct bpf_link_info, iter.target_name_len);
SAME(link_info_iter, map_id, struct bpf_link_info, iter.map.map_id);

SAME(link_info_iter_cgroup, type, struct bpf_link_info, type);
SAME(link_info_iter_cgroup, id, struct bpf_link_info, id);
SAME(link_info_iter_cgroup, prog_id, struct bpf_link_info, prog_id);
SAME(link_info_iter_cgroup, target_name, struct bpf_link_info, iter.target_name);
SAME(link_info_iter_cgroup, target_name_len, struct bpf_link_info, iter.target_name_len);
SAME(link_info_iter_cgroup, map_id, struct bpf_link_info, iter.map.map_id);
#if SINCE(6, 1)
SAME(link_info_iter_cgroup, cgroup_id, struct bpf_link_info, iter.cgroup.cgroup_id);
SAME(link_info_iter_cgroup, order, struct bpf_link_info, iter.cgroup.order);
#endif

SAME(link_info_iter_task, type, struct bpf_link_info, type);
SAME(link_info_iter_task, id, struct bpf_link_info, id);
SAME(link_info_iter_task, prog_id, struct bpf_link_info, prog_id);
SAME(link_info_iter_task, target_name, struct bpf_link_info, iter.target_name);
SAME(link_info_iter_task, target_name_len, struct bpf_link_info, iter.target_name_len);
SAME(link_info_iter_task, map_id, struct bpf_link_info, iter.map.map_id);
#if SINCE(6, 1)
SAME(link_info_iter_task, tid, struct bpf_link_info, iter.task.tid);
SAME(link_info_iter_task, pid, struct bpf_link_info, iter.task.pid);
#endif

SAME(link_info_netns, type, struct bpf_link_info, type);
SAME(link_info_netns, id, struct bpf_link_info, id);
SAME(link_info_netns, prog_id, struct bpf_link_info, prog_id);
SAME(link_info_netns, netns_ino, struct bpf_link_info, netns.netns_ino);
SAME(link_info_netns, attach_type, struct bpf_link_info, netns.attach_type);

SAME(link_info_xdp, type, struct bpf_link_info, type);
SAME(link_info_xdp, id, struct bpf_link_info, id);
SAME(link_info_xdp, prog_id, struct bpf_link_info, prog_id);
SAME(link_info_xdp, ifindex, struct bpf_link_info, xdp.ifindex);

SAME(link_info_struct_ops, type, struct bpf_link_info, type);
SAME(link_info_struct_ops, id, struct bpf_link_info, id);
SAME(link_info_struct_ops, prog_id, struct bpf_link_info, prog_id);
#if SINCE(6, 4)
SAME(link_info_struct_ops, map_id, struct bpf_link_info, struct_ops.map_id);
#endif

SAME(link_info_netfilter, type, struct bpf_link_info, type);
SAME(link_info_netfilter, id, struct bpf_link_info, id);
SAME(link_info_netfilter, prog_id, struct bpf_link_info, prog_id);
#if SINCE(6, 4)
SAME(link_info_netfilter, pf, struct bpf_link_info, netfilter.pf);
SAME(link_info_netfilter, hooknum, struct bpf_link_info, netfilter.hooknum);
SAME(link_info_netfilter, priority, struct bpf_link_info, netfilter.priority);
SAME(link_info_netfilter, flags, struct bpf_link_info, netfilter.flags);
#endif

SAME(link_info_kprobe_multi, type, struct bpf_link_info, type);
SAME(link_info_kprobe_multi, id, struct bpf_link_info, id);
SAME(link_info_kprobe_multi, prog_id, struct bpf_link_info, prog_id);
#if SINCE(6, 6)
SAME(link_info_kprobe_multi, addrs, struct bpf_link_info, kprobe_multi.addrs);
SAME(link_info_kprobe_multi, count, struct bpf_link_info, kprobe_multi.count);
SAME(link_info_kprobe_multi, flags, struct bpf_link_info, kprobe_multi.flags);
#endif
#if SINCE(6, 7)
SAME(link_info_kprobe_multi, missed, struct bpf_link_info, kprobe_multi.missed);
#endif
#if SINCE(6, 9)
SAME(link_info_kprobe_multi, cookies, struct bpf_link_info, kprobe_multi.cookies);
#endif

SAME(link_info_uprobe_multi, type, struct bpf_link_info, type);
SAME(link_info_uprobe_multi, id, struct bpf_link_info, id);
SAME(link_info_uprobe_multi, prog_id, struct bpf_link_info, prog_id);
#if SINCE(6, 8)
SAME(link_info_uprobe_multi, path, struct bpf_link_info, uprobe_multi.path);
SAME(link_info_uprobe_multi, offsets, struct bpf_link_info, uprobe_multi.offsets);
SAME(link_info_uprobe_multi, ref_ctr_offsets, struct bpf_link_info, uprobe_multi.ref_ctr_offsets);
SAME(link_info_uprobe_multi, cookies, struct bpf_link_info, uprobe_multi.cookies);
SAME(link_info_uprobe_multi, path_size, struct bpf_link_info, uprobe_multi.path_size);
SAME(link_info_uprobe_multi, count, struct bpf_link_info, uprobe_multi.count);
SAME(link_info_uprobe_multi, flags, struct bpf_link_info, uprobe_multi.flags);
SAME(link_info_uprobe_multi, pid, struct bpf_link_info, uprobe_multi.pid);
#endif

SAME(link_info_tracing_multi, type, struct bpf_link_info, type);
SAME(link_info_tracing_multi, id, struct bpf_link_info, id);
SAME(link_info_tracing_multi, prog_id, struct bpf_link_info, prog_id);
#if SINCE(7, 3)
SAME(link_info_tracing_multi, attach_type, struct bpf_link_info, tracing_multi.attach_type);
SAME(link_info_tracing_multi, count, struct bpf_link_info, tracing_multi.count);
SAME(link_info_tracing_multi, btf_obj_id, struct bpf_link_info, tracing_multi.btf_obj_id);
SAME(link_info_tracing_multi, ids, struct bpf_link_info, tracing_multi.ids);
SAME(link_info_tracing_multi, addrs, struct bpf_link_info, tracing_multi.addrs);
SAME(link_info_tracing_multi, cookies, struct bpf_link_info, tracing_multi.cookies);
#endif

SAME(link_info_perf_event, type, struct bpf_link_info, type);
SAME(link_info_perf_event, id, struct bpf_link_info, id);
SAME(link_info_perf_event, prog_id, struct bpf_link_info, prog_id);
#if SINCE(6, 6)
SAME(link_info_perf_event, perf_event_type, struct bpf_link_info, perf_event.type);
#endif

SAME(link_info_perf_event_uprobe, type, struct bpf_link_info, type);
SAME(link_info_perf_event_uprobe, id, struct bpf_link_info, id);
SAME(link_info_perf_event_uprobe, prog_id, struct bpf_link_info, prog_id);
#if SINCE(6, 6)
SAME(link_info_perf_event_uprobe, perf_event_type, struct bpf_link_info, perf_event.type);
SAME(link_info_perf_event_uprobe, file_name, struct bpf_link_info, perf_event.uprobe.file_name);
SAME(link_info_perf_event_uprobe, name_len, struct bpf_link_info, perf_event.uprobe.name_len);
SAME(link_info_perf_event_uprobe, offset, struct bpf_link_info, perf_event.uprobe.offset);
#endif
#if SINCE(6, 9)
SAME(link_info_perf_event_uprobe, cookie, struct bpf_link_info, perf_event.uprobe.cookie);
#endif
#if SINCE(6, 16)
SAME(link_info_perf_event_uprobe, ref_ctr_offset, struct bpf_link_info, perf_event.uprobe.ref_ctr_offset);
#endif

SAME(link_info_perf_event_kprobe, type, struct bpf_link_info, type);
SAME(link_info_perf_event_kprobe, id, struct bpf_link_info, id);
SAME(link_info_perf_event_kprobe, prog_id, struct bpf_link_info, prog_id);
#if SINCE(6, 6)
SAME(link_info_perf_event_kprobe, perf_event_type, struct bpf_link_info, perf_event.type);
SAME(link_info_perf_event_kprobe, func_name, struct bpf_link_info, perf_event.kprobe.func_name);
SAME(link_info_perf_event_kprobe, name_len, struct bpf_link_info, perf_event.kprobe.name_len);
SAME(link_info_perf_event_kprobe, offset, struct bpf_link_info, perf_event.kprobe.offset);
SAME(link_info_perf_event_kprobe, addr, struct bpf_link_info, perf_event.kprobe.addr);
#endif
#if SINCE(6, 7)
SAME(link_info_perf_event_kprobe, missed, struct bpf_link_info, perf_event.kprobe.missed);
#endif
#if SINCE(6, 9)
SAME(link_info_perf_event_kprobe, cookie, struct bpf_link_info, perf_event.kprobe.cookie);
#endif

SAME(link_info_perf_event_tracepoint, type, struct bpf_link_info, type);
SAME(link_info_perf_event_tracepoint, id, struct bpf_link_info, id);
SAME(link_info_perf_event_tracepoint, prog_id, struct bpf_link_info, prog_id);
#if SINCE(6, 6)
SAME(link_info_perf_event_tracepoint, perf_event_type, struct bpf_link_info, perf_event.type);
SAME(link_info_perf_event_tracepoint, tp_name, struct bpf_link_info, perf_event.tracepoint.tp_name);
SAME(link_info_perf_event_tracepoint, name_len, struct bpf_link_info, perf_event.tracepoint.name_len);
#endif
#if SINCE(6, 9)
SAME(link_info_perf_event_tracepoint, cookie, struct bpf_link_info, perf_event.tracepoint.cookie);
#endif

SAME(link_info_perf_event_event, type, struct bpf_link_info, type);
SAME(link_info_perf_event_event, id, struct bpf_link_info, id);
SAME(link_info_perf_event_event, prog_id, struct bpf_link_info, prog_id);
#if SINCE(6, 6)
SAME(link_info_perf_event_event, perf_event_type, struct bpf_link_info, perf_event.type);
SAME(link_info_perf_event_event, config, struct bpf_link_info, perf_event.event.config);
SAME(link_info_perf_event_event, event_type, struct bpf_link_info, perf_event.event.type);
#endif
#if SINCE(6, 9)
SAME(link_info_perf_event_event, cookie, struct bpf_link_info, perf_event.event.cookie);
#endif

SAME(link_info_tcx, type, struct bpf_link_info, type);
SAME(link_info_tcx, id, struct bpf_link_info, id);
SAME(link_info_tcx, prog_id, struct bpf_link_info, prog_id);
#if SINCE(6, 6)
SAME(link_info_tcx, ifindex, struct bpf_link_info, tcx.ifindex);
SAME(link_info_tcx, attach_type, struct bpf_link_info, tcx.attach_type);
#endif

SAME(link_info_netkit, type, struct bpf_link_info, type);
SAME(link_info_netkit, id, struct bpf_link_info, id);
SAME(link_info_netkit, prog_id, struct bpf_link_info, prog_id);
#if SINCE(6, 7)
SAME(link_info_netkit, ifindex, struct bpf_link_info, netkit.ifindex);
SAME(link_info_netkit, attach_type, struct bpf_link_info, netkit.attach_type);
#endif

SAME(link_info_sockmap, type, struct bpf_link_info, type);
SAME(link_info_sockmap, id, struct bpf_link_info, id);
SAME(link_info_sockmap, prog_id, struct bpf_link_info, prog_id);
#if SINCE(6, 10)
SAME(link_info_sockmap, map_id, struct bpf_link_info, sockmap.map_id);
SAME(link_info_sockmap, attach_type, struct bpf_link_info, sockmap.attach_type);
#endif

SAME(perf_event_attr, type, struct perf_event_attr, type);
SAME(perf_event_attr, size, struct perf_event_attr, size);
SAME(perf_event_attr, config, struct perf_event_attr, config);
SAME(perf_event_attr, sample_period, struct perf_event_attr, sample_period);
SAME(perf_event_attr, sample_type, struct perf_event_attr, sample_type);
SAME(perf_event_attr, read_format, struct perf_event_attr, read_format);
BETWEEN(perf_event_attr, flags, struct perf_event_attr, read_format, wakeup_events);
SAME(perf_event_attr, wakeup_events, struct perf_event_attr, wakeup_events);
SAME(perf_event_attr, bp_type, struct perf_event_attr, bp_type);
SAME(perf_event_attr, config1, struct perf_event_attr, config1);
SAME(perf_event_attr, config2, struct perf_event_attr, config2);
SAME(perf_event_attr, branch_sample_type, struct perf_event_attr, branch_sample_type);
SAME(perf_event_attr, sample_regs_user, struct perf_event_attr, sample_regs_user);
SAME(perf_event_attr, sample_stack_user, struct perf_event_attr, sample_stack_user);
SAME(perf_event_attr, clockid, struct perf_event_attr, clockid);
SAME(perf_event_attr, sample_regs_intr, struct perf_event_attr, sample_regs_intr);
SAME(perf_event_attr, aux_watermark, struct perf_event_attr, aux_watermark);
SAME(perf_event_attr, sample_max_stack, struct perf_event_attr, sample_max_stack);
SAME(perf_event_attr, aux_sample_size, struct perf_event_attr, aux_sample_size);
SAME(perf_event_attr, sample_period, struct perf_event_attr, sample_freq);
SAME(perf_event_attr, wakeup_events, struct perf_event_attr, wakeup_watermark);
SAME(perf_event_attr, config1, struct perf_event_attr, bp_addr);
SAME(perf_event_attr, config1, struct perf_event_attr, kprobe_func);
SAME(perf_event_attr, config1, struct perf_event_attr, uprobe_path);
SAME(perf_event_attr, config2, struct perf_event_attr, bp_len);
SAME(perf_event_attr, config2, struct perf_event_attr, kprobe_addr);
SAME(perf_event_attr, config2, struct perf_event_attr, probe_offset);
#if SINCE(5, 13)
SAME(perf_event_attr, sig_data, struct perf_event_attr, sig_data);
#endif
#if SINCE(6, 3)
SAME(perf_event_attr, config3, struct perf_event_attr, config3);
#endif
#if SINCE(6, 13)
SAME(perf_event_attr, aux_action, struct perf_event_attr, aux_action);
#endif
#if SINCE(6, 19)
SAME(perf_event_attr, config4, struct perf_event_attr, config4);
FITS(perf_event_attr, struct perf_event_attr);
#endif

SAME(perf_mmap_page, version, struct perf_event_mmap_page, version);
SAME(perf_mmap_page, compat_version, struct perf_event_mmap_page, compat_version);
SAME(perf_mmap_page, lock, struct perf_event_mmap_page, lock);
SAME(perf_mmap_page, index, struct perf_event_mmap_page, index);
SAME(perf_mmap_page, offset, struct perf_event_mmap_page, offset);
SAME(perf_mmap_page, time_enabled, struct perf_event_mmap_page, time_enabled);
SAME(perf_mmap_page, time_running, struct perf_event_mmap_page, time_running);
SAME(perf_mmap_page, capabilities, struct perf_event_mmap_page, capabilities);
SAME(perf_mmap_page, pmc_width, struct perf_event_mmap_page, pmc_width);
SAME(perf_mmap_page, time_shift, struct perf_event_mmap_page, time_shift);
SAME(perf_mmap_page, time_mult, struct perf_event_mmap_page, time_mult);
SAME(perf_mmap_page, time_offset, struct perf_event_mmap_page, time_offset);
SAME(perf_mmap_page, time_zero, struct perf_event_mmap_page, time_zero);
SAME(perf_mmap_page, size, struct perf_event_mmap_page, size);
SAME(perf_mmap_page, time_cycles, struct perf_event_mmap_page, time_cycles);
SAME(perf_mmap_page, time_mask, struct perf_event_mmap_page, time_mask);
SAME(perf_mmap_page, data_head, struct perf_event_mmap_page, data_head);
SAME(perf_mmap_page, data_tail, struct perf_event_mmap_page, data_tail);
SAME(perf_mmap_page, data_offset, struct perf_event_mmap_page, data_offset);
SAME(perf_mmap_page, data_size, struct perf_event_mmap_page, data_size);
SAME(perf_mmap_page, aux_head, struct perf_event_mmap_page, aux_head);
SAME(perf_mmap_page, aux_tail, struct perf_event_mmap_page, aux_tail);
SAME(perf_mmap_page, aux_offset, struct perf_event_mmap_page, aux_offset);
SAME(perf_mmap_page, aux_size, struct perf_event_mmap_page, aux_size);
FITS(perf_mmap_page, struct perf_event_mmap_page);
/* Room for the info of a link whose type this library does not know. */
_Static_assert(sizeof(struct ebpf_link_info) >= sizeof(struct bpf_link_info),
	       "struct ebpf_link_info.rest is too short for this kernel's links");
_Static_assert(offsetof(struct ebpf_link_info, rest) == offsetof(struct bpf_link_info, raw_tracepoint),
	       "struct ebpf_link_info.rest is not where the members of a link's type start");

_Static_assert(EBPF_OBJ_NAME_LEN == BPF_OBJ_NAME_LEN, "names have another length");
_Static_assert(EBPF_TAG_SIZE == BPF_TAG_SIZE, "program tags have another length");
