/* Reading the kernel's structs with CO-RE: the compiler notes which field is meant, and the loader
 * puts in where the running kernel has it.
 *
 * The numbers of the questions are clang's: they end up in the relocations of the object file.
 */

#ifndef __BPF_CORE_READ_H__
#define __BPF_CORE_READ_H__

#include "bpf_helpers.h"

/* __builtin_preserve_field_info() */
enum bpf_field_info_kind {
	BPF_FIELD_BYTE_OFFSET = 0,
	BPF_FIELD_BYTE_SIZE = 1,
	BPF_FIELD_EXISTS = 2,
	BPF_FIELD_SIGNED = 3,
	BPF_FIELD_LSHIFT_U64 = 4, /* brings a bit field's highest bit to bit 63 */
	BPF_FIELD_RSHIFT_U64 = 5, /* and then its lowest to bit 0 */
};

/* __builtin_btf_type_id() */
enum bpf_type_id_kind {
	BPF_TYPE_ID_LOCAL = 0,
	BPF_TYPE_ID_TARGET = 1,
};

/* __builtin_preserve_type_info() */
enum bpf_type_info_kind {
	BPF_TYPE_EXISTS = 0,
	BPF_TYPE_SIZE = 1,
	BPF_TYPE_MATCHES = 2,
};

/* __builtin_preserve_enum_value() */
enum bpf_enum_value_kind {
	BPF_ENUMVAL_EXISTS = 0,
	BPF_ENUMVAL_VALUE = 1,
};

/* Fields: of an expression (task->pid), or of a type (struct task_struct, pid). */

#define ___bpf_core_field1(expression) expression
#define ___bpf_core_field2(type, field) (((typeof(type) *)0)->field)
#define ___bpf_core_ask(kind, field...)                                                            \
	__builtin_preserve_field_info(                                                             \
		___bpf_apply(___bpf_core_field, ___bpf_narg(field))(field), kind)

/* Of a pointer's field, by the name of the number without BPF_FIELD_. */
#define __CORE_RELO(s, field, kind) ___bpf_core_ask(BPF_FIELD_##kind, (s)->field)

#define bpf_core_field_exists(field...) ___bpf_core_ask(BPF_FIELD_EXISTS, field)
#define bpf_core_field_size(field...) ___bpf_core_ask(BPF_FIELD_BYTE_SIZE, field)
#define bpf_core_field_offset(field...) ___bpf_core_ask(BPF_FIELD_BYTE_OFFSET, field)

/* Types and enumerators. */

#define ___bpf_core_type(type) (*(typeof(type) *)0)
#define bpf_core_type_id_local(type)                                                               \
	__builtin_btf_type_id(___bpf_core_type(type), BPF_TYPE_ID_LOCAL)
#define bpf_core_type_id_kernel(type)                                                              \
	__builtin_btf_type_id(___bpf_core_type(type), BPF_TYPE_ID_TARGET)
#define bpf_core_type_exists(type)                                                                 \
	__builtin_preserve_type_info(___bpf_core_type(type), BPF_TYPE_EXISTS)
#define bpf_core_type_size(type)                                                                   \
	__builtin_preserve_type_info(___bpf_core_type(type), BPF_TYPE_SIZE)
/* clang 15 */
#define bpf_core_type_matches(type)                                                                \
	__builtin_preserve_type_info(___bpf_core_type(type), BPF_TYPE_MATCHES)

#define ___bpf_core_enum(type, value, kind)                                                        \
	__builtin_preserve_enum_value(*(typeof(type) *)value, kind)
#define bpf_core_enum_value_exists(enum_type, enum_value)                                          \
	___bpf_core_enum(enum_type, enum_value, BPF_ENUMVAL_EXISTS)
#define bpf_core_enum_value(enum_type, enum_value)                                                 \
	___bpf_core_enum(enum_type, enum_value, BPF_ENUMVAL_VALUE)

/* A pointer that the verifier takes for one to `type` of the running kernel (Linux 6.2). */
extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym __weak;
#define bpf_core_cast(ptr, type)                                                                   \
	((typeof(type) *)bpf_rdonly_cast((ptr), bpf_core_type_id_kernel(type)))

/* One read, of what `src` points to; the helper's result: 0 or the length, or -errno. */

