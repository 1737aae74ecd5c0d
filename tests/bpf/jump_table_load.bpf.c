/* A program that jumps by a table, as clang 21 and later write it for a switch: written in assembly
 * because older releases have no such instruction.
 */

#include "bpf.h"

LICENSE("GPL");

/* The number of the case: bits 0 and 1 of the packet's length, or 3 without a table. */
asm(".section tc,\"ax\",@progbits\n"
    ".globl switching\n"
    ".type switching,@function\n"
    "switching:\n"
    "	r2 = *(u32 *)(r1 + 0)\n"
    "	r2 &= 3\n"
    "	if r2 > 2 goto other\n"
    "	r2 <<= 3\n"
    "	r3 = table ll\n"
    "	r3 += r2\n"
    "	r3 = *(u64 *)(r3 + 0)\n"
    "	.byte 0x0d, 0x03, 0, 0, 0, 0, 0, 0\n" /* gotox r3 */
    "first:\n"
    "	r0 = 10\n"
    "	exit\n"
    "second:\n"
    "	r0 = 11\n"
    "	exit\n"
    "third:\n"
    "	r0 = 12\n"
    "	exit\n"
    "other:\n"
    "	r0 = 3\n"
    "	exit\n"
    ".size switching, 136\n"
    ".section .jumptables,\"\",@progbits\n"
    ".type table,@object\n"
    ".globl table\n"
    "table:\n"
    "	.quad 72\n"
    "	.quad 88\n"
    "	.quad 104\n"
    ".size table, 24\n");
