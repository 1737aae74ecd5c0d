/* The oracle of test_dedup.py: libbpf's btf__dedup. Reads raw BTF from one file, writes to another. */

#include <bpf/btf.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
	struct btf *btf;
	const void *data;
	__u32 size;
	FILE *file;

	if (argc != 3)
		return 2;
	btf = btf__parse_raw(argv[1]);
	if (!btf || btf__dedup(btf, NULL))
		return 1;
	data = btf__raw_data(btf, &size);
	file = fopen(argv[2], "wb");
	if (!data || !file || fwrite(data, 1, size, file) != size || fclose(file))
		return 1;
	return 0;
}
