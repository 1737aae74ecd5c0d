/* What the parts of the driver share. */
#ifndef DRIVER_H
#define DRIVER_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "ebpf/core.h"

#define EXPECT(condition)                                                                 \
	do {                                                                              \
		if (!(condition)) {                                                       \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                          \
		}                                                                         \
	} while (0)

uint64_t random_below(uint64_t limit);

/* A ring of `size` bytes in memory, as the kernel has it, with nothing in it. */
struct ebpf_ring ring_in_memory(uint64_t size);

/* perf.c */
void perf_memory(void);
void perf_threads(void);

/* user_ring.c */
void user_ring_memory(void);
void user_ring_threads(void);

/* xsk.c */
void xsk_memory(void);
void xsk_threads(void);

#endif
