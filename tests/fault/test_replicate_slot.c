/*
 * A machine that goes down between the upload and the journal (replicate/slot.h): of the frozen
 * file only the slot is durable then, its copy in the folder may be short, empty or gone. The next
 * start sends the same bytes again, and is not fenced by its own upload.
 */
#include "lib/crash.h"
#include "lib/ship.h"
#include "lib/tmpdir.h"

#include "base/fs.h"
#include "base/log.h"
#include "format/ltxset.h"
#include "replicate/freeze.h"
#include "replicate/slot.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

struct bed {
	char *dir;
	char db[256], url[256], folder[300], slot[300], copy[400];
	struct replicator_config cfg;
};

/* Two uploads of one replicator; the second is TXID 2. */
static int bed_open(void **state)
{
	struct bed *b = calloc(1, sizeof(*b));
	log_set_level(getenv("SHOW") ? LOG_DEBUG : LOG_ERROR + 1);
	b->dir = tmpdir_new();
	snprintf(b->db, sizeof(b->db), "%s/app.db", b->dir);
	snprintf(b->url, sizeof(b->url), "file://%s/replica", b->dir);
	snprintf(b->folder, sizeof(b->folder), "%s/.app.db-litestream/ltx/0", b->dir);
	snprintf(b->slot, sizeof(b->slot), "%s/.app.db-litestream/ltx/frozen", b->dir);
	app_create(b->db, 30);
	b->cfg = ship_config(b->db, b->url);
	*state = b;
	return 0;
}

static int bed_close(void **state)
{
	struct bed *b = *state;
	tmpdir_free(b->dir);
	free(b);
	return 0;
}

/* ---- lives ---- */

/* The life ends when the journal is to say that this TXID, which is in the store, is settled. */
static uint64_t last_txid;
static const char *replica;

static int dying_renameat(int od, const char *o, int nd, const char *n)
{
	if (last_txid && strstr(n, "state.json") && ship_max_txid(replica) == last_txid)
		_exit(CRASH_EXIT);
	return renameat(od, o, nd, n);
}

static int live(struct ship *s, void *unused)
{
	static struct fs_ops ops;
	(void)unused;
	ops = fs_system_ops;
	ops.renameat = dying_renameat;
	fs_set_ops(&ops);
	return ship_sync(s, 0);
}

/* One life, which ships all; it ends early if it uploads `last` (0: no such end). */
static int life(struct bed *b, uint64_t last)
{
	last_txid = last;
	replica = b->url;
	return crash_life(&b->cfg, -1, live, NULL);
}

/* A life that ends when TXID n is in the store and not in the journal; where its copy is. */
static uint64_t die(struct bed *b)
{
	assert_int_equal(life(b, 0), 0);
	uint64_t n = ship_max_txid(b->url) + 1;
	app_change(b->db);
	assert_int_equal(life(b, n), CRASH_EXIT);
	assert_int_equal(ship_max_txid(b->url), n);
	char *path = frozen_path(b->folder, n);
	snprintf(b->copy, sizeof(b->copy), "%s", path);
	free(path);
	assert_int_equal(access(b->copy, F_OK), 0);
	return n;
}

static void goes_on(struct bed *b, uint64_t n)
{
	uint64_t digest = ship_digest(b->url, n);
	app_change(b->db);
	assert_int_equal(life(b, 0), 0);
	assert_true(ship_digest(b->url, n) == digest);
	assert_true(ship_max_txid(b->url) > n);
	assert_true(ship_same(b->db, b->url, b->dir));
}

/* ---- what the machine's end leaves ---- */

static void test_copy_gone(void **state)
{
	struct bed *b = *state;
	uint64_t n = die(b);
	assert_int_equal(unlink(b->copy), 0);
	goes_on(b, n);
}

static void test_copy_empty(void **state)
{
	struct bed *b = *state;
	uint64_t n = die(b);
	assert_int_equal(truncate(b->copy, 0), 0);
	goes_on(b, n);
}

/* Its size was durable, its bytes were not. */
static void test_copy_zeros(void **state)
{
	struct bed *b = *state;
	struct stat st;
	uint64_t n = die(b);
	assert_int_equal(stat(b->copy, &st), 0);
	assert_int_equal(truncate(b->copy, 0) || truncate(b->copy, st.st_size), 0);
	goes_on(b, n);
}

/* ---- the slot itself ---- */

static void write_file(const char *path, const char *text)
{
	struct err e = ERR_INIT;
	assert_int_equal(fs_replace_file(path, text, strlen(text), 0600, &e), 0);
}