#define ___bpf_core_at(address) ((const void *)__builtin_preserve_access_index(address))
#define ___bpf_plain_at(address) ((const void *)(address))

#define bpf_core_read(dst, sz, src) bpf_probe_read_kernel(dst, sz, ___bpf_core_at(src))
#define bpf_core_read_user(dst, sz, src) bpf_probe_read_user(dst, sz, ___bpf_core_at(src))
#define bpf_core_read_str(dst, sz, src) bpf_probe_read_kernel_str(dst, sz, ___bpf_core_at(src))
#define bpf_core_read_user_str(dst, sz, src) bpf_probe_read_user_str(dst, sz, ___bpf_core_at(src))

/* Chains: BPF_CORE_READ(task, mm, exe_file, f_inode) is task->mm->exe_file->f_inode.
 *
 * A step reads one field of what a pointer points to. The pointer is itself a step, and so on
 * down to `src`; it appears once in the text of each, or the text would double with every field.
 * `read` is the helper, `at` says whether the field is relocated.
 */

#define ___bpf_step(read, at, pointer, field)                                                      \
	({                                                                                         \
		__auto_type ___bpf_from = (pointer);                                               \
		typeof(___bpf_from->field) ___bpf_value;                                           \
		read((void *)&___bpf_value, sizeof(___bpf_value), at(&___bpf_from->field));        \
		___bpf_value;                                                                      \
	})
#define ___bpf_last(read, at, dst, pointer, field)                                                 \
	({                                                                                         \
		__auto_type ___bpf_from = (pointer);                                               \
		read((void *)(dst), sizeof(*(dst)), at(&___bpf_from->field));                      \
	})

#define ___bpf_chain1 ___bpf_step
#define ___bpf_chain2(read, at, pointer, field, rest...) \
	___bpf_chain1(read, at, ___bpf_step(read, at, pointer, field), rest)
#define ___bpf_chain3(read, at, pointer, field, rest...) \
	___bpf_chain2(read, at, ___bpf_step(read, at, pointer, field), rest)
#define ___bpf_chain4(read, at, pointer, field, rest...) \
	___bpf_chain3(read, at, ___bpf_step(read, at, pointer, field), rest)
#define ___bpf_chain5(read, at, pointer, field, rest...) \
	___bpf_chain4(read, at, ___bpf_step(read, at, pointer, field), rest)
#define ___bpf_chain6(read, at, pointer, field, rest...) \
	___bpf_chain5(read, at, ___bpf_step(read, at, pointer, field), rest)
#define ___bpf_chain7(read, at, pointer, field, rest...) \
	___bpf_chain6(read, at, ___bpf_step(read, at, pointer, field), rest)
#define ___bpf_chain8(read, at, pointer, field, rest...) \
	___bpf_chain7(read, at, ___bpf_step(read, at, pointer, field), rest)
#define ___bpf_chain9(read, at, pointer, field, rest...) \
	___bpf_chain8(read, at, ___bpf_step(read, at, pointer, field), rest)
#define ___bpf_chain10(read, at, pointer, field, rest...) \
	___bpf_chain9(read, at, ___bpf_step(read, at, pointer, field), rest)

#define ___bpf_into1(read, last, at, dst, pointer, field) ___bpf_last(last, at, dst, pointer, field)
#define ___bpf_into2(read, last, at, dst, pointer, field, rest...) \
	___bpf_into1(read, last, at, dst, ___bpf_step(read, at, pointer, field), rest)
#define ___bpf_into3(read, last, at, dst, pointer, field, rest...) \
	___bpf_into2(read, last, at, dst, ___bpf_step(read, at, pointer, field), rest)
#define ___bpf_into4(read, last, at, dst, pointer, field, rest...) \
	___bpf_into3(read, last, at, dst, ___bpf_step(read, at, pointer, field), rest)
#define ___bpf_into5(read, last, at, dst, pointer, field, rest...) \
	___bpf_into4(read, last, at, dst, ___bpf_step(read, at, pointer, field), rest)
#define ___bpf_into6(read, last, at, dst, pointer, field, rest...) \
	___bpf_into5(read, last, at, dst, ___bpf_step(read, at, pointer, field), rest)
