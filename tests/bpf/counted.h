/* Counts calls for the process that loads an object, as the programs of the table of hooks do. */

#ifndef TESTS_COUNTED_H
#define TESTS_COUNTED_H

#include "bpf.h"

struct {
	NUMBER(type, HASH);
	TYPE(key, u32);
	TYPE(value, u64);
	NUMBER(max_entries, 1024);
} counts SEC(".maps");

const volatile u32 loader;

/* The process has put its entry there. */
static void count(void)
{
	u32 process = loader;
	u64 *value = map_lookup(&counts, &process);

	if (value)
		__sync_fetch_and_add(value, 1);
}

#endif
