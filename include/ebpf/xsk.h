/*
 * AF_XDP sockets in the kernel's own terms (net/xdp/xsk.c): a memory (UMEM) of equal frames, and
 * four rings of places in it. The first `half` frames are for receiving, the others for sending.
 * A socket is received from by one thread at a time and sent from by one; the caller holds locks.
 */
struct ebpf_xsk_ring {
	uint64_t memory; /* address and length of the mapping, 0 when there is none */
	uint64_t length;
	uint64_t producer; /* addresses in it: positions, and entries */
	uint64_t consumer;
	uint64_t entries;
	uint32_t size; /* entries, a power of two */
	uint32_t pad_1;
};

struct ebpf_xsk {
	struct ebpf_xsk_ring fill;
	struct ebpf_xsk_ring completion;
	struct ebpf_xsk_ring rx;
	struct ebpf_xsk_ring tx;
	uint64_t umem; /* address */
	uint64_t umem_length;
	uint64_t frame; /* bytes of a frame, a power of two */
	uint64_t half;  /* frames */
	uint64_t idle;  /* address of `half` numbers of frames that are not being sent */
	uint64_t idle_count;
	uint64_t used;  /* of the last receive: bytes written to the buffer */
};

/*
 * Makes the memory and rings of the socket `fd`: `half` frames of `frame` bytes each way, both
 * powers of two. `idle` has room for `half` numbers and lives as long as `xsk`.
 */
int64_t ebpf_xsk_open(int fd, uint64_t half, uint64_t frame, uint64_t *idle, struct ebpf_xsk *xsk);
void ebpf_xsk_close(struct ebpf_xsk *xsk);

/* A socket of the family AF_XDP: close-on-exec and never 0, 1 or 2. */
int64_t ebpf_xsk_socket(void);

/* Binds it to a queue of an interface of its namespace; `flags` are XDP_COPY and its like. */
int64_t ebpf_xsk_bind(int fd, uint32_t ifindex, uint32_t queue, uint32_t flags);

/*
 * Copies the next frames into `buffer`, one behind the other, and the position where each ends into
 * `ends` (room for max_frames), and gives their places back to the kernel. Stops at the first that
 * does not fit. Returns the number of frames; -ENOSPC if the first does not fit, -EPROTO if a ring
 * holds what cannot be.
 */
int64_t ebpf_xsk_receive(struct ebpf_xsk *xsk, void *buffer, uint64_t capacity, uint32_t *ends,
			 uint64_t max_frames);

/*
 * Puts frames into the ring to be sent: `frames` one behind the other, the position where each ends
 * in `ends`. Returns how many there was room for; -EMSGSIZE if the first is longer than a frame.
 * ebpf_xsk_wake() has the kernel send them.
 */
int64_t ebpf_xsk_send(struct ebpf_xsk *xsk, const void *frames, const uint32_t *ends,
		      uint64_t count);

/* Has the kernel send what is in the ring. */
int64_t ebpf_xsk_wake(int fd);

/* Frames in the ring that the kernel has not taken yet. */
int64_t ebpf_xsk_unsent(const struct ebpf_xsk *xsk);

/* The counters of the socket, as many of `room` as the kernel has: rx_dropped, rx_invalid_descs,
 * tx_invalid_descs, rx_ring_full, rx_fill_ring_empty_descs, tx_ring_empty_descs (5.9). */
int64_t ebpf_xsk_statistics(int fd, uint64_t *counters, uint64_t room);
