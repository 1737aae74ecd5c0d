#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/if_xdp.h>

#include "ebpf/core.h"

#ifndef AF_XDP
#define AF_XDP 44
#endif
#ifndef SOL_XDP
#define SOL_XDP 283
#endif

/* Released by the side that writes a position, acquired by the side that reads it. */
static uint32_t load(uint64_t position)
{
	return atomic_load_explicit((const _Atomic uint32_t *)(uintptr_t)position,
				    memory_order_acquire);
}

static void store(uint64_t position, uint32_t value)
{
	atomic_store_explicit((_Atomic uint32_t *)(uintptr_t)position, value, memory_order_release);
}

/* Entries that are written and not yet read, or -EPROTO. */
static int64_t waiting(const struct ebpf_xsk_ring *ring)
{
	uint32_t count = load(ring->producer) - load(ring->consumer);

	return count > ring->size ? -EPROTO : (int64_t)count;
}

static uint64_t *place(const struct ebpf_xsk_ring *ring, uint32_t position)
{
	return (uint64_t *)(uintptr_t)ring->entries + (position & (ring->size - 1));
}

static struct xdp_desc *descriptor(const struct ebpf_xsk_ring *ring, uint32_t position)
{
	return (struct xdp_desc *)(uintptr_t)ring->entries + (position & (ring->size - 1));
}

static int64_t map_ring(int fd, struct ebpf_xsk_ring *ring, const struct xdp_ring_offset *offsets,
			uint64_t entry, uint32_t size, int option, uint64_t page_offset)
{
	uint64_t length = offsets->desc + size * entry;
	void *memory;

	if (setsockopt(fd, SOL_XDP, option, &size, sizeof(size)) < 0)
		return -errno;
	memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd,
		      (off_t)page_offset);
	if (memory == MAP_FAILED)
		return -errno;
	ring->memory = (uintptr_t)memory;
	ring->length = length;
	ring->producer = ring->memory + offsets->producer;
	ring->consumer = ring->memory + offsets->consumer;
	ring->entries = ring->memory + offsets->desc;
	ring->size = size;
	return 0;
}

static int64_t map_rings(int fd, struct ebpf_xsk *xsk)
{
	uint32_t size = (uint32_t)xsk->half;
	struct xdp_mmap_offsets offsets;
	socklen_t length = sizeof(offsets);
	int64_t error;

	if (getsockopt(fd, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &length) < 0)
		return -errno;
	error = map_ring(fd, &xsk->fill, &offsets.fr, sizeof(uint64_t), size, XDP_UMEM_FILL_RING,
			 XDP_UMEM_PGOFF_FILL_RING);
	if (!error)
		error = map_ring(fd, &xsk->completion, &offsets.cr, sizeof(uint64_t), size,
				 XDP_UMEM_COMPLETION_RING, XDP_UMEM_PGOFF_COMPLETION_RING);
	if (!error)
		error = map_ring(fd, &xsk->rx, &offsets.rx, sizeof(struct xdp_desc), size,
				 XDP_RX_RING, XDP_PGOFF_RX_RING);
	if (!error)
		error = map_ring(fd, &xsk->tx, &offsets.tx, sizeof(struct xdp_desc), size,
				 XDP_TX_RING, XDP_PGOFF_TX_RING);
	return error;
}

