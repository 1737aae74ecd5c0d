/*
 * The producer side of BPF_MAP_TYPE_USER_RINGBUF (kernel/bpf/ringbuf.c). One thread at a time
 * reserves; the caller holds a lock of its own. Reservations may be finished in any order.
 */
struct ebpf_user_ring {
	uint64_t consumer; /* address of the consumer page, mapped read-only */
	uint64_t producer; /* address of the producer page, mapped read-write, data behind it twice */
	uint64_t size;     /* bytes of the data area, a power of two */
	uint64_t page;     /* bytes of a page */
};

/* Bytes that a program can read of a record: what a dynptr can hold. The kernel refuses a longer one
 * with every drain, and does not pass it. */
#define EBPF_USER_RING_LONGEST 16777215

/*
 * Room for a record of `length` bytes, which the kernel sees but does not read before
 * ebpf_user_ring_finish(). Returns its position: the payload is at `position % size + 8` of the
 * data area. -ENOSPC where there is no room now, -E2BIG where there never is, -EPROTO when the
 * positions are not those of a ring.
 */
int64_t ebpf_user_ring_reserve(const struct ebpf_user_ring *ring, uint32_t length);

/* Hands the record at `position` to the kernel, to be read or, with `discard`, passed over. */
void ebpf_user_ring_finish(const struct ebpf_user_ring *ring, uint64_t position, uint32_t discard);

/* Copies `count` records of `length` bytes, side by side in `records`, as long as there is room.
 * Returns how many; where there is no room for one, the error of ebpf_user_ring_reserve(). */
int64_t ebpf_user_ring_write(const struct ebpf_user_ring *ring, const void *records,
                             uint32_t length, uint64_t count);
