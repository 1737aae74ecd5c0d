/*
 * BPF file systems of another process's user namespace. `user` and `mount` are descriptors of its
 * namespaces. They are entered by a child that shares this process's memory and descriptors: a
 * process of several threads, such as Python's, cannot enter a user namespace, and cannot leave one.
 */

/* The context of a new file system that belongs to the user namespace: a descriptor, close-on-exec. */
int64_t ebpf_bpffs_open(int user, int mount);

/* Gives the context `fs` the option `key`. */
int64_t ebpf_bpffs_set(int fs, const char *key, const char *value);

/* Makes the file system that `fs` describes; who makes one that delegates is privileged. */
int64_t ebpf_bpffs_create(int fs);

/* Mounts the file system of `fs` at the directory `directory`, a descriptor, in the mount namespace. */
int64_t ebpf_bpffs_mount(int user, int mount, int fs, int directory);
