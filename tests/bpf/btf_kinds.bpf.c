/* A type of every kind of BTF that came after 5.10, in maps, variables and functions. */

#include "bpf.h"

LICENSE("GPL");

#define TAG(name) __attribute__((btf_decl_tag(#name)))
#define TYPE_TAG(name) __attribute__((btf_type_tag(#name)))

enum wide { WIDE_SMALL = 1, WIDE_LARGE = 1ULL << 40 };
enum with_sign { MINUS = -1, PLUS = 1 };

struct member {
	float ratio;
	double exact;
	int tagged TAG(member_tag);
	int TYPE_TAG(pointee) *pointer;
	enum wide wide;
	enum with_sign with_sign;
} TAG(struct_tag);

struct {
	NUMBER(type, HASH);
	TYPE(key, u32);
	TYPE(value, struct member);
	NUMBER(max_entries, 3);
} members SEC(".maps");

enum wide wide = WIDE_LARGE;
enum with_sign with_sign = MINUS;
double exact;

static NOINLINE int of_map(struct member *value TAG(parameter_tag))
{
	return value->tagged + value->with_sign;
}

SEC("raw_tp/sys_enter")
int reads(void *context)
{
	u32 key = 7;
	struct member *value = map_lookup(&members, &key);

	return value ? of_map(value) : with_sign + (wide == WIDE_LARGE);
}
