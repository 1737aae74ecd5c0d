/*
 * Our own view of what bpf() takes and returns, complete up to Linux 7.3.
 *
 * One flat struct per command, per member of a union inside a command, and per info object, so
 * that a build against an old <linux/bpf.h> still drives a new kernel. src/core/layout.c compares
 * each member with the header at hand. The C compiler and cffi's cdef() both read this file:
 * declarations and "#define NAME number" only, no directive, no attribute, <stdint.h> is included
 * by core.h.
 *
 * Types: file descriptors that may be absent are int32_t where the uapi has them signed; user
 * pointers are uint64_t; pad_N is a hole, which must be zero. 64-bit members are 8-byte aligned on
 * every ABI, as a 64-bit kernel has them. Where members of a uapi union share a place, the first
 * name is used and the comment lists the others.
 *
 * "6.9: a, b" says that Linux 6.9 introduced members a and b; what has no release is in 5.10.
 * ebpf/_sys/field_versions.py holds the same as a table.
 */

#define EBPF_OBJ_NAME_LEN 16
#define EBPF_TAG_SIZE 8

/* ---- maps ------------------------------------------------------------------------------- */

/* MAP_CREATE. 5.16: map_extra. 6.9: value_type_btf_obj_fd, map_token_fd. 6.18: excl_prog_hash,
 * excl_prog_hash_size. */
struct ebpf_attr_map_create {
	uint32_t map_type;
	uint32_t key_size;
	uint32_t value_size;
	uint32_t max_entries;
	uint32_t map_flags;
	uint32_t inner_map_fd;
	uint32_t numa_node;
	char map_name[EBPF_OBJ_NAME_LEN];
	uint32_t map_ifindex;
	uint32_t btf_fd;
	uint32_t btf_key_type_id;
	uint32_t btf_value_type_id;
	uint32_t btf_vmlinux_value_type_id;
	uint64_t map_extra;
	int32_t value_type_btf_obj_fd;
	int32_t map_token_fd;
	uint64_t excl_prog_hash;
	uint32_t excl_prog_hash_size;
	uint32_t pad_1;
};

/* MAP_LOOKUP_ELEM, MAP_UPDATE_ELEM, MAP_DELETE_ELEM, MAP_LOOKUP_AND_DELETE_ELEM. */
struct ebpf_attr_map_elem {
	uint32_t map_fd;
	uint32_t pad_1;
	uint64_t key;
	uint64_t value;
	uint64_t flags;
};

/* MAP_GET_NEXT_KEY; a key of 0 (NULL) asks for the first one. */
struct ebpf_attr_map_next_key {
	uint32_t map_fd;
	uint32_t pad_1;
	uint64_t key;
	uint64_t next_key;
};

/* MAP_LOOKUP_BATCH, MAP_LOOKUP_AND_DELETE_BATCH, MAP_UPDATE_BATCH, MAP_DELETE_BATCH; count is in
 * and out, also after an error. */
struct ebpf_attr_map_batch {
	uint64_t in_batch;
	uint64_t out_batch;
	uint64_t keys;
	uint64_t values;
	uint32_t count;
	uint32_t map_fd;
	uint64_t elem_flags;
	uint64_t flags;
};

/* MAP_FREEZE. */
struct ebpf_attr_map_freeze {
	uint32_t map_fd;
};

/* ---- programs --------------------------------------------------------------------------- */

/* PROG_LOAD. attach_prog_fd is attach_btf_obj_fd too (5.11). 5.14: fd_array. 5.17: core_relo_cnt,
 * core_relos, core_relo_rec_size. 6.4: log_true_size (output). 6.9: prog_token_fd.
 * 6.14: fd_array_cnt. 6.18: signature, signature_size, keyring_id. */