#define ___bpf_into7(read, last, at, dst, pointer, field, rest...) \
	___bpf_into6(read, last, at, dst, ___bpf_step(read, at, pointer, field), rest)
#define ___bpf_into8(read, last, at, dst, pointer, field, rest...) \
	___bpf_into7(read, last, at, dst, ___bpf_step(read, at, pointer, field), rest)
#define ___bpf_into9(read, last, at, dst, pointer, field, rest...) \
	___bpf_into8(read, last, at, dst, ___bpf_step(read, at, pointer, field), rest)
#define ___bpf_into10(read, last, at, dst, pointer, field, rest...) \
	___bpf_into9(read, last, at, dst, ___bpf_step(read, at, pointer, field), rest)

#define ___bpf_chain(read, at, src, fields...)                                                     \
	___bpf_apply(___bpf_chain, ___bpf_narg(fields))(read, at, src, fields)
#define ___bpf_into(read, last, at, dst, src, fields...)                                           \
	___bpf_apply(___bpf_into, ___bpf_narg(fields))(read, last, at, dst, src, fields)

/* Kernel memory, relocated. */
#define BPF_CORE_READ(src, a, more...) \
	___bpf_chain(bpf_probe_read_kernel, ___bpf_core_at, src, a, ##more)
#define BPF_CORE_READ_INTO(dst, src, a, more...) \
	___bpf_into(bpf_probe_read_kernel, bpf_probe_read_kernel, ___bpf_core_at, dst, src, a, ##more)
#define BPF_CORE_READ_STR_INTO(dst, src, a, more...) \
	___bpf_into(bpf_probe_read_kernel, bpf_probe_read_kernel_str, ___bpf_core_at, dst, src, a, ##more)

/* User memory that has the kernel's types, relocated. */
#define BPF_CORE_READ_USER(src, a, more...) \
	___bpf_chain(bpf_probe_read_user, ___bpf_core_at, src, a, ##more)
#define BPF_CORE_READ_USER_INTO(dst, src, a, more...) \
	___bpf_into(bpf_probe_read_user, bpf_probe_read_user, ___bpf_core_at, dst, src, a, ##more)
#define BPF_CORE_READ_USER_STR_INTO(dst, src, a, more...) \
	___bpf_into(bpf_probe_read_user, bpf_probe_read_user_str, ___bpf_core_at, dst, src, a, ##more)

/* The same without relocations: for types that are the program's own. */
#define BPF_PROBE_READ(src, a, more...) \
	___bpf_chain(bpf_probe_read_kernel, ___bpf_plain_at, src, a, ##more)
#define BPF_PROBE_READ_INTO(dst, src, a, more...) \
	___bpf_into(bpf_probe_read_kernel, bpf_probe_read_kernel, ___bpf_plain_at, dst, src, a, ##more)
#define BPF_PROBE_READ_STR_INTO(dst, src, a, more...) \
	___bpf_into(bpf_probe_read_kernel, bpf_probe_read_kernel_str, ___bpf_plain_at, dst, src, a, ##more)

#define BPF_PROBE_READ_USER(src, a, more...) \
	___bpf_chain(bpf_probe_read_user, ___bpf_plain_at, src, a, ##more)
#define BPF_PROBE_READ_USER_INTO(dst, src, a, more...) \
	___bpf_into(bpf_probe_read_user, bpf_probe_read_user, ___bpf_plain_at, dst, src, a, ##more)
#define BPF_PROBE_READ_USER_STR_INTO(dst, src, a, more...) \
	___bpf_into(bpf_probe_read_user, bpf_probe_read_user_str, ___bpf_plain_at, dst, src, a, ##more)

/* Bit fields. `s` is a pointer; the value is a __u64, with the sign of a signed field. */

#define ___bpf_bits_shifted(s, field, word)                                                        \
	({                                                                                         \
		unsigned long long ___bpf_high =                                                   \
			(word) << ___bpf_core_ask(BPF_FIELD_LSHIFT_U64, (s)->field);               \
		unsigned int ___bpf_down = ___bpf_core_ask(BPF_FIELD_RSHIFT_U64, (s)->field);      \
		___bpf_core_ask(BPF_FIELD_SIGNED, (s)->field)                                      \
			? (unsigned long long)((long long)___bpf_high >> ___bpf_down)              \
			: ___bpf_high >> ___bpf_down;                                              \
	})

/* Where the field's word is. The compiler is not to know: it would merge the address with the
 * offsets of other accesses, of which each is relocated for itself. */
#define ___bpf_bits_address(s, field)                                                              \
	({                                                                                         \
		const void *___bpf_place =                                                         \
			(const void *)(s) + ___bpf_core_ask(BPF_FIELD_BYTE_OFFSET, (s)->field);    \
		barrier_var(___bpf_place);                                                         \
		___bpf_place;                                                                      \
	})

/* Of any memory, by a helper. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ___bpf_bits_low(word, size) (&(word))
#else
#define ___bpf_bits_low(word, size) ((void *)&(word) + sizeof(word) - (size))
#endif
#define BPF_CORE_READ_BITFIELD_PROBED(s, field)                                                    \
	({                                                                                         \
		unsigned long long ___bpf_word = 0;                                                \
		unsigned int ___bpf_bytes = ___bpf_core_ask(BPF_FIELD_BYTE_SIZE, (s)->field);      \
		bpf_probe_read_kernel(___bpf_bits_low(___bpf_word, ___bpf_bytes), ___bpf_bytes,    \
				      (const void *)(s) +                                          \
					      ___bpf_core_ask(BPF_FIELD_BYTE_OFFSET, (s)->field)); \
		___bpf_bits_shifted(s, field, ___bpf_word);                                        \
	})

/* Of memory that the program may read itself (BPF_PROG's arguments). */
#define BPF_CORE_READ_BITFIELD(s, field)                                                           \
	({                                                                                         \
		const void *___bpf_address = ___bpf_bits_address(s, field);                        \
		unsigned long long ___bpf_word = 0;                                                \
		switch (___bpf_core_ask(BPF_FIELD_BYTE_SIZE, (s)->field)) {                        \
		case 1:                                                                            \
			___bpf_word = *(const unsigned char *)___bpf_address;                      \
			break;                                                                     \
		case 2:                                                                            \
			___bpf_word = *(const unsigned short *)___bpf_address;                     \
			break;                                                                     \
		case 4:                                                                            \
			___bpf_word = *(const unsigned int *)___bpf_address;                       \
			break;                                                                     \
		case 8:                                                                            \
			___bpf_word = *(const unsigned long long *)___bpf_address;                 \
			break;                                                                     \
		}                                                                                  \
		___bpf_bits_shifted(s, field, ___bpf_word);                                        \
	})

#define ___bpf_bits_store(type, address, mask, bits)                                               \
	(*(type *)(address) = (*(type *)(address) & ~(mask)) | (bits))
#define BPF_CORE_WRITE_BITFIELD(s, field, new_val)                                                 \
	({                                                                                         \
		void *___bpf_address = (void *)___bpf_bits_address(s, field);                      \
		unsigned int ___bpf_up = ___bpf_core_ask(BPF_FIELD_LSHIFT_U64, (s)->field);        \
		unsigned int ___bpf_width = ___bpf_core_ask(BPF_FIELD_RSHIFT_U64, (s)->field);     \
		unsigned int ___bpf_bit = ___bpf_width - ___bpf_up;                                \
		unsigned long long ___bpf_mask = ~0ULL >> ___bpf_width << ___bpf_bit;              \
		unsigned long long ___bpf_new =                                                    \
			(unsigned long long)(new_val) << ___bpf_bit & ___bpf_mask;                 \
		switch (___bpf_core_ask(BPF_FIELD_BYTE_SIZE, (s)->field)) {                        \
		case 1:                                                                            \
			___bpf_bits_store(unsigned char, ___bpf_address, ___bpf_mask, ___bpf_new); \
			break;                                                                     \
		case 2:                                                                            \
			___bpf_bits_store(unsigned short, ___bpf_address, ___bpf_mask, ___bpf_new); \
			break;                                                                     \
		case 4:                                                                            \
			___bpf_bits_store(unsigned int, ___bpf_address, ___bpf_mask, ___bpf_new);  \
			break;                                                                     \
		case 8:                                                                            \
			___bpf_bits_store(unsigned long long, ___bpf_address, ___bpf_mask,         \
					  ___bpf_new);                                             \
			break;                                                                     \
		}                                                                                  \
	})

#endif
