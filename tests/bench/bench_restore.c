/*
 * bench_restore DIR [MB [INCREMENTS]] - restores beside the plainest thing that a disk can do.
 *
 * In DIR a replica is made of a database of MB megabytes of incompressible pages and INCREMENTS
 * transactions of 8 pages each. Then five times in turn: copy and fsync a file of that size, and
 * restore. Last, 300 increments through a store that answers 80 ms late. Prints JSON, medians.
 */
#include "base/clock.h"
#include "base/fs.h"
#include "format/ltx.h"
#include "format/ltxset.h"
#include "restore/restore.h"
#include "store/fault.h"

#include "base/endian.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define PAGE 4096
#define RUNS 5

static void must(int rc, const struct err *e, const char *what)
{
	if (rc) {
		fprintf(stderr, "bench_restore: %s: %s\n", what, e ? e->text : "failed");
		exit(1);
	}
}

static uint64_t *sums; /* of each page as it is now */
static uint64_t db_sum;
static uint64_t seed = 88172645463325252u;

static void random_page(uint8_t *p, uint32_t pgno, uint32_t n_page)
{
	for (size_t i = 0; i < PAGE; i += 8) {
		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		memcpy(p + i, &seed, 8);
	}
	if (pgno != 1)
		return;
	memset(p, 0, 100);
	memcpy(p, "SQLite format 3", 16);
	put_be16(p + 16, PAGE);
	p[18] = p[19] = 2;
	p[21] = 64;
	p[22] = p[23] = 32;
	put_be32(p + 28, n_page);
}

static int to_file(void *ctx, const void *p, size_t n, struct err *e)
{
	return fwrite(p, 1, n, ctx) == n ? ERR_OK : err_set(e, ERR_IO, "cannot write");
}

/* The file of TXID txid: all pages for the first, else `pages` of them at random. The checksum
 * before it is known, the one after it not until the end: header bytes are written twice. */
static void make_file(
	struct store *s, const char *dir, uint64_t txid, uint32_t n_page, uint32_t pages)
{
	struct err e = ERR_INIT;
	uint8_t *page = malloc(PAGE), *want = calloc(n_page + 1, 1), *content = NULL;
	uint64_t before = db_sum;
	want[1] = 1;
	for (uint32_t i = 1; i < pages; i++) {
		random_page(page, 2, n_page);
		want[1 + get_be32(page) % n_page] = 1;
	}
	/* Two passes with the same numbers: the first for the checksum. */
	uint64_t start = seed;
	for (int pass = 0; pass < 2; pass++) {
		struct ltx_header h = {.page_size = PAGE,
			.commit = n_page,
			.min_txid = txid,
			.max_txid = txid,
			.timestamp = 1700000000000 + (int64_t)txid,
			.node_id = 1,
			.ours = true,
			.before_checksum = txid > 1 ? before : 0,
			.after_checksum = db_sum};
		char tmp[512], name[64], prefix[16], base[LTX_NAME_SIZE];
		snprintf(tmp, sizeof(tmp), "%s/making", dir);
		FILE *f = pass ? fopen(tmp, "w+") : NULL;
		struct ltx_encoder *enc = NULL;
		if (pass)
			must(ltx_encoder_new(&enc, &h, to_file, f, &e), &e, "encode");
		seed = start;
		for (uint32_t pgno = 1; pgno <= n_page; pgno++) {
			if (txid > 1 && !want[pgno])
				continue;
			random_page(page, pgno, n_page);
			if (pass) {
				must(ltx_encoder_page(enc, pgno, page, &e), &e, "encode");
				continue;
			}
			uint64_t sum = ltx_page_checksum(pgno, page, PAGE);
			db_sum = ltx_checksum_xor(db_sum, sum ^ sums[pgno]);
			sums[pgno] = sum;
		}
		if (!pass)
			continue;
		must(ltx_encoder_finish(enc, NULL, NULL, &e), &e, "encode");
		ltx_encoder_free(enc);
		fflush(f);
		ltx_format_name(txid, txid, base);
		store_level_prefix(s, 0, prefix);
		snprintf(name, sizeof(name), "%s%s", prefix, base);
		struct store_body body = {.fd = fileno(f), .size = (uint64_t)ftell(f)};
		struct store_put_opts opts = {.timestamp_ms = h.timestamp};
		must(store_put(s, name, &body, &opts, &e), &e, "put");
		fclose(f);
		unlink(tmp);
	}
	free(page);
	free(want);
	free(content);
}

