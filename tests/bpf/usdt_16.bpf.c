/* The layout of libbpf up to 1.6: 16 bytes for an argument. */

typedef unsigned long long spec_u64;

struct __bpf_usdt_arg_spec {
	spec_u64 val_off;
	enum { ARGUMENT_CONST, ARGUMENT_REG, ARGUMENT_REG_DEREF } arg_type;
	short reg_off;
	_Bool arg_signed;
	char arg_bitshift;
};

#include "usdt.h"