struct ebpf_attr_prog_load {
	uint32_t prog_type;
	uint32_t insn_cnt;
	uint64_t insns;
	uint64_t license;
	uint32_t log_level;
	uint32_t log_size;
	uint64_t log_buf;
	uint32_t kern_version;
	uint32_t prog_flags;
	char prog_name[EBPF_OBJ_NAME_LEN];
	uint32_t prog_ifindex;
	uint32_t expected_attach_type;
	uint32_t prog_btf_fd;
	uint32_t func_info_rec_size;
	uint64_t func_info;
	uint32_t func_info_cnt;
	uint32_t line_info_rec_size;
	uint64_t line_info;
	uint32_t line_info_cnt;
	uint32_t attach_btf_id;
	uint32_t attach_prog_fd;
	uint32_t core_relo_cnt;
	uint64_t fd_array;
	uint64_t core_relos;
	uint32_t core_relo_rec_size;
	uint32_t log_true_size;
	int32_t prog_token_fd;
	uint32_t fd_array_cnt;
	uint64_t signature;
	uint32_t signature_size;
	int32_t keyring_id;
};

/* PROG_ATTACH. target_fd is target_ifindex too; relative_fd is relative_id too.
 * 6.6: relative_fd, expected_revision. */
struct ebpf_attr_prog_attach {
	uint32_t target_fd;
	uint32_t attach_bpf_fd;
	uint32_t attach_type;
	uint32_t attach_flags;
	uint32_t replace_bpf_fd;
	uint32_t relative_fd;
	uint64_t expected_revision;
};

/* PROG_DETACH, laid out as PROG_ATTACH. 6.6: relative_fd, expected_revision. */
struct ebpf_attr_prog_detach {
	uint32_t target_fd;
	uint32_t attach_bpf_fd;
	uint32_t attach_type;
	uint32_t attach_flags;
	uint32_t replace_bpf_fd;
	uint32_t relative_fd;
	uint64_t expected_revision;
};

/* PROG_QUERY. target_fd is target_ifindex too; prog_cnt is count too, in and out.
 * 6.0: prog_attach_flags. 6.6: link_ids, link_attach_flags, revision. */
struct ebpf_attr_prog_query {
	uint32_t target_fd;
	uint32_t attach_type;
	uint32_t query_flags;
	uint32_t attach_flags;
	uint64_t prog_ids;
	uint32_t prog_cnt;
	uint32_t pad_1;
	uint64_t prog_attach_flags;
	uint64_t link_ids;
	uint64_t link_attach_flags;
	uint64_t revision;
};

/* PROG_TEST_RUN. retval, duration (ns per run) and the _out sizes are output; data_size_out and
 * ctx_size_out are input too. 5.18: batch_size. */
struct ebpf_attr_prog_test_run {
	uint32_t prog_fd;
	uint32_t retval;
	uint32_t data_size_in;
	uint32_t data_size_out;
	uint64_t data_in;
	uint64_t data_out;
	uint32_t repeat;
	uint32_t duration;
	uint32_t ctx_size_in;
	uint32_t ctx_size_out;
	uint64_t ctx_in;
	uint64_t ctx_out;
	uint32_t flags;
	uint32_t cpu;
	uint32_t batch_size;
	uint32_t pad_1;
};

/* PROG_BIND_MAP. */
struct ebpf_attr_prog_bind_map {
	uint32_t prog_fd;
	uint32_t map_fd;
	uint32_t flags;
};

/* PROG_STREAM_READ_BY_FD, 6.17; the call returns how many bytes it wrote. */
struct ebpf_attr_prog_stream_read {
	uint64_t stream_buf;
	uint32_t stream_buf_len;
	uint32_t stream_id;
	uint32_t prog_fd;
	uint32_t pad_1;
};

/* PROG_ASSOC_STRUCT_OPS, 7.0. */
struct ebpf_attr_prog_assoc_struct_ops {
	uint32_t map_fd;
	uint32_t prog_fd;
	uint32_t flags;
};

/* ---- objects ---------------------------------------------------------------------------- */

/* OBJ_PIN, OBJ_GET (bpf_fd zero). 6.5: path_fd. */
struct ebpf_attr_obj {
	uint64_t pathname;
	uint32_t bpf_fd;
	uint32_t file_flags;
	int32_t path_fd;
	uint32_t pad_1;
};

/* PROG_, MAP_, BTF_ and LINK_GET_NEXT_ID; next_id is output. */
struct ebpf_attr_get_next_id {
	uint32_t start_id;
	uint32_t next_id;
	uint32_t open_flags;
};

