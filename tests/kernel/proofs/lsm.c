/* Asks the kernel for what test_hooks.py asks the library for: an LSM program. See fentry.c. */
#define FUNCTION "bpf_lsm_task_alloc"
#define PROGRAM_TYPE BPF_PROG_TYPE_LSM
#define ATTACH_TYPE BPF_LSM_MAC
#include "fentry.c"
