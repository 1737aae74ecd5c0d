/*
 * The control plane over libbpf.
 *
 *   control_libbpf PROGRAM_FD OTHER_FD CGROUP_PROGRAM_FD CGROUP_FD TRIE_FD INTERFACE
 *
 * Per line "WAY COUNT" on standard input: do it COUNT times, print the nanoseconds of one. The first
 * two are XDP programs, TRIE_FD is an LPM trie of IPv4 networks to u64.
 */
#include <arpa/inet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <linux/bpf.h>

struct network {
	uint32_t length;
	uint32_t address;
};

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void check(int result, const char *what)
{
	if (result < 0) {
		perror(what);
		exit(1);
	}
}

static int attach(int program, int where, enum bpf_attach_type type)
{
	int link = bpf_link_create(program, where, type, NULL);

	check(link, "attach");
	return link;
}

/* The same networks as in control.py: 10.0.0.0/24, 10.0.1.0/24, ... */
static void fill(struct network *networks, uint64_t *values, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		networks[i].length = 24;
		networks[i].address = htonl((10u << 24) + (i << 8));
		values[i] = i;
	}
}

static double trie(const char *way, int fd, uint32_t count)
{
	struct network *networks = calloc(count, sizeof(*networks));
	uint64_t *values = calloc(count, sizeof(*values)), start;
	uint32_t done = count;
	double result;

	if (!networks || !values)
		check(-1, "memory");
	fill(networks, values, count);
	start = now();
	if (!strcmp(way, "update_batch"))
		check(bpf_map_update_batch(fd, networks, values, &done, NULL), "update batch");
	else
		for (uint32_t i = 0; i < count; i++)
			check(bpf_map_update_elem(fd, &networks[i], &values[i], 0), "update");
	result = (double)(now() - start) / count;
	free(networks);
	free(values);
	return result;
}

/* A link of `program`, made and closed. */
static double links(int program, int where, enum bpf_attach_type type, uint32_t count)
{
	uint64_t start = now();

	for (uint32_t i = 0; i < count; i++)
		close(attach(program, where, type));
	return (double)(now() - start) / count;
}

/* Another program in the place of the one that a link has. */
static double replace(const int *programs, int where, uint32_t count)
{
	int link = attach(programs[0], where, BPF_XDP);
	uint64_t start = now();
	double result;

	for (uint32_t i = 0; i < count; i++)
		check(bpf_link_update(link, programs[(i + 1) % 2], NULL), "replace");
	result = (double)(now() - start) / count;
	close(link);
	return result;
}

int main(int argc, char **argv)
{
	int programs[2], egress, cgroup, networks, interface;
	char way[32];
	uint32_t count;

	if (argc != 7)
		return 2;
	programs[0] = atoi(argv[1]);
	programs[1] = atoi(argv[2]);
	egress = atoi(argv[3]);
	cgroup = atoi(argv[4]);
	networks = atoi(argv[5]);
	interface = (int)if_nametoindex(argv[6]);
	while (scanf("%31s %u", way, &count) == 2) {
		double result;

		if (!strcmp(way, "xdp"))
			result = links(programs[0], interface, BPF_XDP, count);
		else if (!strcmp(way, "cgroup"))
			result = links(egress, cgroup, BPF_CGROUP_INET_EGRESS, count);
		else if (!strcmp(way, "replace"))
			result = replace(programs, interface, count);
		else
			result = trie(way, networks, count);
		printf("%f\n", result);
		fflush(stdout);
	}
	return 0;
}
