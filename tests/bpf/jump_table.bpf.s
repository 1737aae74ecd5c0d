# A table of instruction offsets, as clang 21 and later write it for a switch.

	.section	socket,"ax",@progbits
	.globl	before
	.type	before,@function
before:
	r0 = 0
	exit
	.size	before, 16

	.globl	switching
	.type	switching,@function
switching:
	r1 = table ll
	r0 = 0
	exit
first_case:
	r0 = 1
	exit
second_case:
	r0 = 2
	exit
	.size	switching, 64

	.section	.jumptables,"",@progbits
	.type	other_table,@object
other_table:
	.quad	0
	.size	other_table, 8
	.globl	table
	.type	table,@object
table:
	.quad	48
	.quad	64
	.quad	48
	.size	table, 24

	.section	license,"aw",@progbits
	.asciz	"GPL"
