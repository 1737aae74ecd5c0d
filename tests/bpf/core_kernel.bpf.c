/* Relocations to the running kernel: fields moved, made bitfields, missing, and of flavours.
 *
 * The structs are written from memory of what they contain, not of where. Needs no header.
 */
#define SEC(name) __attribute__((section(name), used))
#define CORE __attribute__((preserve_access_index))

typedef unsigned int u32;
typedef unsigned long long u64;

#define offset(access) __builtin_preserve_field_info(access, 0)
#define bytes(access) __builtin_preserve_field_info(access, 1)
#define exists(access) __builtin_preserve_field_info(access, 2)
#define is_signed(access) __builtin_preserve_field_info(access, 3)
#define left(access) __builtin_preserve_field_info(access, 4)
#define right(access) __builtin_preserve_field_info(access, 5)
#define everything(access)                                                                     \
	(offset(access) + bytes(access) + exists(access) + is_signed(access) + left(access) +   \
	 right(access))
#define whole(name)                                                                            \
	(result = __builtin_preserve_type_info(*(name *)0, 0),                                  \
	 result = __builtin_preserve_type_info(*(name *)0, 1),                                  \
	 result = __builtin_preserve_type_info(*(name *)0, 2),                                  \
	 result = __builtin_btf_type_id(*(name *)0, 1))
#define enumerator(name, value)                                                                \
	(result = __builtin_preserve_enum_value(*(name *)value, 0),                             \
	 result = __builtin_preserve_enum_value(*(name *)value, 1))

struct list_head {
	struct list_head *next, *prev;
};

struct mm_struct {
	u64 start_stack, arg_start;
} CORE;

struct signal_struct {
	int nr_threads;
	struct {
		u64 rlim_cur, rlim_max;
	} rlim[16];
} CORE;

struct task_struct {
	int pid, tgid;
	int exit_code;
	struct task_struct *real_parent, *group_leader;
	char comm[16];
	struct mm_struct *mm;
	struct signal_struct *signal;
	u32 flags;
	u32 in_execve : 1;
	u32 no_new_privs : 1;
	struct list_head tasks;
	u64 nvcsw;
	int no_such_field;
} CORE;

struct task_struct___old {
	long state;
} CORE;

struct task_struct___new {
	u32 __state;
} CORE;

struct sk_buff {
	u32 len, data_len;
	unsigned char *head, *data;
	unsigned char pkt_type : 3;
	unsigned char ip_summed : 2;
	unsigned short protocol;
	unsigned short cloned : 1;
} CORE;

struct tcp_sock {
	u32 srtt_us, snd_cwnd;
	unsigned char nonagle : 4;
} CORE;

struct file {
	u32 f_mode;
	struct {
		struct dentry *dentry;
	} f_path;
} CORE;

struct no_such_struct {
	int x;
} CORE;

enum bpf_map_type { BPF_MAP_TYPE_RINGBUF = 3, BPF_MAP_TYPE_NONE_SUCH };
enum bpf_prog_type___flavour { BPF_PROG_TYPE_XDP = 99 };
enum pid_type { PIDTYPE_PID = 77, PIDTYPE_MAX = 78 };

typedef int (*initcall_t)(void);
typedef unsigned int gfp_t;
typedef u64 no_such_typedef;

void *volatile sink;
volatile u64 result;

SEC("socket") int task(struct task_struct *t)
{
	struct task_struct___old *old = (void *)t;
	struct task_struct___new *new = (void *)t;

	result = t->pid + t->tgid + t->exit_code + t->flags + t->nvcsw + t->comm[3];
	result = t->group_leader->real_parent->pid + t->mm->arg_start + t->mm->start_stack;
	result = t->signal->nr_threads + t->signal->rlim[7].rlim_max;
	sink = &t->tasks.prev, sink = &t->comm[15], sink = t->tasks.next;
	result = everything(t->in_execve) + everything(t->no_new_privs) + everything(t->pid);
	result = exists(old->state) + exists(new->__state) + exists(t->no_such_field);
	if (exists(new->__state))
		result = new->__state;
	else
		result = old->state;
	return 0;
}

SEC("socket") int network(struct sk_buff *s)
{
	struct tcp_sock *t = (void *)s;

	result = s->len + s->data_len + (u64)s->head + (u64)s->data + s->protocol;
	result = everything(s->pkt_type) + everything(s->ip_summed) + everything(s->cloned);
	result = t->srtt_us + t->snd_cwnd + everything(t->nonagle);
	return 0;
}

SEC("socket") int missing(struct no_such_struct *m)
{
	struct task_struct *t = (void *)m;

	sink = &m->x;
	result = exists(m->x);
	sink = &t->no_such_field;
	return 0;
}

SEC("socket") int values(struct file *f)
{
	whole(struct task_struct), whole(struct list_head), whole(struct no_such_struct);
	whole(initcall_t), whole(gfp_t), whole(no_such_typedef), whole(enum pid_type);
	whole(struct file);
	enumerator(enum bpf_map_type, BPF_MAP_TYPE_RINGBUF);
	enumerator(enum bpf_map_type, BPF_MAP_TYPE_NONE_SUCH);
	enumerator(enum bpf_prog_type___flavour, BPF_PROG_TYPE_XDP);
	enumerator(enum pid_type, PIDTYPE_PID), enumerator(enum pid_type, PIDTYPE_MAX);
	result = f->f_mode;
	sink = f->f_path.dentry;
	return 0;
}
