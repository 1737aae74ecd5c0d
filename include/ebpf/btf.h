/*
 * Loops over the type section of BTF (uapi linux/btf.h), which may come from anywhere: nothing
 * outside `types` is read. `swap` says that the data is in the other byte order.
 */

/*
 * Writes the offset of each type into `offsets`, that of the first type first, and returns how
 * many there are; with `offsets` NULL it only counts. `layout` is the layout section (`struct
 * btf_layout` per kind, Linux 7.1) or NULL: it says how to skip kinds that are not known here.
 *
 * -EINVAL: a type does not fit the section. -EOPNOTSUPP: a kind that nothing describes.
 * -ENOSPC: more types than `capacity`.
 */
int64_t ebpf_btf_index(const void *types, uint64_t types_len, const void *layout,
		       uint64_t layout_len, uint32_t swap, uint32_t *offsets, uint64_t capacity);

/*
 * The first position in `offsets`, from `start` on, of a type with this name_off and a kind whose
 * bit is set in `kind_mask`; a mask of 0 takes every kind, and only that finds kinds above 31.
 *
 * -ENOENT: there is none. -EINVAL: an offset is outside the section.
 */
int64_t ebpf_btf_find(const void *types, uint64_t types_len, uint32_t swap,
		      const uint32_t *offsets, uint64_t count, uint32_t name_off,
		      uint32_t kind_mask, uint64_t start);

/* The offset at which `text` begins in `strings`. -ENOENT: it is not in there. */
int64_t ebpf_btf_text(const void *strings, uint64_t strings_len, const void *text,
		      uint64_t text_len);