/* PROG_, MAP_, BTF_ and LINK_GET_FD_BY_ID. id is prog_id, map_id, btf_id and link_id.
 * 6.15: fd_by_id_token_fd. */
struct ebpf_attr_get_fd_by_id {
	uint32_t id;
	uint32_t pad_1;
	uint32_t open_flags;
	int32_t fd_by_id_token_fd;
};

/* OBJ_GET_INFO_BY_FD; info_len is in and out. */
struct ebpf_attr_info_by_fd {
	uint32_t bpf_fd;
	uint32_t info_len;
	uint64_t info;
};

/* BTF_LOAD. 6.4: btf_log_true_size (output). 6.9: btf_flags, btf_token_fd. */
struct ebpf_attr_btf_load {
	uint64_t btf;
	uint64_t btf_log_buf;
	uint32_t btf_size;
	uint32_t btf_log_size;
	uint32_t btf_log_level;
	uint32_t btf_log_true_size;
	uint32_t btf_flags;
	int32_t btf_token_fd;
};

/* TASK_FD_QUERY; buf_len is in and out, everything after buf is output. */
struct ebpf_attr_task_fd_query {
	uint32_t pid;
	uint32_t fd;
	uint32_t flags;
	uint32_t buf_len;
	uint64_t buf;
	uint32_t prog_id;
	uint32_t fd_type;
	uint64_t probe_offset;
	uint64_t probe_addr;
};

/* ENABLE_STATS. */
struct ebpf_attr_enable_stats {
	uint32_t type;
};

/* TOKEN_CREATE, 6.9. */
struct ebpf_attr_token_create {
	uint32_t flags;
	uint32_t bpffs_fd;
};

/* Fourth argument of bpf() when the command has COMMON_ATTRS set, 7.2; log_true_size is output. */
struct ebpf_common_attr {
	uint64_t log_buf;
	uint32_t log_size;
	uint32_t log_level;
	uint32_t log_true_size;
	uint32_t pad_1;
};

/* ---- links ------------------------------------------------------------------------------ */

/* RAW_TRACEPOINT_OPEN. 6.10: cookie. */
struct ebpf_attr_raw_tracepoint_open {
	uint64_t name;
	uint32_t prog_fd;
	uint32_t pad_1;
	uint64_t cookie;
};

/* LINK_CREATE without options: the head that each struct ebpf_attr_link_create_* starts with.
 * target_fd is target_ifindex too. */
struct ebpf_attr_link_create {
	uint32_t prog_fd;
	uint32_t target_fd;
	uint32_t attach_type;
	uint32_t flags;
};

/* LINK_CREATE of a STRUCT_OPS map. 6.4: map_fd, in the place of prog_fd. */
struct ebpf_attr_link_create_struct_ops {
	uint32_t map_fd;
	uint32_t target_fd;
	uint32_t attach_type;
	uint32_t flags;
};

/* LINK_CREATE of an EXT program on a target that it was not loaded for. */
struct ebpf_attr_link_create_target_btf {
	uint32_t prog_fd;
	uint32_t target_fd;
	uint32_t attach_type;
	uint32_t flags;
	uint32_t target_btf_id;
};

/* LINK_CREATE, TRACE_ITER; iter_info points to a struct ebpf_iter_info_*. */
struct ebpf_attr_link_create_iter {
	uint32_t prog_fd;
	uint32_t target_fd;
	uint32_t attach_type;
	uint32_t flags;
	uint64_t iter_info;
	uint32_t iter_info_len;
	uint32_t pad_1;
};

/* LINK_CREATE, PERF_EVENT. 5.15: bpf_cookie. */
struct ebpf_attr_link_create_perf_event {
	uint32_t prog_fd;
	uint32_t target_fd;
	uint32_t attach_type;
	uint32_t flags;
	uint64_t bpf_cookie;
};

/* LINK_CREATE, TRACE_KPROBE_MULTI and TRACE_KPROBE_SESSION; kprobe_multi_flags is
 * kprobe_multi.flags. 5.18: kprobe_multi_flags, cnt, syms, addrs, cookies. */
struct ebpf_attr_link_create_kprobe_multi {
	uint32_t prog_fd;
	uint32_t target_fd;
	uint32_t attach_type;
	uint32_t flags;
	uint32_t kprobe_multi_flags;
	uint32_t cnt;
	uint64_t syms;
	uint64_t addrs;
	uint64_t cookies;
};

