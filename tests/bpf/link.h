/* What the objects that are linked say of each other. */

#ifndef TESTS_LINK_H
#define TESTS_LINK_H

#include "bpf.h"

struct sample {
	u32 count;
	char name[12];
};

struct slots {
	NUMBER(type, HASH);
	NUMBER(max_entries, 8);
	TYPE(key, u32);
	TYPE(value, struct sample);
};

struct single {
	NUMBER(type, ARRAY);
	NUMBER(max_entries, 1);
	TYPE(key, u32);
	TYPE(value, u32);
};

enum { OUT = 32 };

/* In link_parts.bpf.c. */
extern u64 out[];
extern int shared;
extern const volatile int constant;
extern int in_main_only(int n);
extern int in_parts_only(int n);
extern int hidden_part(int n);
extern struct slots parts_map __attribute__((section(".maps")));

extern u32 LINUX_KERNEL_VERSION KCONFIG;

#endif
