#define _GNU_SOURCE
#include <errno.h>
#include <stddef.h>
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
