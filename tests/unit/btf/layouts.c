/* Layouts that C output must reproduce; test_c.py compiles this, prints its BTF, compiles that. */

typedef unsigned char u8;
typedef int (*callback)(void *context, const char *name, ...);
typedef int table[3][4];
typedef struct { int x; struct { char low, high; } part; } anonymous;
typedef struct forward *forward_pointer;
typedef void nothing(void);

enum byte { BYTE = 255 } __attribute__((mode(byte)));
enum half { HALF = -1 } __attribute__((mode(HI)));
enum wide { WIDE = 1 } __attribute__((mode(DI)));
enum large { LARGE = 0x123456789abcULL };
enum negative { LOWEST = -0x7fffffffffffffffLL - 1 };
enum plain { PLAIN_LOW = -5, PLAIN_HIGH = 0x7fffffff };
enum all { ALL = 0xffffffff };

struct empty {};
struct packed { char c; int i; short s; long l; } __attribute__((packed));
struct packed_end { int i; char c; } __attribute__((packed));
struct aligned { char c; int i __attribute__((aligned(16))); char d; } __attribute__((aligned(64)));
struct holds_aligned { char c; struct aligned a; char d; };
struct holds_packed { char c; struct packed p; int after; };
struct bits { int a : 3, b : 5; unsigned c : 20; int : 0; u8 d : 2; long e : 40; long f : 30; };
struct bit_gap { int a : 3; int : 4; int b : 2; char c; int : 11; int d : 6; char e; };
struct packed_bits { char c; int a : 13; long b : 50; short d; int e : 7; } __attribute__((packed));
struct enum_bits { enum byte b : 4; enum plain p : 31; _Bool t : 1; };
struct wide_int { char c; __int128 i; char d; };
struct large_gap { char c; char d __attribute__((aligned(8192))); };
struct list { struct list *next, **previous; struct tree *tree; };
struct tree { struct list items; struct tree *left, *right; };
struct functions {
	callback plain;
	callback several[4];
	int (*(*returns)(int))(long);
	int (*pointer_to_array)[5];
	int *(*array_of_arrays[2])[3];
	void (*none)(void);
	nothing *typedefed;
	struct tree (*by_value)(struct list, struct forward *);
};
struct qualified {
	const volatile int *const volatile pointer;
	char *restrict text;
	const table constant;
	int __attribute__((btf_type_tag("user"))) *tagged;
	const char __attribute__((btf_type_tag("a"))) *__attribute__((btf_type_tag("b"))) *twice;
};
struct enums {
	char c; enum byte b; enum half h; char d; enum wide w; enum large l; enum negative n;
	enum plain p; enum all a; enum { HERE, THERE } here;
};
struct nested {
	union { int i; struct { char low; long : 24; char high; }; } ;
	struct { union { long l; double d; float f; }; anonymous a; } named;
	forward_pointer pointer; table t; struct empty e; int flexible[];
};
union plain_union { char c; long l; struct packed p; };
union aligned_union { char c; char d[5]; } __attribute__((aligned(32)));
union packed_union { char c; int i[3]; long l; } __attribute__((packed));
struct holds_unions { char c; union packed_union p; union aligned_union a; char d; };

#define USE(type, name) type *use_##name;
USE(struct packed, a) USE(struct packed_end, b) USE(struct holds_aligned, c)
USE(struct holds_packed, d) USE(struct bits, e) USE(struct bit_gap, f) USE(struct packed_bits, g)
USE(struct enum_bits, h) USE(struct wide_int, i) USE(struct large_gap, j) USE(struct tree, k)
USE(struct functions, l) USE(struct qualified, m) USE(struct enums, n) USE(struct nested, o)
USE(union plain_union, p) USE(struct holds_unions, q) USE(callback, r) USE(enum all, s)
USE(struct aligned, t) USE(union packed_union, u) USE(union aligned_union, v)
