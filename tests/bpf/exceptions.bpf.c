/* Programs that throw, from any depth, and the function that decides what they then return. */

#include "bpf.h"

LICENSE("GPL");

#define EXCEPTION_CALLBACK(name) __attribute__((btf_decl_tag("exception_callback:" #name)))

extern void bpf_throw(u64 cookie) KSYM;

u64 caught;

/* Reached by the callback only, not by the program. */
static NOINLINE u32 doubled(u64 cookie)
{
	caught += cookie;
	return 2 * cookie;
}

NOINLINE int handler(u64 cookie)
{
	return doubled(cookie) + 1;
}

NOINLINE int other_handler(u64 cookie)
{
	return 77;
}

NOINLINE int check(u32 length)
{
	if (length > 100)
		bpf_throw(length);
	return 5;
}

struct __sk_buff {
	u32 len;
};

SEC("tc")
EXCEPTION_CALLBACK(handler)
int throws(struct __sk_buff *context)
{
	return check(context->len);
}

SEC("tc")
EXCEPTION_CALLBACK(other_handler)
int throws_too(struct __sk_buff *context)
{
	return check(context->len);
}

SEC("tc")
int uncaught(struct __sk_buff *context)
{
	return check(context->len);
}
