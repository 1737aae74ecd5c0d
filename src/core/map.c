#define _GNU_SOURCE
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/bpf.h>

#include "ebpf/core.h"

static int64_t map_elem(uint32_t cmd, int fd, const void *key, const void *value, uint64_t flags)
{
	struct ebpf_attr_map_elem attr = {
		.map_fd = (uint32_t)fd,
		.key = (uintptr_t)key,
		.value = (uintptr_t)value,
		.flags = flags,
	};
	/* Kernels that know no flags for a command refuse an attribute that reaches that far. */
	uint32_t size = flags || cmd == BPF_MAP_UPDATE_ELEM
				? sizeof(attr)
				: offsetof(struct ebpf_attr_map_elem, flags);

	return syscall(__NR_bpf, cmd, &attr, size) < 0 ? -errno : 0;
}

int64_t ebpf_map_lookup(int fd, const void *key, void *value, uint64_t flags)
{
	return map_elem(BPF_MAP_LOOKUP_ELEM, fd, key, value, flags);
}

int64_t ebpf_map_lookup_and_delete(int fd, const void *key, void *value, uint64_t flags)
{
	return map_elem(BPF_MAP_LOOKUP_AND_DELETE_ELEM, fd, key, value, flags);
}

int64_t ebpf_map_update(int fd, const void *key, const void *value, uint64_t flags)
{
	return map_elem(BPF_MAP_UPDATE_ELEM, fd, key, value, flags);
}

int64_t ebpf_map_delete(int fd, const void *key)
{
	return map_elem(BPF_MAP_DELETE_ELEM, fd, key, NULL, 0);
}

static uint64_t value_or_why(int64_t result, uint64_t value)
{
	if (result == -ENOENT)
		return EBPF_MAP_ABSENT;
	return result < 0 || value >= EBPF_MAP_ABSENT ? EBPF_MAP_UNSURE : value;
}

#define SCALARS(K, KEY, V, VALUE)                                                    \
	uint64_t ebpf_map_get_##K##_##V(int fd, KEY key)                             \
	{                                                                            \
		VALUE value = 0;                                                     \
		int64_t result = map_elem(BPF_MAP_LOOKUP_ELEM, fd, &key, &value, 0); \
                                                                                     \
		return value_or_why(result, value);                                  \
	}                                                                            \
                                                                                     \
	int64_t ebpf_map_set_##K##_##V(int fd, KEY key, VALUE value)                 \
	{                                                                            \
		return map_elem(BPF_MAP_UPDATE_ELEM, fd, &key, &value, 0);           \
	}

SCALARS(u32, uint32_t, u32, uint32_t)
SCALARS(u32, uint32_t, u64, uint64_t)
SCALARS(u64, uint64_t, u32, uint32_t)
SCALARS(u64, uint64_t, u64, uint64_t)

int64_t ebpf_map_keys(int fd, const void *key, uint32_t key_size, void *keys, uint64_t capacity)
{
	struct ebpf_attr_map_next_key attr = {
		.map_fd = (uint32_t)fd,
		.key = (uintptr_t)key,
	};
	unsigned char *next = keys;
	uint64_t count;

	for (count = 0; count < capacity; count++) {
		attr.next_key = (uintptr_t)next;
		if (syscall(__NR_bpf, BPF_MAP_GET_NEXT_KEY, &attr, sizeof(attr)) < 0) {
			if (errno == ENOENT)
				break;
			return -errno;
		}
		attr.key = attr.next_key;
		next += key_size;
	}
	return (int64_t)count;
}

int64_t ebpf_map_batch(uint32_t cmd, int fd, const void *in_batch, void *out_batch, void *keys,
		       void *values, uint32_t *count, uint64_t elem_flags)
{
	struct ebpf_attr_map_batch attr = {
		.in_batch = (uintptr_t)in_batch,
		.out_batch = (uintptr_t)out_batch,
		.keys = (uintptr_t)keys,
		.values = (uintptr_t)values,
		.count = *count,
		.map_fd = (uint32_t)fd,
		.elem_flags = elem_flags,
	};
	int64_t result = syscall(__NR_bpf, cmd, &attr, sizeof(attr)) < 0 ? -errno : 0;

	*count = attr.count;
	return result;
}

int64_t ebpf_map_lookup_many(int fd, const void *keys, uint32_t key_size, void *values,
			     uint64_t value_size, unsigned char *found, uint64_t count,
			     uint64_t flags, uint64_t *done)
{
	const unsigned char *key = keys;
	unsigned char *value = values;

	for (*done = 0; *done < count; ++*done, key += key_size, value += value_size) {
		int64_t result = map_elem(BPF_MAP_LOOKUP_ELEM, fd, key, value, flags);

		if (result < 0 && result != -ENOENT)
			return result;
		found[*done] = result == 0;
		if (result < 0)
			memset(value, 0, value_size);
	}
	return 0;
}

int64_t ebpf_map_update_many(int fd, const void *keys, uint32_t key_size, const void *values,
			     uint64_t value_size, uint64_t count, uint64_t flags, uint64_t *done)
{
	const unsigned char *key = keys, *value = values;

	for (*done = 0; *done < count; ++*done, key += key_size, value += value_size) {
		int64_t result = map_elem(BPF_MAP_UPDATE_ELEM, fd, key, value, flags);

		if (result < 0)
			return result;
	}
	return 0;
}

int64_t ebpf_map_delete_many(int fd, const void *keys, uint32_t key_size, uint64_t count,
			     uint64_t *deleted, uint64_t *done)
{
	const unsigned char *key = keys;

	*deleted = 0;
	for (*done = 0; *done < count; ++*done, key += key_size) {
		int64_t result = map_elem(BPF_MAP_DELETE_ELEM, fd, key, NULL, 0);

		if (result < 0 && result != -ENOENT)
			return result;
		*deleted += result == 0;
	}
	return 0;
}

int64_t ebpf_map_delete_batch(int fd, const void *keys, uint32_t key_size, uint64_t count,
			      uint64_t *deleted, uint64_t *done)
{
	const unsigned char *key = keys;

	*deleted = 0;
	*done = 0;
	while (*done < count) {
		uint64_t left = count - *done;
		uint32_t step = left < UINT32_MAX ? (uint32_t)left : UINT32_MAX;
		int64_t result = ebpf_map_batch(BPF_MAP_DELETE_BATCH, fd, NULL, NULL,
						(void *)(uintptr_t)(key + *done * key_size), NULL,
						&step, 0);

		/* Where the kernel refuses the command it leaves the count as it was. */
		if (result < 0 && result != -ENOENT)
			return result;
		*deleted += step;
		*done += step + (result == -ENOENT);
	}
	return 0;
}
