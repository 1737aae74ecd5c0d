/*
 * Feeds src/core/btf.c with damaged type sections, for the sanitizers to watch.
 *
 *   fuzz_btf ROUNDS FILE...    prints "ACCEPTED REFUSED", how many inputs the index took or not
 *
 * Each FILE holds the types of one BTF. Every input is a fresh allocation of exactly its length,
 * so that the first byte read outside it is reported.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ebpf/core.h"

static uint64_t state = 0x9e3779b97f4a7c15u;

static uint64_t any(uint64_t limit)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % limit;
}

static void damage(unsigned char *data, uint64_t length)
{
	uint64_t times = any(4);

	while (length && times--)
		data[any(length)] = (unsigned char)any(256);
}

static void search(const void *types, uint64_t length, uint32_t swap, uint32_t *offsets,
		   uint64_t count)
{
	if (count && any(2))
		offsets[any(count)] = (uint32_t)any(2 * length + 16);
	for (int i = 0; i < 8; i++) {
		int64_t at = ebpf_btf_find(types, length, swap, offsets, count, (uint32_t)any(64),
					   (uint32_t)any(1u << 20), any(count + 2));

		if (at >= 0 && (uint64_t)at >= count)
			abort();
	}
}

static int round_of(const unsigned char *original, uint64_t original_length)
{
	uint64_t length = any(4) ? original_length : any(original_length + 1);
	uint64_t layout_length = any(3) ? 0 : any(600);
	unsigned char *types = malloc(length ? length : 1);
	unsigned char *layout = malloc(layout_length ? layout_length : 1);
	uint32_t swap = (uint32_t)any(2);
	int64_t count;

	memcpy(types, original, length);
	damage(types, length);
	for (uint64_t i = 0; i < layout_length; i++)
		layout[i] = (unsigned char)(any(8) * 4);
	count = ebpf_btf_index(types, length, layout, layout_length, swap, NULL, 0);
	if (count >= 0) {
		uint32_t *offsets = malloc((size_t)count * sizeof(*offsets) + 1);

		if (ebpf_btf_index(types, length, layout, layout_length, swap, offsets,
				   (uint64_t)count) != count)
			abort();
		if (count && ebpf_btf_index(types, length, layout, layout_length, swap, offsets,
					    (uint64_t)count - 1) >= 0)
			abort();
		search(types, length, swap, offsets, (uint64_t)count);
		free(offsets);
	}
	free(layout);
	free(types);
	return count >= 0;
}

int main(int argc, char **argv)
{
	long rounds = argc > 1 ? atol(argv[1]) : 0;
	long accepted = 0, refused = 0;
	static unsigned char data[1 << 20];

	for (int i = 2; i < argc; i++) {
		FILE *file = fopen(argv[i], "rb");
		uint64_t length;

		if (!file)
			return 2;
		length = fread(data, 1, sizeof(data), file);
		fclose(file);
		for (long n = 0; n < rounds; n++) {
			if (round_of(data, length))
				accepted++;
			else
				refused++;
		}
	}
	printf("%ld %ld\n", accepted, refused);
	return 0;
}