/* LINK_CREATE of a TRACING or LSM program. 5.19: target_btf_id, cookie. */
struct ebpf_attr_link_create_tracing {
	uint32_t prog_fd;
	uint32_t target_fd;
	uint32_t attach_type;
	uint32_t flags;
	uint32_t target_btf_id;
	uint32_t pad_1;
	uint64_t cookie;
};

/* LINK_CREATE, NETFILTER; netfilter_flags is netfilter.flags.
 * 6.4: pf, hooknum, priority, netfilter_flags. */
struct ebpf_attr_link_create_netfilter {
	uint32_t prog_fd;
	uint32_t target_fd;
	uint32_t attach_type;
	uint32_t flags;
	uint32_t pf;
	uint32_t hooknum;
	int32_t priority;
	uint32_t netfilter_flags;
};

/* LINK_CREATE, TCX_INGRESS and TCX_EGRESS. relative_fd is relative_id too.
 * 6.6: relative_fd, expected_revision. */
struct ebpf_attr_link_create_tcx {
	uint32_t prog_fd;
	uint32_t target_fd;
	uint32_t attach_type;
	uint32_t flags;
	uint32_t relative_fd;
	uint32_t pad_1;
	uint64_t expected_revision;
};

/* LINK_CREATE, TRACE_UPROBE_MULTI and TRACE_UPROBE_SESSION; uprobe_multi_flags is
 * uprobe_multi.flags. 6.6: path, offsets, ref_ctr_offsets, cookies, cnt, uprobe_multi_flags, pid.
 * 7.2: path_fd. */
struct ebpf_attr_link_create_uprobe_multi {
	uint32_t prog_fd;
	uint32_t target_fd;
	uint32_t attach_type;
	uint32_t flags;
	uint64_t path;
	uint64_t offsets;
	uint64_t ref_ctr_offsets;
	uint64_t cookies;
	uint32_t cnt;
	uint32_t uprobe_multi_flags;
	uint32_t pid;
	uint32_t path_fd;
};

/* LINK_CREATE, NETKIT_PRIMARY and NETKIT_PEER. relative_fd is relative_id too.
 * 6.7: relative_fd, expected_revision. */
struct ebpf_attr_link_create_netkit {
	uint32_t prog_fd;
	uint32_t target_fd;
	uint32_t attach_type;
	uint32_t flags;
	uint32_t relative_fd;
	uint32_t pad_1;
	uint64_t expected_revision;
};

/* LINK_CREATE, CGROUP_*. relative_fd is relative_id too. 6.17: relative_fd, expected_revision. */
struct ebpf_attr_link_create_cgroup {
	uint32_t prog_fd;
	uint32_t target_fd;
	uint32_t attach_type;
	uint32_t flags;
	uint32_t relative_fd;
	uint32_t pad_1;
	uint64_t expected_revision;
};

/* LINK_CREATE, TRACE_FENTRY_MULTI, TRACE_FEXIT_MULTI, TRACE_FSESSION_MULTI.
 * 7.2: ids, cookies, cnt. */
struct ebpf_attr_link_create_tracing_multi {
	uint32_t prog_fd;
	uint32_t target_fd;
	uint32_t attach_type;
	uint32_t flags;
	uint64_t ids;
	uint64_t cookies;
	uint32_t cnt;
	uint32_t pad_1;
};

/* LINK_UPDATE. new_prog_fd and old_prog_fd are new_map_fd and old_map_fd too (6.4). */
struct ebpf_attr_link_update {
	uint32_t link_fd;
	uint32_t new_prog_fd;
	uint32_t flags;
	uint32_t old_prog_fd;
};

/* LINK_DETACH. */
struct ebpf_attr_link_detach {
	uint32_t link_fd;
};

/* ITER_CREATE. */
struct ebpf_attr_iter_create {
	uint32_t link_fd;
	uint32_t flags;
};

/* What iter_info of LINK_CREATE points to for an iterator over a map's elements. */
struct ebpf_iter_info_map {
	uint32_t map_fd;
};

