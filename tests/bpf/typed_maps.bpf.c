/* Maps whose keys and values have types of every kind that C programs use. */
#include "bpf.h"

typedef u16 __be16;

/* None of them negative: kernels before 6.0 take no BTF with signed enums. */
enum state { IDLE, BUSY = 5, GONE = 7 };

struct point {
	s16 x, y;
};

struct record {
	enum state state;
	char name[8];
	u8 mac[6];
	struct point corners[2];
	union {
		u32 word;
		u8 octets[4];
	};
	unsigned int low : 3;
	int high : 5;
	_Bool set;
	void *where;
	s64 delta;
	__be16 port;
};

struct pair {
	u32 a;
	u16 b;
};

struct {
	NUMBER(type, HASH);
	TYPE(key, struct pair);
	TYPE(value, struct record);
	NUMBER(max_entries, 8);
} records SEC(".maps");

struct {
	NUMBER(type, PERCPU_ARRAY);
	TYPE(key, u32);
	TYPE(value, struct point);
	NUMBER(max_entries, 2);
} points SEC(".maps");

struct {
	NUMBER(type, ARRAY);
	TYPE(key, int);
	TYPE(value, enum state);
	NUMBER(max_entries, 2);
} states SEC(".maps");

LICENSE("GPL");
