/* bench_crc [PAGE_SIZE] - GB/s of each implementation of CRC-64/ISO, and of the WAL's checksum in
 * either byte order, on one core, page by page over 1 MiB that stays in the cache. */
#include "base/clock.h"
#include "base/crc64.h"
#include "base/digest.h"
#include "format/wal.h"

#include <stdio.h>
#include <stdlib.h>

#define ROUND_BYTES ((size_t)1 << 20)
#define RUN_US 300000

static uint64_t sink;

static double gb_per_s(
	uint64_t (*fn)(uint64_t, const void *, size_t), const uint8_t *data, size_t page_size)
{
	double best = 0;
	for (int run = 0; run < 5; run++) {
		int64_t start = clock_mono_us(), now;
		double bytes = 0;
		do {
			for (size_t off = 0; off < ROUND_BYTES; off += page_size)
				sink += fn(0, data + off, page_size);
			bytes += (double)ROUND_BYTES;
			now = clock_mono_us();
		} while (now - start < RUN_US / 5);
		double rate = bytes / (double)(now - start) / 1e3;
		best = rate > best ? rate : best;
	}
	return best;
}

static uint64_t wal_sum(bool big_end, const void *p, size_t n)
{
	uint32_t s[2] = {0, 0};
	wal_checksum(big_end, p, n, s);
	return s[0] ^ s[1];
}

static uint64_t wal_little(uint64_t seed, const void *p, size_t n)
{
	return seed ^ wal_sum(false, p, n);
}

static uint64_t wal_big(uint64_t seed, const void *p, size_t n)
{
	return seed ^ wal_sum(true, p, n);
}

int main(int argc, char **argv)
{
	size_t page_size = argc > 1 ? strtoul(argv[1], NULL, 10) : 4096;
	uint8_t *data = malloc(ROUND_BYTES);
	if (!data || page_size == 0 || ROUND_BYTES % page_size) {
		fprintf(stderr, "usage: bench_crc [PAGE_SIZE]   (a power of two)\n");
		return 2;
	}
	for (size_t i = 0; i < ROUND_BYTES; i++)
		data[i] = (uint8_t)(i * 2654435761u >> 13);
	printf("crc64 bytewise   %6.2f GB/s\n", gb_per_s(crc64_iso_bytewise, data, page_size));
	printf("crc64 shift      %6.2f GB/s\n", gb_per_s(crc64_shift, data, page_size));
	if (crc64_fold_usable())
		printf(
			"crc64 %-10s %6.2f GB/s\n", crc64_fold_name(), gb_per_s(crc64_fold, data, page_size));
	printf("WAL little-endian %5.2f GB/s\n", gb_per_s(wal_little, data, page_size));
	printf("WAL big-endian   %6.2f GB/s\n", gb_per_s(wal_big, data, page_size));
	printf("chosen here: %s (%02x)\n", crc64_iso_name(), (unsigned)(sink & 0xff));
	free(data);
	return 0;
}
