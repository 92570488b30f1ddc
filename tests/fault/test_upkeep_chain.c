/*
 * Two files in the replica contradict each other (F8): somebody else put one of them there, which a
 * store that ignores conditions lets happen. No way leads over such a place, whatever the TXIDs
 * say: the upkeep finds it when it merges, makes a snapshot at once, and counts on no way over it.
 */
#include "lib/ltx_build.h"
#include "lib/scene.h"
#include "lib/ship.h"
#include "lib/tmpdir.h"

#include "base/fs.h"
#include "base/log.h"
#include "format/ltxset.h"
#include "replicate/fence.h"
#include "replicate/inventory.h"
#include "store/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define URL "mem://chain"
#define HOUR_MS (INT64_C(3600) * 1000)

static int collect(void *ctx, const void *p, size_t n, struct err *err)
{
	(void)err;
	return buf_append(ctx, p, n);
}

/* The same pages, as if they had been written on top of another database. */
static void rewrite(const struct buf *from, struct buf *to)
{
	struct err e = ERR_INIT;
	struct ltx_decoder *dec;
	struct ltx_encoder *enc;
	struct ltx_mem m = {from->data, from->len, SIZE_MAX, 0, 0, false};
	static uint8_t page[65536];
	uint32_t pgno = 1;
	assert_int_equal(ltx_decoder_new(&dec, ltx_read_mem, &m, &e), ERR_OK);
	struct ltx_header h = *ltx_decoder_header(dec);
	h.before_checksum ^= 2;
	assert_int_equal(ltx_encoder_new(&enc, &h, ltx_write_buf, to, &e), ERR_OK);
	while (pgno) {
		assert_int_equal(ltx_decoder_page(dec, &pgno, page, &e), ERR_OK);
		if (pgno)
			assert_int_equal(ltx_encoder_page(enc, pgno, page, &e), ERR_OK);
	}
	assert_int_equal(ltx_encoder_finish(enc, NULL, NULL, &e), ERR_OK);
	ltx_encoder_free(enc);
	ltx_decoder_free(dec);
}

/* Another's file takes the place of L0 `txid`, and our copy of it is gone. */
static void overwrite(const char *state_dir, uint64_t txid)
{
	struct err e = ERR_INIT;
	struct store *s = NULL;
	struct buf ours, theirs;
	char name[FENCE_NAME_SIZE], file[LTX_NAME_SIZE], path[500];
	buf_init(&ours, SIZE_MAX / 2);
	buf_init(&theirs, SIZE_MAX / 2);
	assert_int_equal(store_open(&s, URL, NULL, &e), ERR_OK);
	fence_name(s, 0, txid, txid, name);
	assert_int_equal(store_get(s, name, 0, 0, collect, &ours, &e), ERR_OK);
	rewrite(&ours, &theirs);
	struct store_body body = {.data = theirs.data, .fd = -1, .size = theirs.len};
	assert_int_equal(store_put(s, name, &body, &(struct store_put_opts){0}, &e), ERR_OK);
	ltx_format_name(txid, txid, file);
	snprintf(path, sizeof(path), "%s/ltx/0/%s", state_dir, file);
	assert_int_equal(fs_unlink(path), 0);
	store_close(s);
	buf_free(&ours);
	buf_free(&theirs);
}

static void change(struct ship *s, const char *db)
{
	app_change(db);
	assert_int_equal(ship_sync(s, 0), ERR_OK);
	ship_for(s, 5);
}

static void test_contradiction(void **state)
{
	(void)state;
	char db[300], meta[300], *dir = scene_begin();
	struct ship s;
	snprintf(db, sizeof(db), "%s/app.db", dir);
	snprintf(meta, sizeof(meta), "%s/.app.db-litestream", dir);
	app_create(db, 300); /* no upload holds every page: that would need no predecessor */
	struct replicator_config cfg = ship_config(db, URL);
	assert_int_equal(ship_open(&s, &cfg), ERR_OK);
	assert_int_equal(ship_sync(&s, 0), ERR_OK);
	for (int i = 0; i < 5; i++)
		change(&s, db);
	overwrite(meta, 4);
	assert_false(ship_same(db, URL, dir));
	for (int i = 0; i < 30; i++) {
		ship_skip(3000);
		change(&s, db);
	}
	ship_for(&s, 300);
	assert_non_null(strstr(ship_status(&s).upkeep_error, "0000000000000004"));
	assert_true(ship_same(db, URL, dir));
	/* Days later, when most of it was deleted. */
	for (int day = 0; day < 9; day++) {
		for (int i = 0; i < 9; i++) {
			ship_skip(HOUR_MS / 2);
			change(&s, db);
		}
		assert_true(ship_same(db, URL, dir));
		ship_skip(20 * HOUR_MS);
	}
	change(&s, db);
	assert_true(ship_same(db, URL, dir));
	scene_end(dir, &s);
}

/* The first L1 that there is. */
static bool first_l1(struct replica_file *out)
{
	for (uint64_t min = 1; min < 20; min++)
		for (uint64_t max = min; max < 60; max++)
			if (ship_has(URL, 1, min, max)) {
				*out = (struct replica_file){.level = 1, .min_txid = min, .max_txid = max};
				return true;
			}
	return false;
}

/* Somebody cuts a merged file in two. Its name is taken for good, and what it held must not be
 * counted on: the files below it are merged under another name. */
static void test_truncated(void **state)
{
	(void)state;
	char db[300], *dir = scene_begin();
	struct ship s;
	struct err e = ERR_INIT;
	snprintf(db, sizeof(db), "%s/app.db", dir);
	app_create(db, 30);
	struct replicator_config cfg = ship_config(db, URL);
	assert_int_equal(ship_open(&s, &cfg), ERR_OK);
	assert_int_equal(ship_sync(&s, 0), ERR_OK);
	struct replica_file l1 = {0};
	for (int i = 0; i < 60 && !first_l1(&l1); i++) {
		ship_skip(3000);
		change(&s, db);
	}
	assert_true(first_l1(&l1));
	struct store *st = NULL;
	char name[FENCE_NAME_SIZE];
	assert_int_equal(store_open(&st, URL, NULL, &e), ERR_OK);
	fence_name(st, 1, l1.min_txid, l1.max_txid, name);
	struct store_body body = {.data = "LTX1", .fd = -1, .size = 4};
	assert_int_equal(store_put(st, name, &body, &(struct store_put_opts){0}, &e), ERR_OK);
	store_close(st);
	/* The audit finds it, while the L0s are still there. */
	ship_skip(73 * HOUR_MS);
	change(&s, db);
	assert_non_null(strstr(ship_status(&s).upkeep_error, "ltx/1/"));
	for (int i = 0; i < 30; i++) {
		ship_skip(3000);
		change(&s, db);
	}
	bool other = false;
	for (uint64_t max = l1.min_txid; max < 60; max++)
		other = other || (max != l1.max_txid && ship_has(URL, 1, l1.min_txid, max));
	assert_true(other);
	assert_true(ship_same(db, URL, dir));
	for (int day = 0; day < 12; day++) {
		for (int i = 0; i < 12; i++) {
			ship_skip(3000);
			change(&s, db);
		}
		ship_skip(20 * HOUR_MS);
		assert_true(ship_same(db, URL, dir));
	}
	struct replicator_status status = ship_status(&s);
	assert_true(status.replica_files < status.txid);
	scene_end(dir, &s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_contradiction), cmocka_unit_test(test_truncated)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