/* The same for iterators over cgroups; order is enum bpf_cgroup_iter_order, and one of cgroup_fd
 * and cgroup_id is zero. 6.1: all. */
struct ebpf_iter_info_cgroup {
	uint32_t order;
	uint32_t cgroup_fd;
	uint64_t cgroup_id;
};

/* The same for iterators over tasks; at most one is set. 6.1: all. */
struct ebpf_iter_info_task {
	uint32_t tid;
	uint32_t pid;
	uint32_t pid_fd;
};

/* ---- info objects (OBJ_GET_INFO_BY_FD) -------------------------------------------------- */

/* A program. gpl_compatible is a bit field of one bit: nonzero means yes, whichever bit the byte
 * order of the machine makes it. load_time is in ns since boot; run_time_ns and run_cnt count
 * while ENABLE_STATS is on. 5.12: recursion_misses. 5.16: verified_insns.
 * 6.0: attach_btf_obj_id, attach_btf_id. */
struct ebpf_prog_info {
	uint32_t type;
	uint32_t id;
	uint8_t tag[EBPF_TAG_SIZE];
	uint32_t jited_prog_len;
	uint32_t xlated_prog_len;
	uint64_t jited_prog_insns;
	uint64_t xlated_prog_insns;
	uint64_t load_time;
	uint32_t created_by_uid;
	uint32_t nr_map_ids;
	uint64_t map_ids;
	char name[EBPF_OBJ_NAME_LEN];
	uint32_t ifindex;
	uint32_t gpl_compatible;
	uint64_t netns_dev;
	uint64_t netns_ino;
	uint32_t nr_jited_ksyms;
	uint32_t nr_jited_func_lens;
	uint64_t jited_ksyms;
	uint64_t jited_func_lens;
	uint32_t btf_id;
	uint32_t func_info_rec_size;
	uint64_t func_info;
	uint32_t nr_func_info;
	uint32_t nr_line_info;
	uint64_t line_info;
	uint64_t jited_line_info;
	uint32_t nr_jited_line_info;
	uint32_t line_info_rec_size;
	uint32_t jited_line_info_rec_size;
	uint32_t nr_prog_tags;
	uint64_t prog_tags;
	uint64_t run_time_ns;
	uint64_t run_cnt;
	uint64_t recursion_misses;
	uint32_t verified_insns;
	uint32_t attach_btf_obj_id;
	uint32_t attach_btf_id;
	uint32_t pad_1;
};

/* A map. 5.16: map_extra. 6.9: btf_vmlinux_id. 6.18: hash, hash_size (both input: a buffer for
 * the SHA-256 of a frozen map's contents). */
struct ebpf_map_info {
	uint32_t type;
	uint32_t id;
	uint32_t key_size;
	uint32_t value_size;
	uint32_t max_entries;
	uint32_t map_flags;
	char name[EBPF_OBJ_NAME_LEN];
	uint32_t ifindex;
	uint32_t btf_vmlinux_value_type_id;
	uint64_t netns_dev;
	uint64_t netns_ino;
	uint32_t btf_id;
	uint32_t btf_key_type_id;
	uint32_t btf_value_type_id;
	uint32_t btf_vmlinux_id;
	uint64_t map_extra;
	uint64_t hash;
	uint32_t hash_size;
	uint32_t pad_1;
};

/* A BTF object. 5.11: name, name_len, kernel_btf. */
struct ebpf_btf_info {
	uint64_t btf;
	uint32_t btf_size;
	uint32_t id;
	uint64_t name;
	uint32_t name_len;
	uint32_t kernel_btf;
};

/* A token: one bit per command, map type, program type and attach type. 6.17: all. */
struct ebpf_token_info {
	uint64_t allowed_cmds;
	uint64_t allowed_maps;
	uint64_t allowed_progs;
	uint64_t allowed_attachs;
};

/* A link of any type: the head that each struct ebpf_link_info_* starts with, and room for what
 * a newer kernel has to say. */
struct ebpf_link_info {
	uint32_t type;
	uint32_t id;
	uint32_t prog_id;
	uint32_t pad_1;
	uint8_t rest[240];
};

