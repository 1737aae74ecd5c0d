#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <linux/version.h>

#include "ebpf/core.h"

/*
 * A program that closed its standard streams gets the lowest numbers for new descriptors, and
 * then anything that prints would write into a BPF object.
 */
static int64_t above_standard_streams(long fd)
{
	int moved;

	if (fd < 0)
		return -errno;
	if (fd > 2)
		return fd;
	moved = fcntl((int)fd, F_DUPFD_CLOEXEC, 3);
	if (moved < 0)
		moved = -errno;
	close((int)fd);
	return moved;
}

int64_t ebpf_bpf(uint32_t cmd, void *attr, uint32_t size)
{
	long result = syscall(__NR_bpf, cmd, attr, size);

	return result < 0 ? -errno : result;
}

int64_t ebpf_bpf_fd(uint32_t cmd, void *attr, uint32_t size)
{
	return above_standard_streams(syscall(__NR_bpf, cmd, attr, size));
}

int64_t ebpf_dup(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	return copy < 0 ? -errno : copy;
}

int64_t ebpf_map_memory(int fd, uint64_t size, uint64_t address)
{
	int flags = MAP_SHARED | (address ? MAP_FIXED_NOREPLACE : 0);
	void *memory = mmap((void *)(uintptr_t)address, size, PROT_READ | PROT_WRITE, flags, fd, 0);

	return memory == MAP_FAILED ? -errno : (int64_t)(uintptr_t)memory;
}

int64_t ebpf_unmap_memory(uint64_t address, uint64_t size)
{
	return munmap((void *)(uintptr_t)address, size) < 0 ? -errno : 0;
}

int64_t ebpf_file_system(const char *path)
{
	struct statfs found;

	/* Where the field is signed and of 32 bits, some types would be errors. */
	return statfs(path, &found) < 0 ? -errno : (int64_t)(uint32_t)found.f_type;
}

int64_t ebpf_enter_network(int fd)
{
	return setns(fd, CLONE_NEWNET) < 0 ? -errno : 0;
}

int64_t ebpf_perf_event_open(struct ebpf_perf_event_attr *attr, int pid, int cpu, int group_fd,
			     uint64_t flags)
{
	return above_standard_streams(syscall(__NR_perf_event_open, attr, pid, cpu, group_fd,
					      (unsigned long)(flags | PERF_FLAG_FD_CLOEXEC)));
}

int64_t ebpf_perf_set_bpf(int perf_fd, int prog_fd)
{
	return ioctl(perf_fd, PERF_EVENT_IOC_SET_BPF, prog_fd) < 0 ? -errno : 0;
}

int64_t ebpf_perf_enable(int perf_fd)
{
	return ioctl(perf_fd, PERF_EVENT_IOC_ENABLE, 0) < 0 ? -errno : 0;
}

int64_t ebpf_perf_disable(int perf_fd)
{
	return ioctl(perf_fd, PERF_EVENT_IOC_DISABLE, 0) < 0 ? -errno : 0;
}

int64_t ebpf_uapi_version(void)
{
	return LINUX_VERSION_CODE;
}
