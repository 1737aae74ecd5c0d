/* flags: -shared -fPIC -Wl,--version-script=library.map
 *
 * A library whose functions the tests of uprobes watch. Two versions of `versioned` differ in what
 * they return; each test calls them from Python.
 */
#include "probe.h"

#define NOINLINE __attribute__((noinline))

NOINLINE long twice(long number)
{
	__asm__ volatile("");
	return 2 * number;
}

NOINLINE long thrice(long number)
{
	__asm__ volatile("");
	return 3 * number;
}

NOINLINE long versioned_1(void)
{
	__asm__ volatile("");
	return 1;
}

NOINLINE long versioned_2(void)
{
	__asm__ volatile("");
	return 2;
}

__asm__(".symver versioned_1,versioned@OLD");
__asm__(".symver versioned_2,versioned@@NEW");

static long chosen_at_start(void)
{
	return 5;
}

static void *choose(void)
{
	return (void *)chosen_at_start;
}

long chosen(void) __attribute__((ifunc("choose")));

long probed(long number)
{
	PROBE("library", "probed", "0", "8@%0", "r"(number));
	return number;
}

long table[4] = { 1, 2, 3, 4 };

/* A reference counter: the kernel raises it while a probe that names it is there. */
__attribute__((section(".probes"))) volatile unsigned short watchers;

int watched(void)
{
	return watchers;
}