/* LinkType.RAW_TRACEPOINT; tp_name is a buffer and tp_name_len in and out. 6.17: cookie. */
struct ebpf_link_info_raw_tracepoint {
	uint32_t type;
	uint32_t id;
	uint32_t prog_id;
	uint32_t pad_1;
	uint64_t tp_name;
	uint32_t tp_name_len;
	uint32_t pad_2;
	uint64_t cookie;
};

/* LinkType.TRACING. target_obj_id is a program for EXT, otherwise a BTF object.
 * 5.13: target_obj_id, target_btf_id. 6.17: cookie. */
struct ebpf_link_info_tracing {
	uint32_t type;
	uint32_t id;
	uint32_t prog_id;
	uint32_t pad_1;
	uint32_t attach_type;
	uint32_t target_obj_id;
	uint32_t target_btf_id;
	uint32_t pad_2;
	uint64_t cookie;
};

/* LinkType.CGROUP. */
struct ebpf_link_info_cgroup {
	uint32_t type;
	uint32_t id;
	uint32_t prog_id;
	uint32_t pad_1;
	uint64_t cgroup_id;
	uint32_t attach_type;
	uint32_t pad_2;
};

/* LinkType.ITER; target_name is a buffer and target_name_len in and out. map_id is of an iterator
 * over a map's elements. */
struct ebpf_link_info_iter {
	uint32_t type;
	uint32_t id;
	uint32_t prog_id;
	uint32_t pad_1;
	uint64_t target_name;
	uint32_t target_name_len;
	uint32_t map_id;
};

/* LinkType.ITER over cgroups. 6.1: cgroup_id, order. */
struct ebpf_link_info_iter_cgroup {
	uint32_t type;
	uint32_t id;
	uint32_t prog_id;
	uint32_t pad_1;
	uint64_t target_name;
	uint32_t target_name_len;
	uint32_t map_id;
	uint64_t cgroup_id;
	uint32_t order;
	uint32_t pad_2;
};

/* LinkType.ITER over tasks. 6.1: tid, pid. */
struct ebpf_link_info_iter_task {
	uint32_t type;
	uint32_t id;
	uint32_t prog_id;
	uint32_t pad_1;
	uint64_t target_name;
	uint32_t target_name_len;
	uint32_t map_id;
	uint32_t tid;
	uint32_t pid;
};

/* LinkType.NETNS. */
struct ebpf_link_info_netns {
	uint32_t type;
	uint32_t id;
	uint32_t prog_id;
	uint32_t pad_1;
	uint32_t netns_ino;
	uint32_t attach_type;
};

/* LinkType.XDP. */
struct ebpf_link_info_xdp {
	uint32_t type;
	uint32_t id;
	uint32_t prog_id;
	uint32_t pad_1;
	uint32_t ifindex;
};

/* LinkType.STRUCT_OPS. 6.4: map_id. */
struct ebpf_link_info_struct_ops {
	uint32_t type;
	uint32_t id;
	uint32_t prog_id;
	uint32_t pad_1;
	uint32_t map_id;
};

/* LinkType.NETFILTER. 6.4: pf, hooknum, priority, flags. */
struct ebpf_link_info_netfilter {
	uint32_t type;
	uint32_t id;
	uint32_t prog_id;
	uint32_t pad_1;
	uint32_t pf;
	uint32_t hooknum;
	int32_t priority;
	uint32_t flags;
};

/* LinkType.KPROBE_MULTI; addrs and cookies are buffers of 64-bit values for count entries, which is
 * in and out. 6.6: addrs, count, flags. 6.7: missed. 6.9: cookies. */
struct ebpf_link_info_kprobe_multi {
	uint32_t type;
	uint32_t id;
	uint32_t prog_id;
	uint32_t pad_1;
	uint64_t addrs;
	uint32_t count;
	uint32_t flags;
	uint64_t missed;
	uint64_t cookies;
};

/* LinkType.UPROBE_MULTI; path, offsets, ref_ctr_offsets and cookies are buffers, path_size and
 * count in and out. 6.8: all but the head. */
struct ebpf_link_info_uprobe_multi {
	uint32_t type;
	uint32_t id;
	uint32_t prog_id;
	uint32_t pad_1;
	uint64_t path;
	uint64_t offsets;
	uint64_t ref_ctr_offsets;
	uint64_t cookies;
	uint32_t path_size;
	uint32_t count;
	uint32_t flags;
	uint32_t pid;
};

