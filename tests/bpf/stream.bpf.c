/* A program that writes to its standard output and error, under both names of the kernel function. */

#include "bpf.h"

LICENSE("GPL");

extern int bpf_stream_vprintk(int stream, const char *format, const void *args, u32 size) KSYM WEAK;
extern int bpf_stream_vprintk_impl(int stream, const char *format, const void *args, u32 size,
				   void *aux) KSYM WEAK;

static const char out_format[] = "number %llu\n";
static const char error_format[] = "wrong %llu\n";

SEC("syscall")
int speak(u64 *context)
{
	u64 args[1] = { context[0] };
	int result = -95;

	if (bpf_stream_vprintk) {
		result = bpf_stream_vprintk(1, out_format, args, sizeof(args));
		result = result ?: bpf_stream_vprintk(2, error_format, args, sizeof(args));
	} else if (bpf_stream_vprintk_impl) {
		result = bpf_stream_vprintk_impl(1, out_format, args, sizeof(args), 0);
		result = result ?: bpf_stream_vprintk_impl(2, error_format, args, sizeof(args), 0);
	}
	return result;
}
