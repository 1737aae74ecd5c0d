/* Every kind of CO-RE relocation, against the types of core_target.c. Needs no header.
 *
 * Each function is one program; nothing of it is run. Compile with -target bpf -g -O2.
 */
#define SEC(name) __attribute__((section(name), used))
#define CORE __attribute__((preserve_access_index))

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long s64;

enum { BYTE_OFFSET, BYTE_SIZE, EXISTS, SIGNED, LSHIFT, RSHIFT };
enum { LOCAL, TARGET };
enum { TYPE_EXISTS, TYPE_SIZE, TYPE_MATCHES };

#define field(access, kind) __builtin_preserve_field_info(access, kind)
#define type(name, kind) __builtin_preserve_type_info(*(name *)0, kind)
#define type_id(name, kind) __builtin_btf_type_id(*(name *)0, kind)
#define enumerator(name, value, kind) __builtin_preserve_enum_value(*(name *)value, kind)
#define shape(access)                                                                          \
	(field(access, BYTE_OFFSET) + field(access, BYTE_SIZE) + field(access, EXISTS))
#define all(access)                                                                            \
	(shape(access) + field(access, SIGNED) + field(access, LSHIFT) + field(access, RSHIFT))

/* Moved, nested, renamed by flavour, in arrays. */
struct inner {
	int x, y;
} CORE;

struct moved {
	int first;
	u64 second;
	struct inner in;
	struct inner row[4];
	int grid[3][5];
	void *pointer;
	const volatile char text[16];
	union {
		int in_union;
		struct {
			short deep;
			short deeper;
		};
	};
	int only_local;
	double real;
	struct forward *to_forward;
} CORE;

struct moved___flavour {
	u64 second;
	int renamed;
} CORE;

struct moved___other {
	struct inner missing_in_target;
} CORE;

/* Loads that have to become wider or narrower, or cannot. */
struct sizes {
	u8 u8_to_u64;
	u16 u16_to_u8;
	u32 u32_to_u16;
	u64 u64_to_u32;
	int s32_to_s64;
	u32 u32_to_s64;
	void *pointer;
	u32 to_struct;
	u32 to_array[4];
	u8 bool_like;
} CORE;

struct bits {
	u32 a : 3;
	u32 b : 13;
	int c : 7;
	u64 d : 40;
	u32 plain;
	u32 becomes_bits;
	_Bool flag : 1;
	u8 tiny : 5;
} CORE;

struct flexible {
	int count;
	struct inner items[];
} CORE;

struct fixed_here {
	int items[8];
} CORE;

struct shorter {
	int items[8];
} CORE;

enum state { OFF, ON = 5, NEGATIVE = -3, GONE, LARGE = 0x7fffffff };
enum state___two { ON___again = 7 };
enum wide : unsigned long long { WIDE = 0x123456789abcdefULL, WIDE_SMALL = 1 };
enum unsigned_values { HIGHEST = 0xffffffffU };
enum grown { GROWN = 1 };

struct with_enum {
	enum state state;
	enum grown grown;
} CORE;

struct missing {
	int x;
} CORE;

struct twice {
	int same, different;
} CORE;

union choice {
	int a;
	u64 b;
} CORE;

struct matching {
	int a;
	struct inner *p;
	enum state e;
	u64 (*call)(struct inner *, int);
	int list[4];
};

struct not_matching {
	int a;
	u32 sign;
};

typedef struct moved moved_t;
typedef int number_t;
typedef struct {
	int x;
} anonymous_t;
typedef u64 (*function_t)(struct moved *, int);
typedef u64 (*function_short_t)(struct moved *);
typedef int array_t[8];
typedef struct inner *pointer_t;

void *volatile sink;
volatile u64 result;

#define use(pointer) (sink = (void *)(pointer))

SEC("socket") int addresses(struct moved *m)
{
	use(&m->first), use(&m->second), use(&m->in.y), use(&m->row[2].x), use(&m[3].row[1]);
	use(&m->grid[2][4]), use(&m->pointer), use(&m->text[5]), use(&m->in_union);
	use(&m->deeper), use(&m->only_local), use(&m->real), use(&m->to_forward), use(&m[2]);
	use(&m->in), use(&m->row), use(&m->grid[1]), use(&m->text);
	return 0;
}

