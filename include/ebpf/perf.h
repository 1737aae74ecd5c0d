/*
 * The consumer side of BPF_MAP_TYPE_PERF_EVENT_ARRAY: one ring per CPU (kernel/events/ring_buffer.c).
 * A set of rings is drained by one thread at a time; the caller holds a lock of its own.
 */
struct ebpf_perf_ring {
	uint64_t base;  /* address of the control page, the data behind it; 0 when it is closed */
	uint64_t size;  /* bytes of the data area, a power of two */
	uint64_t page;  /* bytes of a page */
	uint64_t tail;  /* what was read last; when records are overwritten, the newest one of those */
	uint64_t head;  /* of a drain: how far it goes */
	uint64_t time;  /* of a drain in the order of time: when the record at the tail was written */
	uint64_t lost;  /* records that the kernel had no room for, or that came during a snapshot */
};

/* A set of rings, as one drain sees it. */
struct ebpf_perf {
	uint64_t record_size; /* the size that programs write, or 0 when they write several */
	uint64_t timed;       /* whether records come with the time, as those in the order of time do */
	uint64_t until;       /* in the order of time: records from later than this stay in the ring */
	uint64_t first;       /* without order: the ring that the next drain begins with */
	uint64_t records;     /* counters: records and their payload bytes */
	uint64_t bytes;
	uint64_t used;        /* of the last drain: bytes written to the buffer */
	uint64_t shortest;    /* of the last drain: length of its shortest and longest record */
	uint64_t longest;
};

/*
 * Maps the ring of `size` bytes behind the perf event `fd`; one that is read in snapshots
 * (write_backward) without the right to write, which tells the kernel to overwrite.
 */
int64_t ebpf_perf_open(int fd, uint64_t size, int backward, struct ebpf_perf_ring *ring);
void ebpf_perf_close(struct ebpf_perf_ring *ring);

/* Bytes in all rings that were not read, headers included. */
int64_t ebpf_perf_unread(const struct ebpf_perf_ring *rings, uint32_t count);

/* 1 when the next drain has a record (or something to complain of), 2 when all that there are are
 * too young for it, 0 when there is none. */
int64_t ebpf_perf_ready(const struct ebpf_perf *perf, struct ebpf_perf_ring *rings, uint32_t count);

/* As ebpf_ring_drain() and ebpf_ring_drain_pickle(), of all rings. Lost records are counted. */
int64_t ebpf_perf_drain(struct ebpf_perf *perf, struct ebpf_perf_ring *rings, uint32_t count,
                        void *buffer, uint64_t capacity, uint32_t *ends, uint64_t max_records);
int64_t ebpf_perf_drain_pickle(struct ebpf_perf *perf, struct ebpf_perf_ring *rings, uint32_t count,
                               void *buffer, uint64_t capacity, uint64_t max_records);

/*
 * The records of one overwritten ring that came since the last snapshot and are still there, the
 * oldest first, each behind its time (8 bytes), as a pickle. Its output must be paused; what a program
 * overwrites that had begun before is left out. A buffer of ring->size bytes and the overhead holds
 * them all.
 */
int64_t ebpf_perf_snapshot(struct ebpf_perf *perf, struct ebpf_perf_ring *ring, void *buffer,
                           uint64_t capacity);

/* PERF_EVENT_IOC_PAUSE_OUTPUT. */
int64_t ebpf_perf_pause(int perf_fd, int pause);
