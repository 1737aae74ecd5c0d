/*
 * The C core of the Python library `ebpf`.
 *
 * The headers included below are plain declarations: the C compiler includes them through this
 * file, and cffi's cdef() reads the same text. So they carry no include guard, no #include, no
 * attribute and no directive but `#define NAME number`.
 *
 * Every function returns a value >= 0, or -errno.
 */
#ifndef EBPF_CORE_H
#define EBPF_CORE_H

#include <stdint.h>

#include "ebpf/attr.h"
#include "ebpf/perf_event.h"
#include "ebpf/sys.h"
#include "ebpf/map.h"
#include "ebpf/ring.h"
#include "ebpf/user_ring.h"
#include "ebpf/perf.h"
#include "ebpf/xsk.h"
#include "ebpf/btf.h"
#include "ebpf/bpffs.h"

#endif
