/* flags: -O1
 *
 * A program with USDT probes, as the compiler's operands and as fixed ones. It prints how often the
 * probe with a semaphore was watched, and runs once for each line of its input.
 */
#include <stdio.h>

#define NOINLINE __attribute__((noinline))


/* What sys/sdt.h makes of a probe; `arguments` are as in the note, %n for operands. */
#define PROBE(name, semaphore, arguments, ...)                                                     \
	__asm__ volatile("990:	nop\n"                                                             \
			 ".pushsection .note.stapsdt,\"\",\"note\"\n"                               \
			 ".balign 4\n"                                                             \
			 ".4byte 992f-991f,994f-993f,3\n"                                          \
			 "991:	.asciz \"stapsdt\"\n"                                              \
			 "992:	.balign 4\n"                                                       \
			 "993:	.8byte 990b\n"                                                     \
			 ".8byte _.stapsdt.base\n"                                                 \
			 ".8byte " semaphore "\n"                                                  \
			 ".asciz \"sample\"\n"                                                     \
			 ".asciz \"" name "\"\n"                                                   \
			 ".asciz \"" arguments "\"\n"                                              \
			 "994:	.balign 4\n"                                                       \
			 ".popsection\n"                                                           \
			 ".ifndef _.stapsdt.base\n"                                                \
			 ".pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n"    \
			 ".weak _.stapsdt.base\n"                                                  \
			 ".hidden _.stapsdt.base\n"                                                \
			 "_.stapsdt.base: .space 1\n"                                              \
			 ".size _.stapsdt.base, 1\n"                                               \
			 ".popsection\n"                                                           \
			 ".endif\n" ::__VA_ARGS__                                                  \
			 : "memory")

__attribute__((section(".probes"))) volatile unsigned short watchers;

static NOINLINE void two_places(int number)
{
	if (number % 2)
		PROBE("twice", "0", "-4@%0", "r"(number));
	else
		PROBE("twice", "0", "8@%0", "r"((long)number));
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
	PROBE("forms", "0",
	      "-4@$-9 8@%0 -4@%k0 -1@(%1) 1@1(%1) -2@2(%1) 4@4(%1) 8@8(%1,%2,8) 2@%w0 1@%b0",
	      "r"(number), "r"(&memory), "r"(2L));
#elif defined(__aarch64__)
	PROBE("forms", "0", "-4@-9 8@%0 -4@%0 -1@[%1] 1@[%1, 1] -2@[%1, 2] 4@[%1, 4] 8@[%1, 24] "
	      "2@%0 1@%0", "r"(number), "r"(&memory));
#endif
}

static NOINLINE int with_semaphore(void)
{
	PROBE("watched", "watchers", "-4@%0", "r"(42));
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
