/*
 * A restore's memory does not depend on what it restores: at most 64 MB, by the kernel's account,
 * of databases of 1 to 3 GB with large and small pages, from a folder and from afar.
 */
#include "lib/no_memory.h" /* says whether a sanitizer has the memory */
#include "lib/tmpdir.h"

#include "base/endian.h"
#include "base/fs.h"
#include "format/ltx.h"
#include "format/ltxset.h"
#include "restore/restore.h"
#include "store/fault.h"

#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define GB (UINT64_C(1) << 30)
#define INCREMENTS 100
#define CHANGES 20 /* pages of an increment: no page changes twice */
#define LIMIT_KB (64 * 1024)

struct shape {
	uint32_t page_size, n_page;
	uint64_t checksum; /* of the database as it is now */
};

/* One page in sixteen holds something: numbers and zeros. */
static void make_page(const struct shape *s, uint32_t pgno, uint64_t version, uint8_t *p)
{
	memset(p, 0, s->page_size);
	if (pgno == 1) {
		memcpy(p, "SQLite format 3", 16);
		put_be16(p + 16, s->page_size == 65536 ? 1 : (uint16_t)s->page_size);
		p[18] = p[19] = 2;
		p[21] = 64;
		p[22] = p[23] = 32;
		put_be32(p + 28, s->n_page);
	} else if (version || pgno % 16 == 0) {
		put_be64(p, version);
		for (uint32_t i = 8; i < s->page_size; i += 64)
			put_be64(p + i, (uint64_t)pgno * i);
	}
}

static int to_file(void *ctx, const void *p, size_t n, struct err *e)
{
	return fwrite(p, 1, n, ctx) == n ? ERR_OK : err_set(e, ERR_IO, "cannot write");
}

static bool changes(const struct shape *s, uint64_t txid, uint32_t pgno)
{
	uint32_t stride = s->n_page / (INCREMENTS * CHANGES);
	return pgno == 1 || txid == 1 || (pgno % stride == 3 && pgno / stride % INCREMENTS == txid - 2);
}

/* Twice over the pages: the first time for the checksum after the file, which its header has. */
static void put_file(struct shape *s, const char *folder, uint64_t txid)
{
	uint8_t *page = malloc(s->page_size);
	uint64_t before = s->checksum;
	struct err e = ERR_INIT;
	char path[400], name[LTX_NAME_SIZE];
	ltx_format_name(txid, txid, name);
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *f = fopen(path, "w");
	struct ltx_encoder *enc = NULL;
	assert_true(page && f);
	for (int pass = 0; pass < 2; pass++) {
		struct ltx_header h = {.page_size = s->page_size,
			.commit = s->n_page,
			.min_txid = txid,
			.max_txid = txid,
			.timestamp = INT64_C(1700000000000) + (int64_t)txid,
			.node_id = 1,
			.ours = true,
			.before_checksum = txid > 1 ? before : 0,
			.after_checksum = s->checksum};
		if (pass)
			assert_int_equal(ltx_encoder_new(&enc, &h, to_file, f, &e), ERR_OK);
		for (uint32_t pgno = 1; pgno <= s->n_page; pgno++) {
			if (pgno == ltx_lock_page(s->page_size) || !changes(s, txid, pgno))
				continue;
			uint64_t version = txid > 1 && pgno > 1 ? txid : 0;
			if (version && !pass) {
				make_page(s, pgno, 0, page);
				s->checksum =
					ltx_checksum_xor(s->checksum, ltx_page_checksum(pgno, page, s->page_size));
			}
			make_page(s, pgno, version, page);
			if (pass)
				assert_int_equal(ltx_encoder_page(enc, pgno, page, &e), ERR_OK);
			else if (version || txid == 1)
				s->checksum =
					ltx_checksum_xor(s->checksum, ltx_page_checksum(pgno, page, s->page_size));
		}
	}
	assert_int_equal(ltx_encoder_finish(enc, NULL, NULL, &e), ERR_OK);
	ltx_encoder_free(enc);
	assert_int_equal(fclose(f), 0);
	free(page);
}

/* ---- the restore, in a process of its own ---- */

static long peak_kb(void)
{
	char line[256];
	long kb = 0;
	FILE *f = fopen("/proc/self/status", "r");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "VmHWM: %ld", &kb) == 1)
			break;
	if (f)
		fclose(f);
	return kb;
}

static int restore(const char *url, const char *to)
{
	struct store *store;
	struct err e = ERR_INIT;
	struct restore_result r;
	struct restore_options o = {.output = to};
	if (store_open(&store, url, NULL, &e) || restore_run(store, &o, &r, &e)) {
		fprintf(stderr, "%s\n", e.text);
		return 1;
	}
	restore_plan_free(&r.plan);
	long kb = peak_kb();
	fprintf(stderr, "%s, pages of %" PRIu32 ": %ld kB at most\n", url, r.page_size, kb);
	return r.proof != RESTORE_PROVEN || r.bytes < GB || kb == 0 || kb > LIMIT_KB;
}

static void expect_success(pid_t pid)
{
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void check_restore(const char *dir, const char *url, uint32_t page_size)
{
	char to[300];
	struct stat st;
	snprintf(to, sizeof(to), "%s/app.db", dir);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0)
		_exit(restore(url, to));
	expect_success(pid);
	/* Most pages are zeros, and take no room where a page is a block or more. */
	assert_int_equal(stat(to, &st), 0);
	assert_true(page_size < 4096 || (off_t)st.st_blocks * 512 < st.st_size / 4);
	assert_int_equal(unlink(to), 0);
	snprintf(to, sizeof(to), "%s/.app.db-litestream", dir);
	assert_int_equal(fs_remove_tree(to), 0);
}

static void check(uint32_t page_size, uint64_t bytes, bool near)
{
	char *dir = tmpdir_new();
	char folder[300], url[300], out[300];
	struct err e = ERR_INIT;
	snprintf(folder, sizeof(folder), "%s/replica/ltx/0", dir);
	snprintf(url, sizeof(url), "%s/replica", dir);
	snprintf(out, sizeof(out), "%s/out", dir);
	assert_int_equal(fs_mkdirs(folder, 0700), 0);
	assert_int_equal(fs_mkdirs(out, 0700), 0);
	/* Not here: what this process has used counts for those that it forks. */
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		struct shape s = {page_size, (uint32_t)(bytes / page_size), 0};
		for (uint64_t txid = 1; txid <= INCREMENTS + 1; txid++)
			put_file(&s, folder, txid);
		_exit(0);
	}
	expect_success(pid);
	assert_int_equal(store_fault_register("far", url, &e), ERR_OK);
	if (near)
		check_restore(out, url, page_size);
	check_restore(
		out, "fault://far", page_size); /* no folder: as many requests as over a network */
	store_fault_forget();
	tmpdir_free(dir);
}

static void test_large_pages(void **state)
{
	(void)state;
	check(65536, 3 * GB, true);
}

static void test_usual_pages(void **state)
{
	(void)state;
	check(4096, 2 * GB, false);
}

/* Two million pages: their checksums alone are 16 MB. */
static void test_small_pages(void **state)
{
	(void)state;
	check(512, GB, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_large_pages),
		cmocka_unit_test(test_usual_pages),
		cmocka_unit_test(test_small_pages),
	};
	if (!NO_MEMORY_POSSIBLE) {
		printf("[  SKIPPED ] a sanitizer has memory of its own\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
