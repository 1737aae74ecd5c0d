/* CO-RE relocations of each kind against the running kernel, in programs that it loads. */

#include "bpf.h"

LICENSE("GPL");

#define CORE __attribute__((preserve_access_index))
#define FIELD(field, kind) __builtin_preserve_field_info(field, kind)
#define TYPE_INFO(type, kind) __builtin_preserve_type_info(*(typeof(type) *)0, kind)
#define ENUM(type, name, kind) __builtin_preserve_enum_value(*(typeof(type) *)name, kind)

enum { BYTE_OFFSET, BYTE_SIZE, EXISTS, SIGNED, LSHIFT_U64, RSHIFT_U64 };

static void *(*get_current_task)(void) = (void *)35;
static long (*probe_read_kernel)(void *to, u32 size, const void *from) = (void *)113;

struct list_head {
	struct list_head *next, *prev;
} CORE;

/* Another order than any kernel's, with one member that there is in none. */
struct task_struct {
	int tgid;
	struct task_struct *real_parent;
	int pid;
	char comm[16];
	int no_such_member;
	struct list_head tasks;
} CORE;

struct task_struct___other {
	int also_not_there;
	int prio;
} CORE;

struct no_such_struct {
	int member;
} CORE;

/* As the kernel has it, with a bitfield. */
struct sk_buff {
	u8 cloned : 1;
	u8 pkt_type : 3;
	u16 protocol;
	u32 len;
} CORE;

enum bpf_map_type { BPF_MAP_TYPE_HASH = 77, BPF_MAP_TYPE_NO_SUCH = 88 };
enum pid_type { PIDTYPE_PID = 40, PIDTYPE_MAX = 50 };

u64 results[24];

SEC("raw_tp/sys_enter")
int fields(void *context)
{
	struct task_struct *task = get_current_task(), *parent = 0;
	struct task_struct___other *other = (void *)task;
	int number = 0;

	probe_read_kernel(&number, sizeof(number), &task->pid);
	results[0] = number;
	probe_read_kernel(&parent, sizeof(parent), &task->real_parent);
	probe_read_kernel(&number, sizeof(number), &parent->tgid);
	results[1] = number;
	probe_read_kernel(&number, 1, &task->comm[3]);
	results[2] = number;
	probe_read_kernel(&number, sizeof(number), &other->prio);
	results[3] = number;
	if (FIELD(task->no_such_member, EXISTS))
		probe_read_kernel(&number, sizeof(number), &task->no_such_member);
	if (FIELD(other->also_not_there, EXISTS))
		results[4] = FIELD(other->also_not_there, BYTE_OFFSET);
	results[5] = (u64)&task->tasks.prev - (u64)task;
	return 0;
}

SEC("raw_tp/sys_enter")
int numbers(void *context)
{
	struct task_struct *task = 0;
	struct sk_buff *skb = 0;

	results[6] = FIELD(task->comm, BYTE_SIZE);
	results[7] = FIELD(task->pid, SIGNED);
	results[8] = FIELD(skb->pkt_type, LSHIFT_U64);
	results[9] = FIELD(skb->pkt_type, RSHIFT_U64);
	results[10] = FIELD(skb->pkt_type, BYTE_OFFSET);
	results[11] = FIELD(skb->pkt_type, BYTE_SIZE);
	results[12] = TYPE_INFO(struct task_struct, 0);
	results[13] = TYPE_INFO(struct no_such_struct, 0);
	results[14] = TYPE_INFO(struct sk_buff, 1);
	results[15] = ENUM(enum bpf_map_type, BPF_MAP_TYPE_HASH, 0);
	results[16] = ENUM(enum bpf_map_type, BPF_MAP_TYPE_NO_SUCH, 0);
	results[17] = ENUM(enum bpf_map_type, BPF_MAP_TYPE_HASH, 1);
	results[18] = ENUM(enum pid_type, PIDTYPE_MAX, 1);
	results[19] = __builtin_btf_type_id(*(struct task_struct *)0, 0);
	results[20] = __builtin_btf_type_id(*(struct task_struct *)0, 1);
	return 0;
}
