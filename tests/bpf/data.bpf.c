/* Global data of every section, and variables of every type that has a value. */

#include "bpf.h"

LICENSE("GPL");

enum mode { MODE_OFF, MODE_ON = 5, MODE_DEBUG = -1 };
enum big { BIG_NONE, BIG_ONE = 0x100000001ULL };

struct point {
	s32 x;
	s32 y;
};

struct packed {
	u8 tag;
	u32 number;
} __attribute__((packed));

struct config {
	char name[16];
	u8 address[6];
	u16 port;
	struct point corners[2];
	enum mode mode;
	u32 low : 3;
	s32 middle : 5;
	u32 high : 24;
	union {
		u64 whole;
		struct {
			u32 first;
			u32 last;
		};
	};
	void *pointer;
	_Bool enabled;
};

/* .data */
volatile s8 tiny = -8;
volatile u16 shorter = 65535;
volatile s32 negative = -2;
volatile u64 largest = 0xffffffffffffffffULL;
volatile _Bool flag = 1;
volatile enum mode mode = MODE_ON;
volatile enum mode minus = MODE_DEBUG;
volatile enum big big = BIG_ONE;
volatile float ratio = 0.5f;
volatile double precise = -0.1;
volatile u32 grid[2][3] = {{1, 2, 3}, {4, 5, 6}};
volatile struct packed packed = {.tag = 1, .number = 0x01020304};
volatile char greeting[8] = "hello";
struct config config = {
	.name = "eth0",
	.address = {1, 2, 3, 4, 5, 6},
	.port = 443,
	.corners = {{-1, 2}, {3, -4}},
	.mode = MODE_ON,
	.low = 5,
	.middle = -3,
	.high = 0xabcdef,
	.first = 1,
	.last = 2,
	.pointer = (void *)0x1122334455667788,
	.enabled = 1,
};
static volatile u32 private_data = 77;

/* .bss */
u64 hits;
volatile u32 many[1000];
static volatile u64 private_zero;

/* .rodata */
volatile const u32 target_pid = 0;
static volatile const u16 static_constant = 4242;
const volatile char filter[4] = "ab";

/* sections of their own */
volatile u32 custom SEC(".data.custom") = 9;
volatile u32 weak_one SEC(".data.custom") WEAK = 10;
HIDDEN volatile u32 hidden_one SEC(".data.hidden") = 11;
volatile u32 aside SEC(".bss.aside");
const volatile u32 knob SEC(".rodata.knob") = 12;

static NOINLINE int counted(void)
{
	static volatile u32 count = 100;

	return count++;
}

SEC("tracepoint/syscalls/sys_enter_getpid")
int touch(void *context)
{
	static volatile u32 count = 200;
	char text[16] = "on the stack";

	if (target_pid && (u32)(get_current_pid_tgid() >> 32) != target_pid)
		return 0;
	hits++;
	count++;
	negative = tiny + shorter + static_constant + private_data + flag + mode + minus;
	largest = config.whole + many[negative & 511] + private_zero + (u64)big + grid[1][2];
	custom += weak_one + hidden_one + aside + knob + counted() + packed.number;
	greeting[0] = filter[negative & 3] + text[largest & 15];
	private_zero = config.port + *(volatile u32 *)&ratio + *(volatile u64 *)&precise;
	return 0;
}
