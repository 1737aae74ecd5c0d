/* Map operations. Buffers have the map's key and value sizes; fd is the map's descriptor. */

int64_t ebpf_map_lookup(int fd, const void *key, void *value, uint64_t flags);
int64_t ebpf_map_lookup_and_delete(int fd, const void *key, void *value, uint64_t flags);
int64_t ebpf_map_update(int fd, const void *key, const void *value, uint64_t flags);
int64_t ebpf_map_delete(int fd, const void *key);

/*
 * Lookups of maps whose keys and values are one unsigned integer each, without a buffer on the
 * caller's side. Below EBPF_MAP_ABSENT the result is the value; EBPF_MAP_ABSENT says that there
 * is no such key; EBPF_MAP_UNSURE that something failed or that the value is one of these two
 * numbers: ebpf_map_lookup() tells which.
 */
#define EBPF_MAP_ABSENT 0xfffffffffffffffe
#define EBPF_MAP_UNSURE 0xffffffffffffffff

uint64_t ebpf_map_get_u32_u32(int fd, uint32_t key);
uint64_t ebpf_map_get_u32_u64(int fd, uint32_t key);
uint64_t ebpf_map_get_u64_u32(int fd, uint64_t key);
uint64_t ebpf_map_get_u64_u64(int fd, uint64_t key);

/* The same for updates, without flags. */
int64_t ebpf_map_set_u32_u32(int fd, uint32_t key, uint32_t value);
int64_t ebpf_map_set_u32_u64(int fd, uint32_t key, uint64_t value);
int64_t ebpf_map_set_u64_u32(int fd, uint64_t key, uint32_t value);
int64_t ebpf_map_set_u64_u64(int fd, uint64_t key, uint64_t value);

/*
 * Copies the keys that follow `key` (NULL: from the first) into `keys`, key_size bytes each.
 * Returns how many, fewer than `capacity` only at the end of the map.
 */
int64_t ebpf_map_keys(int fd, const void *key, uint32_t key_size, void *keys, uint64_t capacity);

/* One of the four batch commands. *count is in and out, also where the result is an error. */
int64_t ebpf_map_batch(uint32_t cmd, int fd, const void *in_batch, void *out_batch, void *keys,
                       void *values, uint32_t *count, uint64_t elem_flags);

/*
 * Element by element, `count` keys side by side. The first three return 0, or the -errno of the
 * first element that failed, whose index is then in *done, which else is `count`.
 */

/* found[i] is 1 and values[i] written where the map has keys[i], else both are 0. */
int64_t ebpf_map_lookup_many(int fd, const void *keys, uint32_t key_size, void *values,
                             uint64_t value_size, unsigned char *found, uint64_t count,
                             uint64_t flags, uint64_t *done);
int64_t ebpf_map_update_many(int fd, const void *keys, uint32_t key_size, const void *values,
                             uint64_t value_size, uint64_t count, uint64_t flags, uint64_t *done);
/* Keys that the map does not have are passed over; *deleted counts the others. */
int64_t ebpf_map_delete_many(int fd, const void *keys, uint32_t key_size, uint64_t count,
                             uint64_t *deleted, uint64_t *done);
/* The same by DELETE_BATCH, which stops at a key that is not there. */
int64_t ebpf_map_delete_batch(int fd, const void *keys, uint32_t key_size, uint64_t count,
                              uint64_t *deleted, uint64_t *done);