static int64_t make_umem(int fd, struct ebpf_xsk *xsk)
{
	struct xdp_umem_reg registered;
	void *memory = mmap(NULL, xsk->umem_length, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return -errno;
	xsk->umem = (uintptr_t)memory;
	memset(&registered, 0, sizeof(registered));
	registered.addr = xsk->umem;
	registered.len = xsk->umem_length;
	registered.chunk_size = (uint32_t)xsk->frame;
	return setsockopt(fd, SOL_XDP, XDP_UMEM_REG, &registered, sizeof(registered)) < 0 ? -errno
											  : 0;
}

int64_t ebpf_xsk_open(int fd, uint64_t half, uint64_t frame, uint64_t *idle, struct ebpf_xsk *xsk)
{
	int64_t error;
	uint64_t n;

	memset(xsk, 0, sizeof(*xsk));
	if (!half || half & (half - 1) || half > 1 << 24 || !frame || frame & (frame - 1) ||
	    frame > 1 << 24)
		return -EINVAL;
	xsk->half = half;
	xsk->frame = frame;
	xsk->umem_length = 2 * half * frame;
	xsk->idle = (uintptr_t)idle;
	error = make_umem(fd, xsk);
	if (!error)
		error = map_rings(fd, xsk);
	if (error) {
		ebpf_xsk_close(xsk);
		return error;
	}
	for (n = 0; n < half; n++) {
		*place(&xsk->fill, (uint32_t)n) = n * frame;
		idle[n] = half + n;
	}
	xsk->idle_count = half;
	store(xsk->fill.producer, (uint32_t)half);
	return 0;
}

static void unmap(struct ebpf_xsk_ring *ring)
{
	if (ring->memory)
		munmap((void *)(uintptr_t)ring->memory, ring->length);
	ring->memory = 0;
}

void ebpf_xsk_close(struct ebpf_xsk *xsk)
{
	unmap(&xsk->fill);
	unmap(&xsk->completion);
	unmap(&xsk->rx);
	unmap(&xsk->tx);
	if (xsk->umem)
		munmap((void *)(uintptr_t)xsk->umem, xsk->umem_length);
	xsk->umem = 0;
}

int64_t ebpf_xsk_socket(void)
{
	int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	int64_t moved;

	if (fd < 0)
		return -errno;
	if (fd > 2)
		return fd;
	moved = ebpf_dup(fd);
	close(fd);
	return moved;
}

int64_t ebpf_xsk_bind(int fd, uint32_t ifindex, uint32_t queue, uint32_t flags)
{
	struct sockaddr_xdp address;

	memset(&address, 0, sizeof(address));
	address.sxdp_family = AF_XDP;
	address.sxdp_ifindex = ifindex;
	address.sxdp_queue_id = queue;
	address.sxdp_flags = (uint16_t)flags;
	return bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
}

int64_t ebpf_xsk_receive(struct ebpf_xsk *xsk, void *buffer, uint64_t capacity, uint32_t *ends,
			 uint64_t max_frames)
{
	uint32_t next, filled, done = 0;
	int64_t count;

	xsk->used = 0;
	if (!xsk->umem)
		return -EBADF;
	/* More has no place in `ends`. */
	if (capacity > UINT32_MAX)
		capacity = UINT32_MAX;
	count = waiting(&xsk->rx);
	if (count < 0)
		return count;
	next = load(xsk->rx.consumer);
	filled = load(xsk->fill.producer);
	for (; done < (uint64_t)count && done < max_frames; done++) {
		const struct xdp_desc *found = descriptor(&xsk->rx, next + done);
		uint64_t at = found->addr, length = found->len;

		if (at >= xsk->half * xsk->frame || length > xsk->frame - at % xsk->frame)
			return -EPROTO;
		if (length > capacity - xsk->used)
			break;
		memcpy((char *)buffer + xsk->used, (const void *)(uintptr_t)(xsk->umem + at), length);
		xsk->used += length;
		ends[done] = (uint32_t)xsk->used;
		/* As many entries as there are frames: the ring always has room for one that is free. */
		*place(&xsk->fill, filled + done) = at & ~(xsk->frame - 1);
	}
	store(xsk->rx.consumer, next + done);
	store(xsk->fill.producer, filled + done);
	return !done && count && max_frames ? -ENOSPC : (int64_t)done;
}

/* Takes back the frames that were sent. */
static int64_t complete(struct ebpf_xsk *xsk)
{
	uint64_t *idle = (uint64_t *)(uintptr_t)xsk->idle;
	uint64_t idle_count = xsk->idle_count;
	int64_t n, count = waiting(&xsk->completion);
	uint32_t next = load(xsk->completion.consumer);

	for (n = 0; n < count; n++) {
		uint64_t number = *place(&xsk->completion, next + (uint32_t)n) / xsk->frame;

		if (number < xsk->half || number >= 2 * xsk->half || idle_count == xsk->half)
			return -EPROTO;
		idle[idle_count++] = number;
	}
	if (count < 0)
		return count;
	/* All or none: what is still in the ring must not be taken a second time. */
	store(xsk->completion.consumer, next + (uint32_t)count);
	xsk->idle_count = idle_count;
	return 0;
}

int64_t ebpf_xsk_send(struct ebpf_xsk *xsk, const void *frames, const uint32_t *ends,
		      uint64_t count)
{
	const uint64_t *idle = (const uint64_t *)(uintptr_t)xsk->idle;
	uint32_t next, start = 0;
	int64_t error;
	uint64_t n;

	if (!xsk->umem)
		return -EBADF;
	error = complete(xsk);
	if (error)
		return error;
	next = load(xsk->tx.producer);
	/*
	 * Frames and entries are as many, and of what the kernel says that it sent it has read the
	 * entry: whoever has an idle frame has an entry.
	 */
	for (n = 0; n < count && xsk->idle_count; n++) {
		uint32_t length = ends[n] - start;
		struct xdp_desc *made = descriptor(&xsk->tx, next + (uint32_t)n);

		if (length > xsk->frame) {
			error = -EMSGSIZE;
			break;
		}
		made->addr = idle[--xsk->idle_count] * xsk->frame;
		made->len = length;
		made->options = 0;
		memcpy((void *)(uintptr_t)(xsk->umem + made->addr), (const char *)frames + start,
		       length);
		start = ends[n];
	}
	store(xsk->tx.producer, next + (uint32_t)n);
	return n ? (int64_t)n : error;
}

int64_t ebpf_xsk_wake(int fd)
{
	return sendto(fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 ? -errno : 0;
}

int64_t ebpf_xsk_unsent(const struct ebpf_xsk *xsk)
{
	return xsk->umem ? waiting(&xsk->tx) : -EBADF;
}

int64_t ebpf_xsk_statistics(int fd, uint64_t *counters, uint64_t room)
{
	socklen_t length = (socklen_t)(room * sizeof(*counters));

	if (getsockopt(fd, SOL_XDP, XDP_STATISTICS, counters, &length) < 0)
		return -errno;
	return (int64_t)(length / sizeof(*counters));
}
