/* The types that core_local.bpf.c is relocated to: the same names, another kernel. */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

struct inner {
	long before;
	int y, x;
};

struct moved {
	char pad[100];
	u64 second;
	struct {
		struct {
			int first;
			union {
				struct inner in;
				u64 words[3];
			};
		};
	};
	struct inner row[4];
	int grid[3][5];
	const void *pointer;
	char text[32];
	int deep_before;
	short deeper, deep;
	struct {
		int in_union;
	};
	double real;
	struct forward *to_forward;
	int renamed;
};

struct sizes {
	u64 u8_to_u64;
	u8 u16_to_u8;
	u16 u32_to_u16;
	u32 u64_to_u32;
	long s32_to_s64;
	long u32_to_s64;
	const char *const pointer;
	struct inner to_struct;
	u64 to_array[4];
	_Bool bool_like;
};

struct bits {
	u32 plain : 9;
	u64 d : 33;
	u32 b : 20;
	int c;
	u8 a : 5;
	u8 becomes_bits : 2;
	u32 flag;
	u16 tiny : 11;
	u16 more : 9;
};

struct flexible {
	long count;
	struct inner items[];
};

struct fixed_here {
	long before;
	int items[];
};

struct shorter {
	long before;
	int items[4];
};

enum state { OFF = 9, ON = 6, NEGATIVE = -4, LARGE = 1, MORE };
enum wide : unsigned long long { WIDE = 0xfedcba987654321ULL, WIDE_SMALL = 2 };
enum unsigned_values { HIGHEST = 0xfffffffeU };
enum grown : unsigned long long { GROWN = 1ULL << 40 };

struct with_enum {
	long before;
	enum grown grown;
	enum state state;
};

/* Two flavours, as in BTF in which one struct occurs twice. */
struct twice {
	int same, different;
};
struct twice___2 {
	int same, between, different;
};

union choice {
	struct {
		int before, a;
	};
	u64 b;
};

struct matching {
	long before;
	u64 (*call)(struct inner *, int);
	enum state e;
	int a;
	struct inner *p;
	int list[4];
};

struct not_matching {
	int a;
	int sign;
};

typedef struct moved moved_t;
typedef long number_t;
typedef struct {
	int before, x;
} anonymous_t;
typedef u64 (*function_t)(struct moved *, long);
typedef u64 (*function_short_t)(struct moved *, int);
typedef int array_t[3];
typedef struct inner *pointer_t;

/* What nothing refers to has no debug information. */
struct moved moved;
struct sizes sizes;
struct bits bits;
struct flexible flexible;
struct fixed_here fixed_here;
struct shorter shorter;
struct with_enum with_enum;
enum wide wide;
enum unsigned_values unsigned_values;
struct twice twice;
struct twice___2 twice_2;
union choice choice;
struct matching matching;
struct not_matching not_matching;
moved_t moved_2;
number_t number;
anonymous_t anonymous;
function_t function;
function_short_t function_short;
array_t array;
pointer_t pointer;
