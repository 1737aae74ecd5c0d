/* System calls. Nothing is retried here: the Python side does it, so that signal handlers run. */

/* bpf(cmd, attr, size) for commands that return no descriptor. */
int64_t ebpf_bpf(uint32_t cmd, void *attr, uint32_t size);

/* bpf(cmd, attr, size) for commands that return a descriptor: close-on-exec and never 0, 1 or 2. */
int64_t ebpf_bpf_fd(uint32_t cmd, void *attr, uint32_t size);

/* A duplicate of fd: close-on-exec and never 0, 1 or 2. */
int64_t ebpf_dup(int fd);

/*
 * Maps all `size` bytes of the map `fd` for reading and writing, shared with the kernel. At
 * `address`, where nothing may be mapped yet, or anywhere for 0. Returns the address.
 */
int64_t ebpf_map_memory(int fd, uint64_t size, uint64_t address);
int64_t ebpf_unmap_memory(uint64_t address, uint64_t size);

/* The type of the file system that `path` is on, a number of <linux/magic.h> (statfs(2)). */
int64_t ebpf_file_system(const char *path);

/* Moves the calling thread, and no other, into the network namespace `fd`. */
int64_t ebpf_enter_network(int fd);

/* perf_event_open(2), close-on-exec and never 0, 1 or 2. */
int64_t ebpf_perf_event_open(struct ebpf_perf_event_attr *attr, int pid, int cpu, int group_fd,
                             uint64_t flags);

/* The perf ioctls on a descriptor of perf_event_open(). */
int64_t ebpf_perf_set_bpf(int perf_fd, int prog_fd);
int64_t ebpf_perf_enable(int perf_fd);
int64_t ebpf_perf_disable(int perf_fd);

/* LINUX_VERSION_CODE of the kernel headers that this core was compiled against. */
int64_t ebpf_uapi_version(void);