SEC("socket") int loads(struct moved *m)
{
	struct moved___flavour *f = (void *)m;
	struct moved___other *o = (void *)m;

	m->first = 7;
	m->second = m->in.x + m->row[3].y + m->deep + f->renamed + o->missing_in_target.x;
	m->grid[0][1] = f->second;
	return m->only_local + (long)m->pointer + m->text[1];
}

SEC("socket") int adjusted(struct sizes *s)
{
	result = s->u8_to_u64;
	result = s->u16_to_u8;
	result = s->u32_to_u16;
	result = s->u64_to_u32;
	result = (u64)s->pointer;
	result = s->to_array[1];
	result = s->bool_like;
	s->u16_to_u8 = 3;
	s->u64_to_u32 = result;
	return 0;
}

SEC("socket") int not_adjusted(struct sizes *s)
{
	result = s->s32_to_s64;
	result = s->u32_to_s64;
	result = s->to_struct;
	return 0;
}

SEC("socket") int infos(struct moved *m)
{
	struct sizes *s = (void *)m;

	result = all(m->first) + all(m->second) + all(m->in.y) + all(m->deeper);
	result = shape(m->pointer) + field(m->pointer, LSHIFT) + field(m->pointer, RSHIFT);
	result = all(m->only_local) + shape(m->text) + shape(m->row) + shape(m->in);
	result = field(m->row[2], BYTE_OFFSET) + field(m->row[2], BYTE_SIZE);
	result = field(m->row[9999], EXISTS) + field(m->grid[2][4], EXISTS);
	result = all(s->s32_to_s64) + all(s->to_struct) + shape(s->to_array) + all(s->u16_to_u8);
	return 0;
}

SEC("socket") int bitfields(struct bits *b)
{
	result = all(b->a) + all(b->b) + all(b->c) + all(b->d) + all(b->plain);
	result = all(b->becomes_bits) + all(b->flag) + all(b->tiny);
	return 0;
}

SEC("socket") int arrays(struct flexible *x)
{
	struct fixed_here *f = (void *)x;
	struct shorter *s = (void *)x;

	use(&x->items[7].y), use(&f->items[6]), use(&s->items[3]), use(&s->items[4]);
	result = field(x->items[100], EXISTS) + field(f->items[7], EXISTS) +
		 field(s->items[7], EXISTS);
	return 0;
}

SEC("socket") int enums(struct with_enum *w)
{
#define both(name, value)                                                                      \
	(result = enumerator(name, value, 0), result = enumerator(name, value, 1))
	both(enum state, OFF), both(enum state, ON), both(enum state, NEGATIVE);
	both(enum state, GONE), both(enum state, LARGE), both(enum state___two, ON___again);
	both(enum wide, WIDE), both(enum wide, WIDE_SMALL), both(enum grown, GROWN);
	both(enum unsigned_values, HIGHEST);
	result = all(w->state) + all(w->grown);
	use(&w->grown);
	return 0;
}

SEC("socket") int types(void)
{
#define whole(name)                                                                            \
	(result = type(name, TYPE_EXISTS), result = type(name, TYPE_SIZE),                      \
	 result = type(name, TYPE_MATCHES), result = type_id(name, LOCAL),                      \
	 result = type_id(name, TARGET))
	whole(struct moved), whole(struct moved___flavour), whole(struct missing);
	whole(struct matching), whole(struct not_matching), whole(moved_t), whole(number_t);
	whole(anonymous_t), whole(function_t), whole(function_short_t), whole(array_t);
	whole(pointer_t), whole(union choice), whole(enum state), whole(enum wide);
	whole(struct inner), whole(struct bits), whole(struct twice);
	return 0;
}

SEC("socket") int others(union choice *u)
{
	struct missing *m = (void *)u;
	struct twice *t = (void *)u;

	use(&u->b), use(&t->same), use(&m->x);
	result = u->a + m->x + t->same + field(m->x, EXISTS) + field(m->x, BYTE_SIZE);
	return 0;
}

SEC("socket") int ambiguous(struct twice *t)
{
	use(&t->different);
	return 0;
}
