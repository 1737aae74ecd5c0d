/* Structs of function pointers that the kernel calls; these it does not have. */

#include "bpf.h"

LICENSE("GPL");

struct operations {
	int (*init)(void);
	int number;
	void (*event)(int, int);
	char name[8];
	void (*unused)(void);
};

SEC("struct_ops/init")
int init_a(u64 *context)
{
	return 0;
}

SEC("struct_ops.s")
int event_a(u64 *context)
{
	return 1;
}

SEC(".struct_ops")
struct operations plain = {
	.init = (void *)init_a,
	.number = 7,
	.event = (void *)event_a,
	.name = "plain",
};

SEC(".struct_ops")
struct operations second_plain = {
	.event = (void *)event_a,
};

SEC(".struct_ops.link")
struct operations linked = {
	.event = (void *)event_a,
	.name = "linked",
};

SEC("?.struct_ops.link")
struct operations optional = {
	.init = (void *)init_a,
};
