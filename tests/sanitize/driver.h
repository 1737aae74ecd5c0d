/* What the parts of the driver share. */
#ifndef DRIVER_H
#define DRIVER_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define EXPECT(condition)                                                                 \
	do {                                                                              \
		if (!(condition)) {                                                       \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                          \
		}                                                                         \
	} while (0)

uint64_t random_below(uint64_t limit);

/* perf.c */
void perf_memory(void);
void perf_threads(void);

#endif
