/* Map operations. Buffers have the map's key and value sizes; fd is the map's descriptor. */

int64_t ebpf_map_lookup(int fd, const void *key, void *value, uint64_t flags);
int64_t ebpf_map_lookup_and_delete(int fd, const void *key, void *value, uint64_t flags);
int64_t ebpf_map_update(int fd, const void *key, const void *value, uint64_t flags);
int64_t ebpf_map_delete(int fd, const void *key);

/*
 * Copies the keys that follow `key` (NULL: from the first) into `keys`, key_size bytes each.
 * Returns how many, fewer than `capacity` only at the end of the map.
 */
int64_t ebpf_map_keys(int fd, const void *key, uint32_t key_size, void *keys, uint64_t capacity);
