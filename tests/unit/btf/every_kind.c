/* Holds every BTF kind that clang writes; the tests also ask clang for the offsets in it. */

#define TYPE_TAG __attribute__((btf_type_tag("user")))
#define DECL_TAG(x) __attribute__((btf_decl_tag(x)))

enum small { SMALL_NEGATIVE = -1, SMALL = 5 };
enum unsigned_small { ALL_BITS = 0xffffffff };
enum large { LARGE = 0x123456789abcULL };
enum large_negative { LARGE_NEGATIVE = -0x123456789abcLL };

struct declared;
union declared_union;
typedef int integer;

struct inner {
	int first;
	union {
		long number;
		struct {
			char low, high;
		};
	};
};

typedef const volatile struct inner qualified_inner;

struct outer {
	int head;
	qualified_inner embedded;
	struct inner table[3][4];
	unsigned int three : 3;
	unsigned int seven : 7;
	long : 0;
	union {
		struct inner anonymous_holds;
		unsigned char bytes[2];
	};
	const volatile char *restrict text;
	struct declared *declared;
	union declared_union *declared_union;
	float single;
	double twice;
	_Bool truth;
	enum small small;
	enum unsigned_small unsigned_small;
	enum large large;
	enum large_negative large_negative;
	int TYPE_TAG *tagged;
	int (*function)(int x, ...);
	char flexible[];
} DECL_TAG("on a struct");

struct outer in_bss DECL_TAG("on a variable");
static int static_variable;
extern int external(integer value DECL_TAG("on a parameter"));
__attribute__((section("named"))) int in_named_section;

int defined(struct outer *argument)
{
	static_variable += 1;
	return external(argument->head) + static_variable + in_bss.head + in_named_section;
}