static bool has(const char *path, const char *text)
{
	struct buf b;
	buf_init(&b, SLOT_SIZE);
	bool same =
		!fs_read_file(path, &b, NULL) && b.len == strlen(text) && memcmp(b.data, text, b.len) == 0;
	buf_free(&b);
	return same;
}

struct slot_bed {
	char *dir;
	char folder[300], slot[300], file[300], copy5[400];
};

static int slot_open(void **state)
{
	struct slot_bed *b = calloc(1, sizeof(*b));
	b->dir = tmpdir_new();
	snprintf(b->folder, sizeof(b->folder), "%s/ltx/0", b->dir);
	snprintf(b->slot, sizeof(b->slot), "%s/ltx/frozen", b->dir);
	snprintf(b->file, sizeof(b->file), "%s/file", b->dir);
	char *path = frozen_path(b->folder, 5);
	snprintf(b->copy5, sizeof(b->copy5), "%s", path);
	free(path);
	*state = b;
	return fs_mkdirs(b->folder, 0700);
}

static int slot_close(void **state)
{
	struct slot_bed *b = *state;
	tmpdir_free(b->dir);
	free(b);
	return 0;
}

static void put(struct slot_bed *b, uint64_t txid, const char *text)
{
	struct err e = ERR_INIT;
	write_file(b->file, text);
	assert_int_equal(slot_put(b->folder, txid, b->file, strlen(text), &e), 0);
}

static void test_put_and_recover(void **state)
{
	struct slot_bed *b = *state;
	struct err e = ERR_INIT;
	assert_int_equal(slot_recover(b->folder, 5, &e), 0); /* no slot yet */
	put(b, 4, "the longer text of the fourth");
	put(b, 5, "the fifth");
	assert_int_equal(slot_recover(b->folder, 4, &e), 0);
	assert_int_equal(slot_recover(b->folder, 6, &e), 0);
	assert_int_not_equal(access(b->copy5, F_OK), 0);
	assert_int_equal(slot_recover(b->folder, 5, &e), 0);
	assert_true(has(b->copy5, "the fifth"));
}

/* What a loss of power left half written was not sent; what was written since must stay. */
static void test_torn(void **state)
{
	struct slot_bed *b = *state;
	struct err e = ERR_INIT;
	for (long at = 0; at < SLOT_HEADER + 9; at++) {
		put(b, 5, "the fifth");
		write_file(b->copy5, "another");
		FILE *f = fopen(b->slot, "r+");
		assert_int_equal(fseek(f, at, SEEK_SET), 0);
		int byte = fgetc(f);
		assert_int_equal(fseek(f, at, SEEK_SET), 0);
		fputc(byte ^ 1, f);
		fclose(f);
		assert_int_equal(slot_recover(b->folder, 5, &e), 0);
		assert_true(has(b->copy5, "another"));
	}
}

static void test_cleared(void **state)
{
	struct slot_bed *b = *state;
	struct err e = ERR_INIT;
	assert_int_equal(slot_clear(b->folder, 5, &e), 0); /* no slot yet */
	put(b, 5, "the fifth");
	assert_int_equal(slot_clear(b->folder, 4, &e), 0);
	assert_int_equal(slot_clear(b->folder, 5, &e), 0);
	assert_int_equal(slot_recover(b->folder, 5, &e), 0);
	assert_int_not_equal(access(b->copy5, F_OK), 0);
	put(b, 5, "again");
	assert_int_equal(slot_recover(b->folder, 5, &e), 0);
	assert_true(has(b->copy5, "again"));
}

/* Something else under its name is replaced, and never taken for a file. */
static void test_other_file(void **state)
{
	struct slot_bed *b = *state;
	struct err e = ERR_INIT;
	write_file(b->slot, "short");
	assert_int_equal(slot_clear(b->folder, 5, &e), 0);
	assert_int_equal(slot_recover(b->folder, 5, &e), 0);
	assert_int_not_equal(access(b->copy5, F_OK), 0);
	put(b, 5, "the fifth");
	assert_int_equal(slot_recover(b->folder, 5, &e), 0);
	assert_true(has(b->copy5, "the fifth"));
}

#define LIFE(name) cmocka_unit_test_setup_teardown(name, bed_open, bed_close)
#define SLOT(name) cmocka_unit_test_setup_teardown(name, slot_open, slot_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LIFE(test_copy_gone),
		LIFE(test_copy_empty),
		LIFE(test_copy_zeros),
		SLOT(test_put_and_recover),
		SLOT(test_torn),
		SLOT(test_cleared),
		SLOT(test_other_file),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
