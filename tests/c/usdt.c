/* flags: -O1
 *
 * A program with USDT probes, as the compiler's operands and as fixed ones. It prints how often the
 * probe with a semaphore was watched, and runs once for each line of its input.
 */
#include <stdio.h>

#include "probe.h"

#define NOINLINE __attribute__((noinline))


__attribute__((section(".probes"))) volatile unsigned short watchers;

static NOINLINE void two_places(int number)
{
	if (number % 2)
		PROBE("sample", "twice", "0", "-4@%0", "r"(number));
	else
		PROBE("sample", "twice", "0", "8@%0", "r"((long)number));
}

static NOINLINE void forms(void)
{
	struct {
		signed char small;
		unsigned char byte;
		short half;
		unsigned int word;
		long whole[4];
	} memory = { -3, 250, -300, 4000000000u, { 11, 22, 33, 44 } };
	long number = -5;

#if defined(__x86_64__)
	PROBE("sample", "forms", "0",
	      "-4@$-9 8@%0 -4@%k0 -1@(%1) 1@1(%1) -2@2(%1) 4@4(%1) 8@8(%1,%2,8) 2@%w0 1@%b0",
	      "r"(number), "r"(&memory), "r"(2L));
#elif defined(__aarch64__)
	PROBE("sample", "forms", "0", "-4@-9 8@%0 -4@%0 -1@[%1] 1@[%1, 1] -2@[%1, 2] 4@[%1, 4] 8@[%1, 24] "
	      "2@%0 1@%0", "r"(number), "r"(&memory));
#endif
}

static NOINLINE int with_semaphore(void)
{
	PROBE("sample", "watched", "watchers", "-4@%0", "r"(42));
	return watchers;
}

int main(void)
{
	int character, runs = 0;

	while ((character = getchar()) != EOF) {
		if (character != '\n')
			continue;
		two_places(++runs);
		forms();
		printf("%d\n", with_semaphore());
		fflush(stdout);
	}
	return 0;
}
