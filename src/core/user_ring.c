#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include <linux/bpf.h>

#include "ebpf/core.h"

static unsigned char *data_at(const struct ebpf_user_ring *ring, uint64_t position)
{
	return (unsigned char *)(uintptr_t)(ring->producer + ring->page) +
	       (position & (ring->size - 1));
}

int64_t ebpf_user_ring_reserve(const struct ebpf_user_ring *ring, uint32_t length)
{
	_Atomic unsigned long *producer = (_Atomic unsigned long *)(uintptr_t)ring->producer;
	/* Acquired: what the kernel has read of the space is read before it is written anew. */
	unsigned long consumed = atomic_load_explicit(
		(const _Atomic unsigned long *)(uintptr_t)ring->consumer, memory_order_acquire);
	unsigned long position = atomic_load_explicit(producer, memory_order_relaxed);
	uint64_t step = ((uint64_t)length + BPF_RINGBUF_HDR_SZ + 7) & ~(uint64_t)7;
	uint32_t header[2] = { length | BPF_RINGBUF_BUSY_BIT, 0 };

	if (length > EBPF_USER_RING_LONGEST || step > ring->size)
		return -E2BIG;
	if (position - consumed > ring->size || position % BPF_RINGBUF_HDR_SZ)
		return -EPROTO;
	if (step > ring->size - (position - consumed))
		return -ENOSPC;
	memcpy(data_at(ring, position), header, sizeof(header));
	/* Released: who sees the position sees that the record is busy. */
	atomic_store_explicit(producer, position + (unsigned long)step, memory_order_release);
	return (int64_t)position;
}

void ebpf_user_ring_finish(const struct ebpf_user_ring *ring, uint64_t position, uint32_t discard)
{
	_Atomic uint32_t *header = (_Atomic uint32_t *)(void *)data_at(ring, position);
	uint32_t length = atomic_load_explicit(header, memory_order_relaxed);

	length &= ~BPF_RINGBUF_BUSY_BIT;
	if (discard)
		length |= BPF_RINGBUF_DISCARD_BIT;
	/* Released: who sees the record finished sees its payload. */
	atomic_store_explicit(header, length, memory_order_release);
}

int64_t ebpf_user_ring_write(const struct ebpf_user_ring *ring, const void *records,
			     uint32_t length, uint64_t count)
{
	const unsigned char *record = records;
	uint64_t written;

	for (written = 0; written < count; written++, record += length) {
		int64_t position = ebpf_user_ring_reserve(ring, length);

		if (position < 0)
			return written ? (int64_t)written : position;
		memcpy(data_at(ring, (uint64_t)position) + BPF_RINGBUF_HDR_SZ, record, length);
		ebpf_user_ring_finish(ring, (uint64_t)position, 0);
	}
	return (int64_t)written;
}
