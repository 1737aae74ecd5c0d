/*
 * The consumer side of BPF_MAP_TYPE_RINGBUF (kernel/bpf/ringbuf.c). A ring is drained by one
 * thread at a time; the caller holds a lock of its own.
 */
struct ebpf_ring {
	uint64_t consumer;  /* address of the consumer page, mapped read-write */
	uint64_t producer;  /* address of the producer page, mapped read-only, data behind it */
	uint64_t size;      /* bytes of the data area, a power of two */
	uint64_t page;      /* bytes of a page */
	uint64_t records;   /* counters since ebpf_ring_open(): records and their payload bytes */
	uint64_t bytes;
	uint64_t discarded; /* records that the program reserved and then discarded */
	uint64_t used;      /* of the last drain: bytes written to the buffer */
	uint64_t shortest;  /* of the last drain: length of its shortest and longest record */
	uint64_t longest;
	uint64_t overwrite_at; /* overwrite mode (6.19): bytes from the producer's position to that of
	                        * the oldest record; 0 in the other mode */
	uint64_t overwritten;  /* bytes, headers included, that the kernel overwrote unread */
};

/* 0, or -EOPNOTSUPP in a 32-bit process on a 64-bit kernel: the kernel's positions, also those of a
 * USER_RINGBUF, are wider than those here, and can't be read and written at once. */
int64_t ebpf_ring_supported(void);

/* Maps the ring of `size` bytes behind the map descriptor `fd`. */
int64_t ebpf_ring_open(int fd, uint64_t size, uint64_t overwrite_at, struct ebpf_ring *ring);
void ebpf_ring_close(struct ebpf_ring *ring);

/* Bytes between the consumer's and the producer's position, headers included; -EBADF when the ring
 * is closed, -EPROTO when the positions are not those of a ring. */
int64_t ebpf_ring_unread(const struct ebpf_ring *ring);

/* 1 when the next drain has a record (or something to complain of), 2 when the next record is still
 * being written, 0 when there is none. Discarded records before it are passed. */
int64_t ebpf_ring_ready(struct ebpf_ring *ring);

/*
 * Copies the payloads of the next records into `buffer`, one behind the other, and the position
 * where each ends into `ends` (room for max_records). Stops at a record that is still being
 * written, at max_records, and at the first that does not fit. A buffer of ebpf_ring_unread()
 * bytes holds everything unread at that moment. Returns the number of records; when there is none,
 * -ENOSPC if the first does not fit and -EPROTO if the ring is corrupt.
 */
int64_t ebpf_ring_drain(struct ebpf_ring *ring, void *buffer, uint64_t capacity, uint32_t *ends,
                        uint64_t max_records);

#define EBPF_RING_PICKLE_OVERHEAD 16

/*
 * The same, as a pickle (protocol 3) of a list of bytes: the fastest way for C to hand many
 * objects of any size to Python. The buffer needs EBPF_RING_PICKLE_OVERHEAD bytes beyond
 * ebpf_ring_unread().
 */
int64_t ebpf_ring_drain_pickle(struct ebpf_ring *ring, void *buffer, uint64_t capacity,
                               uint64_t max_records);