static void make_replica(struct store *s, const char *dir, uint32_t n_page, unsigned increments)
{
	free(sums);
	sums = calloc(n_page + 1, sizeof(*sums));
	db_sum = 0;
	make_file(s, dir, 1, n_page, n_page);
	for (unsigned i = 0; i < increments; i++)
		make_file(s, dir, i + 2, n_page, 8);
}

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return x < y ? -1 : x > y;
}

static int64_t median(int64_t *v)
{
	qsort(v, RUNS, sizeof(*v), by_value);
	return v[RUNS / 2];
}

/* cp --reflink=never and fsync. */
static int64_t copy_file(const char *from, const char *to)
{
	static char chunk[256 * 1024];
	int64_t start = clock_mono_us();
	int in = fs_open(from, O_RDONLY, 0), out = fs_open(to, O_WRONLY | O_CREAT | O_EXCL, 0600);
	for (ssize_t n; (n = read(in, chunk, sizeof(chunk))) > 0;)
		must(fs_write_full(out, chunk, (size_t)n), NULL, "copy");
	must(fs_fsync(out), NULL, "fsync");
	fs_close(in);
	fs_close(out);
	int64_t took = clock_mono_us() - start;
	unlink(to);
	return took;
}

static int64_t restore(struct store *s, const char *to, struct restore_result *r)
{
	struct err e = ERR_INIT;
	struct restore_options o = {.output = to, .state_dir = ""};
	int64_t start = clock_mono_us();
	must(restore_run(s, &o, r, &e), &e, "restore");
	restore_plan_free(&r->plan);
	return clock_mono_us() - start;
}

static void bench_disk(const char *dir, uint32_t mb, unsigned increments)
{
	struct err e = ERR_INIT;
	struct store *s;
	char url[400], out[400], copy[400];
	snprintf(url, sizeof(url), "%s/replica", dir);
	snprintf(out, sizeof(out), "%s/restored", dir);
	snprintf(copy, sizeof(copy), "%s/copy", dir);
	must(store_open(&s, url, NULL, &e), &e, "open");
	make_replica(s, dir, mb * (1 << 20) / PAGE, increments);
	int64_t ours[RUNS], plain[RUNS];
	struct restore_result r;
	for (int i = 0; i < RUNS; i++) {
		sync();
		ours[i] = restore(s, out, &r);
		sync();
		plain[i] = copy_file(out, copy);
		unlink(out);
	}
	store_close(s);
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	printf("{\"mb\":%" PRIu32 ",\"increments\":%u,\"files\":%zu,\"restore_ms\":%" PRId64
		   ",\"copy_ms\":%" PRId64 ",\"max_rss_kb\":%ld,\"proven\":%s}\n",
		mb, increments, r.files, median(ours) / 1000, median(plain) / 1000, usage.ru_maxrss,
		r.proof == RESTORE_PROVEN ? "true" : "false");
}

static void bench_far(const char *dir)
{
	struct err e = ERR_INIT;
	struct store *s;
	char out[400];
	snprintf(out, sizeof(out), "%s/restored", dir);
	must(store_fault_register("far", NULL, &e), &e, "register");
	must(store_open(&s, "fault://far", NULL, &e), &e, "open");
	make_replica(s, dir, 2000, 300);
	struct store_fault late = {.action = STORE_FAULT_DELAY, .delay_us = 80000};
	store_fault_add("far", &late);
	int64_t took[RUNS];
	struct restore_result r;
	for (int i = 0; i < RUNS; i++) {
		took[i] = restore(s, out, &r);
		unlink(out);
	}
	printf("{\"increments\":300,\"round_trip_ms\":80,\"restore_ms\":%" PRId64 "}\n",
		median(took) / 1000);
	store_close(s);
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		fprintf(stderr, "usage: bench_restore DIR [MB [INCREMENTS]]\n");
		return 2;
	}
	bench_far(argv[1]);
	bench_disk(argv[1], argc > 2 ? (uint32_t)atoi(argv[2]) : 1024,
		argc > 3 ? (unsigned)atoi(argv[3]) : 1000);
	return 0;
}
