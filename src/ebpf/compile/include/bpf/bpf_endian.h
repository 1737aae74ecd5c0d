/* Byte order: between a machine's integers and those on the network, which are big-endian.
 *
 * Constants are converted when the program is compiled.
 */

#ifndef __BPF_ENDIAN__
#define __BPF_ENDIAN__

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ___bpf_be(bits, x) ((__u##bits)__builtin_bswap##bits(x))
#elif __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define ___bpf_be(bits, x) ((__u##bits)(x))
#else
#error "bpf_endian.h: the compiler does not say which byte order it compiles for"
#endif

#define bpf_htons(x) ___bpf_be(16, x)
#define bpf_ntohs(x) ___bpf_be(16, x)
#define bpf_htonl(x) ___bpf_be(32, x)
#define bpf_ntohl(x) ___bpf_be(32, x)
#define bpf_cpu_to_be64(x) ___bpf_be(64, x)
#define bpf_be64_to_cpu(x) ___bpf_be(64, x)

/* What older programs call, for values and for constants; here one does for both. */
#define __bpf_htons bpf_htons
#define __bpf_ntohs bpf_ntohs
#define __bpf_htonl bpf_htonl
#define __bpf_ntohl bpf_ntohl
#define __bpf_cpu_to_be64 bpf_cpu_to_be64
#define __bpf_be64_to_cpu bpf_be64_to_cpu
#define __bpf_constant_htons bpf_htons
#define __bpf_constant_ntohs bpf_ntohs
#define __bpf_constant_htonl bpf_htonl
#define __bpf_constant_ntohl bpf_ntohl
#define __bpf_constant_cpu_to_be64 bpf_cpu_to_be64
#define __bpf_constant_be64_to_cpu bpf_be64_to_cpu

#endif