/* LinkType.TRACING_MULTI; ids, addrs and cookies are buffers, count in and out.
 * 7.3: all but the head. */
struct ebpf_link_info_tracing_multi {
	uint32_t type;
	uint32_t id;
	uint32_t prog_id;
	uint32_t pad_1;
	uint32_t attach_type;
	uint32_t count;
	uint32_t btf_obj_id;
	uint32_t pad_2;
	uint64_t ids;
	uint64_t addrs;
	uint64_t cookies;
};

/* LinkType.PERF_EVENT of any kind; perf_event_type is perf_event.type, an enum
 * bpf_perf_event_type, and says which of the next four structs applies. 6.6: perf_event_type. */
struct ebpf_link_info_perf_event {
	uint32_t type;
	uint32_t id;
	uint32_t prog_id;
	uint32_t pad_1;
	uint32_t perf_event_type;
	uint32_t pad_2;
};

/* PerfEventType.UPROBE and URETPROBE; file_name is a buffer, name_len in and out.
 * 6.6: perf_event_type, file_name, name_len, offset. 6.9: cookie. 6.16: ref_ctr_offset. */
struct ebpf_link_info_perf_event_uprobe {
	uint32_t type;
	uint32_t id;
	uint32_t prog_id;
	uint32_t pad_1;
	uint32_t perf_event_type;
	uint32_t pad_2;
	uint64_t file_name;
	uint32_t name_len;
	uint32_t offset;
	uint64_t cookie;
	uint64_t ref_ctr_offset;
};

/* PerfEventType.KPROBE and KRETPROBE; func_name is a buffer, name_len in and out.
 * 6.6: perf_event_type, func_name, name_len, offset, addr. 6.7: missed. 6.9: cookie. */
struct ebpf_link_info_perf_event_kprobe {
	uint32_t type;
	uint32_t id;
	uint32_t prog_id;
	uint32_t pad_1;
	uint32_t perf_event_type;
	uint32_t pad_2;
	uint64_t func_name;
	uint32_t name_len;
	uint32_t offset;
	uint64_t addr;
	uint64_t missed;
	uint64_t cookie;
};

/* PerfEventType.TRACEPOINT; tp_name is a buffer, name_len in and out.
 * 6.6: perf_event_type, tp_name, name_len. 6.9: cookie. */
struct ebpf_link_info_perf_event_tracepoint {
	uint32_t type;
	uint32_t id;
	uint32_t prog_id;
	uint32_t pad_1;
	uint32_t perf_event_type;
	uint32_t pad_2;
	uint64_t tp_name;
	uint32_t name_len;
	uint32_t pad_3;
	uint64_t cookie;
};

/* PerfEventType.EVENT; event_type is event.type, a PERF_TYPE_*.
 * 6.6: perf_event_type, config, event_type. 6.9: cookie. */
struct ebpf_link_info_perf_event_event {
	uint32_t type;
	uint32_t id;
	uint32_t prog_id;
	uint32_t pad_1;
	uint32_t perf_event_type;
	uint32_t pad_2;
	uint64_t config;
	uint32_t event_type;
	uint32_t pad_3;
	uint64_t cookie;
};

/* LinkType.TCX. 6.6: ifindex, attach_type. */
struct ebpf_link_info_tcx {
	uint32_t type;
	uint32_t id;
	uint32_t prog_id;
	uint32_t pad_1;
	uint32_t ifindex;
	uint32_t attach_type;
};

/* LinkType.NETKIT. 6.7: ifindex, attach_type. */
struct ebpf_link_info_netkit {
	uint32_t type;
	uint32_t id;
	uint32_t prog_id;
	uint32_t pad_1;
	uint32_t ifindex;
	uint32_t attach_type;
};

/* LinkType.SOCKMAP. 6.10: map_id, attach_type. */
struct ebpf_link_info_sockmap {
	uint32_t type;
	uint32_t id;
	uint32_t prog_id;
	uint32_t pad_1;
	uint32_t map_id;
	uint32_t attach_type;
};
