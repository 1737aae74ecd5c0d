/* A little of everything that a generated module has to give a type. */

#include "bpf.h"

LICENSE("GPL");

enum kind { OPENED = 1, CLOSED = 2 };
typedef u16 __be16;

struct key {
	u32 pid;
	u8 kind;
};

struct usage {
	u64 count;
	enum kind kind;
	char name[16];
	struct key last;
	u16 ports[3];
	_Bool on;
	__be16 port;
	/* 8 bytes of padding, which a dataclass of these fields would not have */
	u64 sum __attribute__((aligned(16)));
};

struct flags {
	u32 low : 3, high : 5;
	u32 whole;
};

union number {
	u64 whole;
	u32 halves[2];
};

struct packed {
	u8 one;
	u32 four;
} __attribute__((packed));

struct keywords {
	u32 class;
	u32 u32;
	u32 other;
};

struct event {
	u64 number;
	char name[16];
};

struct spare {
	u32 only;
	u64 bytes; /* a name that another annotation would need, which there is none of here */
};

typedef struct {
	u32 pid;
	u32 cpu;
} place_t;

typedef struct {
	u32 low : 3, high : 5;
	u32 _node; /* a name that the class of the library has for itself */
} bits_t;

struct task {
	u32 pid;
};

struct pointed {
	u32 first;
};

struct {
	NUMBER(type, HASH);
	NUMBER(max_entries, 16);
	TYPE(key, struct key);
	TYPE(value, struct usage);
} uses SEC(".maps");

struct {
	NUMBER(type, PERCPU_ARRAY);
	NUMBER(max_entries, 2);
	TYPE(key, u32);
	TYPE(value, u64);
} totals SEC(".maps");

struct {
	NUMBER(type, ARRAY);
	NUMBER(max_entries, 2);
	TYPE(key, u32);
	TYPE(value, struct flags);
} marks SEC(".maps");

struct {
	NUMBER(type, HASH);
	NUMBER(max_entries, 2);
	TYPE(key, place_t);
	TYPE(value, bits_t);
} places SEC(".maps");

struct {
	NUMBER(type, RINGBUF);
	NUMBER(max_entries, 65536);
	TYPE(value, struct event);
} events SEC(".maps");

const volatile int lowest = 1;
struct usage latest = {};
struct flags bits = {};
union number number = {};
struct packed packed = {};
struct keywords keywords = {};
struct key recent[2] = {};
/* Called as the class of their type would be. */
struct task Task = {}, second = {};
int items = 1;
struct pointed *unused __attribute__((unused));

/* No map and no variable has the struct. */
NOINLINE int take(struct spare *spare)
{
	return spare ? spare->only : 0;
}

SEC("raw_tp")
int run(void *context)
{
	struct key key = { 7, 3 };
	struct event event = { 42, "an event" };
	u32 zero = 0;
	struct usage *usage = map_lookup(&uses, &key);
	u64 *total = map_lookup(&totals, &zero);
	struct flags *flags = map_lookup(&marks, &zero);

	if (usage) {
		usage->count++;
		latest = *usage;
		recent[1] = usage->last;
	}
	if (total)
		*total += lowest;
	if (flags) {
		flags->high = 9;
		bits = *flags;
	}
	number.whole += 1ULL << 32;
	packed.four = 4;
	ringbuf_output(&events, &event, sizeof(event), 0);
	return lowest;
}
