#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ebpf/core.h"

/* Linux 5.2, the same numbers on every architecture; C libraries have them later. */
#define NR_MOVE_MOUNT 429
#define NR_FSOPEN 430
#define NR_FSCONFIG 431
#define NR_FSMOUNT 432

/* <linux/mount.h>, which cannot be included beside every <sys/mount.h>. */
#define FSOPEN_CLOEXEC_FLAG 1
#define FSMOUNT_CLOEXEC_FLAG 1
#define FSCONFIG_STRING 1
#define FSCONFIG_CREATE 6
#define MOVE_FROM_EMPTY_PATH 4
#define MOVE_TO_EMPTY_PATH 0x40

#define STACK_SIZE 16384

/* What the child is to do, and what came of it. */
struct task {
	int (*act)(struct task *);
	int user, mount, fs, directory;
	int result;
};

static int open_context(struct task *task)
{
	(void)task;
	return syscall(NR_FSOPEN, "bpf", FSOPEN_CLOEXEC_FLAG);
}

static int mount_context(struct task *task)
{
	int mounted, result;

	mounted = syscall(NR_FSMOUNT, task->fs, FSMOUNT_CLOEXEC_FLAG, 0);
	if (mounted < 0)
		return mounted;
	result = syscall(NR_MOVE_MOUNT, mounted, "", task->directory, "",
			 MOVE_FROM_EMPTY_PATH | MOVE_TO_EMPTY_PATH);
	if (result < 0)
		result = -errno;
	close(mounted);
	errno = -result;
	return result < 0 ? -1 : 0;
}

static int child(void *argument)
{
	struct task *task = argument;

	task->result = setns(task->user, CLONE_NEWUSER);
	if (task->result == 0)
		task->result = setns(task->mount, CLONE_NEWNS);
	if (task->result == 0)
		task->result = task->act(task);
	if (task->result < 0)
		task->result = -errno;
	return 0;
}

/*
 * Waits for the child, which runs on a stack of its own with all signals held back: a handler would
 * run in this process's memory. Its end is no signal to this process and no matter to its other
 * waiters (__WCLONE).
 */
static int64_t in_namespaces(struct task *task)
{
	char stack[STACK_SIZE] __attribute__((aligned(16)));
	sigset_t all, before;
	int pid, code;

	/* A child that is killed answers nothing. */
	task->result = -EINTR;
	sigfillset(&all);
	if (sigprocmask(SIG_SETMASK, &all, &before) < 0)
		return -errno;
	pid = clone(child, stack + STACK_SIZE, CLONE_VM | CLONE_VFORK | CLONE_FILES, task);
	code = pid < 0 ? errno : 0;
	while (pid > 0 && waitpid(pid, NULL, __WCLONE) < 0 && errno == EINTR)
		;
	sigprocmask(SIG_SETMASK, &before, NULL);
	return code ? -code : task->result;
}

int64_t ebpf_bpffs_open(int user, int mount)
{
	struct task task = { .act = open_context, .user = user, .mount = mount };

	return in_namespaces(&task);
}

int64_t ebpf_bpffs_set(int fs, const char *key, const char *value)
{
	return syscall(NR_FSCONFIG, fs, FSCONFIG_STRING, key, value, 0) < 0 ? -errno : 0;
}

int64_t ebpf_bpffs_create(int fs)
{
	return syscall(NR_FSCONFIG, fs, FSCONFIG_CREATE, NULL, NULL, 0) < 0 ? -errno : 0;
}

int64_t ebpf_bpffs_mount(int user, int mount, int fs, int directory)
{
	struct task task = {
		.act = mount_context, .user = user, .mount = mount, .fs = fs, .directory = directory,
	};

	return in_namespaces(&task);
}
