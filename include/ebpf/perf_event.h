/*
 * Our own view of struct perf_event_attr and of the control page of a perf buffer, complete up to
 * Linux 7.3. Written as attr.h is, for the C compiler and cffi alike; checked by src/core/layout.c.
 */

/*
 * The bit fields of perf_event_attr, counted in the order of their declaration. Bit n of the member
 * "flags" is 1 << n on little-endian machines and 1 << (63 - n) on big-endian ones.
 * PRECISE_IP is two bits wide, 15 and 16, and its value counts as the machine counts.
 * 5.12: BUILD_ID. 5.13: INHERIT_THREAD, REMOVE_ON_EXEC, SIGTRAP.
 * 6.19: DEFER_CALLCHAIN, DEFER_OUTPUT.
 */
#define EBPF_PERF_BIT_DISABLED 0
#define EBPF_PERF_BIT_INHERIT 1
#define EBPF_PERF_BIT_PINNED 2
#define EBPF_PERF_BIT_EXCLUSIVE 3
#define EBPF_PERF_BIT_EXCLUDE_USER 4
#define EBPF_PERF_BIT_EXCLUDE_KERNEL 5
#define EBPF_PERF_BIT_EXCLUDE_HV 6
#define EBPF_PERF_BIT_EXCLUDE_IDLE 7
#define EBPF_PERF_BIT_MMAP 8
#define EBPF_PERF_BIT_COMM 9
#define EBPF_PERF_BIT_FREQ 10
#define EBPF_PERF_BIT_INHERIT_STAT 11
#define EBPF_PERF_BIT_ENABLE_ON_EXEC 12
#define EBPF_PERF_BIT_TASK 13
#define EBPF_PERF_BIT_WATERMARK 14
#define EBPF_PERF_BIT_PRECISE_IP 15
#define EBPF_PERF_BIT_MMAP_DATA 17
#define EBPF_PERF_BIT_SAMPLE_ID_ALL 18
#define EBPF_PERF_BIT_EXCLUDE_HOST 19
#define EBPF_PERF_BIT_EXCLUDE_GUEST 20
#define EBPF_PERF_BIT_EXCLUDE_CALLCHAIN_KERNEL 21
#define EBPF_PERF_BIT_EXCLUDE_CALLCHAIN_USER 22
#define EBPF_PERF_BIT_MMAP2 23
#define EBPF_PERF_BIT_COMM_EXEC 24
#define EBPF_PERF_BIT_USE_CLOCKID 25
#define EBPF_PERF_BIT_CONTEXT_SWITCH 26
#define EBPF_PERF_BIT_WRITE_BACKWARD 27
#define EBPF_PERF_BIT_NAMESPACES 28
#define EBPF_PERF_BIT_KSYMBOL 29
#define EBPF_PERF_BIT_BPF_EVENT 30
#define EBPF_PERF_BIT_AUX_OUTPUT 31
#define EBPF_PERF_BIT_CGROUP 32
#define EBPF_PERF_BIT_TEXT_POKE 33
#define EBPF_PERF_BIT_BUILD_ID 34
#define EBPF_PERF_BIT_INHERIT_THREAD 35
#define EBPF_PERF_BIT_REMOVE_ON_EXEC 36
#define EBPF_PERF_BIT_SIGTRAP 37
#define EBPF_PERF_BIT_DEFER_CALLCHAIN 38
#define EBPF_PERF_BIT_DEFER_OUTPUT 39

/* perf_event_open(); size is the size of this struct. sample_period is sample_freq too,
 * wakeup_events is wakeup_watermark, config1 is bp_addr, kprobe_func and uprobe_path, config2 is
 * bp_len, kprobe_addr and probe_offset. aux_action has bit fields aux_start_paused, aux_pause,
 * aux_resume. 5.13: sig_data. 6.3: config3. 6.13: aux_action. 6.19: config4. */
struct ebpf_perf_event_attr {
	uint32_t type;
	uint32_t size;
	uint64_t config;
	uint64_t sample_period;
	uint64_t sample_type;
	uint64_t read_format;
	uint64_t flags;
	uint32_t wakeup_events;
	uint32_t bp_type;
	uint64_t config1;
	uint64_t config2;
	uint64_t branch_sample_type;
	uint64_t sample_regs_user;
	uint32_t sample_stack_user;
	int32_t clockid;
	uint64_t sample_regs_intr;
	uint32_t aux_watermark;
	uint16_t sample_max_stack;
	uint16_t pad_1;
	uint32_t aux_sample_size;
	uint32_t aux_action;
	uint64_t sig_data;
	uint64_t config3;
	uint64_t config4;
};

/* The first page of a mapped perf buffer. data_head is the kernel's to write (load it with
 * acquire), data_tail ours (store it with release). capabilities is the word of the uapi's cap_* bit
 * fields. */
struct ebpf_perf_mmap_page {
	uint32_t version;
	uint32_t compat_version;
	uint32_t lock;
	uint32_t index;
	int64_t offset;
	uint64_t time_enabled;
	uint64_t time_running;
	uint64_t capabilities;
	uint16_t pmc_width;
	uint16_t time_shift;
	uint32_t time_mult;
	uint64_t time_offset;
	uint64_t time_zero;
	uint32_t size;
	uint32_t pad_1;
	uint64_t time_cycles;
	uint64_t time_mask;
	uint8_t pad_2[928];
	uint64_t data_head;
	uint64_t data_tail;
	uint64_t data_offset;
	uint64_t data_size;
	uint64_t aux_head;
	uint64_t aux_tail;
	uint64_t aux_offset;
	uint64_t aux_size;
};
