/* The layout of libbpf 1.7: 24 bytes for an argument, which may have an index register. */

typedef unsigned long long spec_u64;

struct __bpf_usdt_arg_spec {
	spec_u64 val_off;
	enum { ARGUMENT_CONST, ARGUMENT_REG, ARGUMENT_REG_DEREF, ARGUMENT_SIB } arg_type;
	unsigned short idx_reg_off : 12;
	unsigned short scale_bitshift : 4;
	short reg_off;
	_Bool arg_signed;
	char arg_bitshift;
	char reserved[6];
};

#define SCALED
#include "usdt.h"
