#define _GNU_SOURCE
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "ebpf/core.h"

/* struct btf_type is three words: name_off, info, size or type. */
#define TYPE_SIZE 12u
#define INFO_OFFSET 4u
#define KINDS 128u

/* What follows struct btf_type, in bytes: once, and for each of the vlen elements. */
struct kind_layout {
	uint8_t known;
	uint8_t once;
	uint8_t each;
};

static const struct kind_layout known_kinds[] = {
	[1] = {1, 4, 0},   /* INT */
	[2] = {1, 0, 0},   /* PTR */
	[3] = {1, 12, 0},  /* ARRAY */
	[4] = {1, 0, 12},  /* STRUCT */
	[5] = {1, 0, 12},  /* UNION */
	[6] = {1, 0, 8},   /* ENUM */
	[7] = {1, 0, 0},   /* FWD */
	[8] = {1, 0, 0},   /* TYPEDEF */
	[9] = {1, 0, 0},   /* VOLATILE */
	[10] = {1, 0, 0},  /* CONST */
	[11] = {1, 0, 0},  /* RESTRICT */
	[12] = {1, 0, 0},  /* FUNC */
	[13] = {1, 0, 8},  /* FUNC_PROTO */
	[14] = {1, 4, 0},  /* VAR */
	[15] = {1, 0, 12}, /* DATASEC */
	[16] = {1, 0, 0},  /* FLOAT */
	[17] = {1, 4, 0},  /* DECL_TAG */
	[18] = {1, 0, 0},  /* TYPE_TAG */
	[19] = {1, 0, 12}, /* ENUM64 */
};

#define KNOWN_KINDS (sizeof(known_kinds) / sizeof(known_kinds[0]))

/* The section starts anywhere in the data, so words need not be aligned. */
static uint32_t read_word(const unsigned char *at, uint32_t swap)
{
	uint32_t word;

	memcpy(&word, at, sizeof(word));
	return swap ? __builtin_bswap32(word) : word;
}

static uint32_t info_kind(uint32_t info)
{
	return info >> 24 & 0x7f;
}

/* The known kinds are fixed by the format; the section only adds to them. */
static void fill_layouts(struct kind_layout *kinds, const unsigned char *layout, uint64_t len)
{
	uint64_t count = layout ? len / 4 : 0;
	uint64_t kind;

	memset(kinds, 0, KINDS * sizeof(*kinds));
	for (kind = 0; kind < count && kind < KINDS; kind++) {
		uint8_t once = layout[kind * 4];
		uint8_t each = layout[kind * 4 + 1];

		if (once % 4 == 0 && each % 4 == 0)
			kinds[kind] = (struct kind_layout){1, once, each};
	}
	for (kind = 1; kind < KNOWN_KINDS; kind++)
		kinds[kind] = known_kinds[kind];
}

int64_t ebpf_btf_index(const void *types, uint64_t types_len, const void *layout,
		       uint64_t layout_len, uint32_t swap, uint32_t *offsets, uint64_t capacity)
{
	const unsigned char *base = types;
	struct kind_layout kinds[KINDS];
	uint64_t at = 0, count = 0;

	if (types_len > UINT32_MAX)
		return -EINVAL;
	fill_layouts(kinds, layout, layout_len);
	while (types_len - at >= TYPE_SIZE) {
		uint32_t info = read_word(base + at + INFO_OFFSET, swap);
		const struct kind_layout *kind = &kinds[info_kind(info)];
		/* At most 12 + 255 + 2^24 * 255: no overflow in 64 bits. */
		uint64_t size = TYPE_SIZE + kind->once + (uint64_t)(info & 0xffffff) * kind->each;

		if (!kind->known)
			return -EOPNOTSUPP;
		if (size > types_len - at)
			return -EINVAL;
		if (offsets) {
			if (count == capacity)
				return -ENOSPC;
			offsets[count] = (uint32_t)at;
		}
		count++;
		at += size;
	}
	return at == types_len ? (int64_t)count : -EINVAL;
}

int64_t ebpf_btf_find(const void *types, uint64_t types_len, uint32_t swap,
		      const uint32_t *offsets, uint64_t count, uint32_t name_off,
		      uint32_t kind_mask, uint64_t start)
{
	const unsigned char *base = types;
	uint64_t i;

	for (i = start; i < count; i++) {
		uint64_t at = offsets[i];
		uint32_t kind;

		if (types_len < TYPE_SIZE || at > types_len - TYPE_SIZE)
			return -EINVAL;
		if (read_word(base + at, swap) != name_off)
			continue;
		kind = info_kind(read_word(base + at + INFO_OFFSET, swap));
		if (!kind_mask || (kind < 32 && kind_mask >> kind & 1))
			return (int64_t)i;
	}
	return -ENOENT;
}

int64_t ebpf_btf_text(const void *strings, uint64_t strings_len, const void *text,
		      uint64_t text_len)
{
	const char *found = memmem(strings, strings_len, text, text_len);

	return found ? found - (const char *)strings : -ENOENT;
}
