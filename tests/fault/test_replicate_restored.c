/*
 * After a restore to an older point the timeline stays one line (docs/DESIGN.md, F6): the next
 * upload is one more than the highest TXID of all levels and turns that state into the restored
 * one, whatever is left of the files in between; what was abandoned can still be restored.
 */
#include "lib/ship.h"
#include "lib/tmpdir.h"

#include "base/fs.h"
#include "base/log.h"
#include "conf/state.h"
#include "format/ltx.h"
#include "format/ltxset.h"
#include "replicate/compact.h"
#include "restore/restore.h"

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
#include <unistd.h>
#include <cmocka.h>

#define HISTORY 20

struct bed {
	char *dir;
	char db[256], url[256];
	struct store *store;
	struct err e;
	int64_t stamps[HISTORY + 2]; /* by TXID */
};

static void bed_open(struct bed *b)
{
	memset(b, 0, sizeof(*b));
	b->dir = tmpdir_new();
	snprintf(b->db, sizeof(b->db), "%s/app.db", b->dir);
	snprintf(b->url, sizeof(b->url), "file://%s/replica", b->dir);
	assert_int_equal(store_open(&b->store, b->url, NULL, &b->e), ERR_OK);
}

static void bed_close(struct bed *b)
{
	store_close(b->store);
	tmpdir_free(b->dir);
}

/* ---- the history ---- */

static uint64_t size_of(struct bed *b, int level, uint64_t min, uint64_t max)
{
	char name[64], prefix[16], file[LTX_NAME_SIZE];
	struct store_object o = {0};
	ltx_format_name(min, max, file);
	store_level_prefix(b->store, level, prefix);
	snprintf(name, sizeof(name), "%s%s", prefix, file);
	return store_head(b->store, name, &o, &b->e) ? 0 : o.size;
}

static void ship_one(struct bed *b, struct ship *s, uint64_t txid)
{
	if (ship_sync(s, 0))
		fail_msg("%s", ship_status(s).reason);
	assert_int_equal(ship_max_txid(b->url), txid);
}

/* Ten rows, others for each TXID. */
static void change_some(const char *db, uint64_t txid)
{
	char sql[100];
	snprintf(sql, sizeof(sql), "UPDATE t SET b = randomblob(400) WHERE a %% 200 = %" PRIu64, txid);
	app_sql(db, sql);
}

/* TXID 1 is large; then small changes, a table that comes and goes (VACUUM cuts the file), growth.
 */
static void make_history(struct bed *b)
{
	struct ship s;
	struct replicator_config cfg = ship_config(b->db, b->url);
	app_create(b->db, 2000);
	assert_int_equal(ship_open(&s, &cfg), 0);
	ship_one(b, &s, 1);
	for (uint64_t t = 2; t <= HISTORY; t++) {
		if (t == 5)
			app_sql(b->db, "CREATE TABLE big AS SELECT a, randomblob(400) AS c FROM t LIMIT 900");
		else if (t == 11)
			app_sql(b->db, "DROP TABLE big; VACUUM");
		else if (t == 14)
			app_sql(b->db, "CREATE TABLE late AS SELECT a, randomblob(400) AS c FROM t LIMIT 500");
		else
			change_some(b->db, t);
		ship_one(b, &s, t);
	}
	ship_close(&s);
}

/* Every state's file, to compare with later. */
static void keep_states(struct bed *b)
{
	for (uint64_t t = 1; t <= HISTORY; t++) {
		char kept[300];
		struct restore_result r;
		snprintf(kept, sizeof(kept), "%s/kept-%" PRIu64, b->dir, t);
		struct restore_options o = {.target.txid = t, .output = kept, .state_dir = ""};
		if (restore_run(b->store, &o, &r, &b->e))
			fail_msg("%s", b->e.text);
		b->stamps[t] = r.timestamp_ms;
		restore_plan_free(&r.plan);
	}
}

static void delete_l0(struct bed *b, uint64_t from, uint64_t to)
{
	for (uint64_t t = from; t <= to; t++) {
		char name[64], prefix[16], file[LTX_NAME_SIZE];
		const char *one = name;
		struct store_delete_result result;
		ltx_format_name(t, t, file);
		store_level_prefix(b->store, 0, prefix);
		snprintf(name, sizeof(name), "%s%s", prefix, file);
		assert_int_equal(store_delete(b->store, &one, 1, &result, &b->e), ERR_OK);
	}
}

static void compact(struct bed *b, uint64_t from, uint64_t to)
{
	struct replica_file inputs[HISTORY];
	struct compact_result out;
	char *dir = fs_join(b->dir, "compact");
	struct compact_env env = {.store = b->store, .state_dir = dir, .copies_max = 1 << 26};
	size_t n = 0;
	for (uint64_t t = from; t <= to; t++)
		inputs[n++] = (struct replica_file){0, t, t, size_of(b, 0, t, t), b->stamps[t], 0};
	assert_int_equal(fs_mkdirs(dir, 0700), 0);
	if (compact_begin(&env, &b->e) || compact_run(&env, 1, inputs, n, &out, &b->e))
		fail_msg("%s", b->e.text);
	assert_int_equal(out.used, n);
	free(dir);
}

static int into(void *ctx, const void *p, size_t n, struct err *e)
{
	return buf_append(ctx, p, n) ? err_nomem(e, "test") : ERR_OK;
}

/* The state of TXID t as a snapshot. */
static void snapshot(struct bed *b, uint64_t t)
{
	char kept[300], name[64], prefix[16], file[LTX_NAME_SIZE];
	struct buf bytes;
	struct ltx_encoder *enc;
	struct stat st;
	snprintf(kept, sizeof(kept), "%s/kept-%" PRIu64, b->dir, t);
	int fd = fs_open(kept, O_RDONLY, 0);
	assert_true(fd >= 0 && !fstat(fd, &st));
	struct ltx_header h = {.page_size = 4096,
		.commit = (uint32_t)(st.st_size / 4096),
		.min_txid = 1,
		.max_txid = t,
		.timestamp = b->stamps[t],
		.node_id = 1};
	buf_init(&bytes, SIZE_MAX / 2);
	assert_int_equal(ltx_encoder_new(&enc, &h, into, &bytes, &b->e), ERR_OK);
	for (uint32_t pgno = 1; pgno <= h.commit; pgno++) {
		uint8_t page[4096];
		assert_int_equal(fs_pread_full(fd, page, 4096, (off_t)(pgno - 1) * 4096), 0);
		assert_int_equal(ltx_encoder_page(enc, pgno, page, &b->e), ERR_OK);
	}
	assert_int_equal(ltx_encoder_finish(enc, NULL, NULL, &b->e), ERR_OK);
	ltx_encoder_free(enc);
	fs_close(fd);
	ltx_format_name(1, t, file);
	store_level_prefix(b->store, LTX_SNAPSHOT_LEVEL, prefix);
	snprintf(name, sizeof(name), "%s%s", prefix, file);
	struct store_body body = {.data = bytes.data, .fd = -1, .size = bytes.len};
	struct store_put_opts opts = {.timestamp_ms = h.timestamp};
	assert_int_equal(store_put(b->store, name, &body, &opts, &b->e), ERR_OK);
	buf_free(&bytes);
}

/* ---- going back ---- */

static bool same_file(const char *a, const char *c)
{
	char command[700];
	snprintf(command, sizeof(command), "cmp -s '%s' '%s'", a, c);
	return system(command) == 0;
}

/* Restores by TXID or time beside everything and compares with what was kept of TXID t. */
static void expect_state(struct bed *b, uint64_t txid, int64_t timestamp_ms, uint64_t t)
{
	char to[300], kept[300];
	struct restore_result r;
	snprintf(to, sizeof(to), "%s/again.db", b->dir);
	snprintf(kept, sizeof(kept), "%s/kept-%" PRIu64, b->dir, t);
	struct restore_options o = {.target = {txid, timestamp_ms}, .output = to, .state_dir = ""};
	if (restore_run(b->store, &o, &r, &b->e))
		fail_msg("TXID %" PRIu64 ": %s", t, b->e.text);
	restore_plan_free(&r.plan);
	assert_int_equal(r.txid, t);
	assert_true(same_file(to, kept));
	unlink(to);
}

static void go_back(struct bed *b, uint64_t txid)
{
	struct restore_result r;
	struct restore_options o = {.target.txid = txid, .output = b->db, .in_place = true};
	if (restore_run(b->store, &o, &r, &b->e))
		fail_msg("%s", b->e.text);
	restore_plan_free(&r.plan);
	assert_int_equal(r.txid, txid);
}

/* The replicator starts on the restored database, without or with a change of the app first. */
static void go_on(struct bed *b, uint64_t expect, bool change)
{
	struct ship s;
	struct replicator_config cfg = ship_config(b->db, b->url);
	if (change)
		app_sql(b->db, "UPDATE t SET b = randomblob(400) WHERE a = 7");
	assert_int_equal(ship_open(&s, &cfg), 0);
	ship_one(b, &s, expect);
	assert_int_equal(ship_status(&s).state, REPLICATOR_REPLICATING);
	ship_close(&s);
	assert_true(ship_same(b->db, b->url, b->dir));
}

static void without_table(struct bed *b)
{
	char *dir = state_default_dir(b->db), *pages = fs_join(dir, "pages");
	assert_int_equal(unlink(pages), 0);
	free(pages);
	free(dir);
}

/* ---- how much the next upload held ---- */

struct bytes {
	struct buf buf;
	size_t read;
};

static int take(void *ctx, const void *p, size_t n, struct err *e)
{
	return into(&((struct bytes *)ctx)->buf, p, n, e);
}

static ptrdiff_t give(void *ctx, void *p, size_t n, struct err *e)
{
	struct bytes *b = ctx;
	(void)e;
	size_t left = b->buf.len - b->read;
	n = n < left ? n : left;
	memcpy(p, b->buf.data + b->read, n);
	b->read += n;
	return (ptrdiff_t)n;
}

static uint32_t pages_in_l0(struct bed *b, uint64_t txid)
{
	char name[64], prefix[16], file[LTX_NAME_SIZE];
	uint8_t page[4096];
	struct bytes bytes = {.read = 0};
	struct ltx_decoder *dec;
	uint32_t n = 0, pgno;
	buf_init(&bytes.buf, SIZE_MAX / 2);
	ltx_format_name(txid, txid, file);
	store_level_prefix(b->store, 0, prefix);
	snprintf(name, sizeof(name), "%s%s", prefix, file);
	assert_int_equal(store_get(b->store, name, 0, 0, take, &bytes, &b->e), ERR_OK);
	assert_int_equal(ltx_decoder_new(&dec, give, &bytes, &b->e), ERR_OK);
	while (!ltx_decoder_page(dec, &pgno, page, &b->e) && pgno)
		n++;
	assert_int_equal(b->e.code, ERR_OK);
	ltx_decoder_free(dec);
	buf_free(&bytes.buf);
	return n;
}

/* Pages of `path` that are not the same in `other`. */
static uint32_t pages_differing(const char *path, const char *other, uint32_t *n_page)
{
	uint8_t a[4096], c[4096];
	uint32_t differing = 0;
	int fd = fs_open(path, O_RDONLY, 0), fd2 = fs_open(other, O_RDONLY, 0);
	for (*n_page = 0; !fs_pread_full(fd, a, 4096, (off_t)*n_page * 4096); (*n_page)++)
		if (fs_pread_full(fd2, c, 4096, (off_t)*n_page * 4096) || memcmp(a, c, 4096) != 0)
			differing++;
	fs_close(fd);
	fs_close(fd2);
	return differing;
}

/* What is left of the history besides the newest L0. */
enum shape { SHAPE_L0, SHAPE_LEVELS, SHAPE_SNAPSHOT_BETWEEN, SHAPE_ONLY_SNAPSHOT };

static void reshape(struct bed *b, enum shape shape)
{
	if (shape == SHAPE_L0)
		return;
	compact(b, 2, 9);
	compact(b, 10, 17);
	if (shape != SHAPE_LEVELS)
		snapshot(b, shape == SHAPE_ONLY_SNAPSHOT ? 19 : 13);
	delete_l0(b, 2, shape == SHAPE_ONLY_SNAPSHOT ? 19 : 17);
}

/* The difference to the latest state before, and page 1; or everything. */
static void check_size(struct bed *b, bool difference)
{
	char kept[300], now[300];
	uint32_t n_page, shipped = pages_in_l0(b, HISTORY + 1);
	snprintf(kept, sizeof(kept), "%s/kept-%d", b->dir, HISTORY);
	snprintf(now, sizeof(now), "%s/now.db", b->dir);
	assert_int_equal(ship_restore(b->url, now), 0);
	uint32_t differing = pages_differing(now, kept, &n_page);
	assert_true(differing + 1 < n_page);
	if (difference)
		assert_in_range(shipped, differing, differing + 1);
	else
		assert_int_equal(shipped, n_page);
}

static void check(enum shape shape, uint64_t txid, bool table, bool change)
{
	struct bed b;
	bed_open(&b);
	make_history(&b);
	keep_states(&b);
	reshape(&b, shape);
	uint64_t digest = ship_digest(b.url, HISTORY);
	go_back(&b, txid);
	if (!table)
		without_table(&b);
	go_on(&b, HISTORY + 1, change);
	/* One line: nothing of before has changed, and what comes after is one L0 more. */
	assert_true(ship_digest(b.url, HISTORY) == digest);
	check_size(&b, table && shape != SHAPE_ONLY_SNAPSHOT);
	expect_state(&b, HISTORY, 0, HISTORY);
	expect_state(&b, 0, b.stamps[HISTORY], HISTORY);
	expect_state(&b, 0, b.stamps[HISTORY] + 1, HISTORY);
	expect_state(&b, txid, 0, txid);
	if (shape == SHAPE_L0)
		expect_state(&b, 0, b.stamps[15] + 1, 15);
	/* And from the abandoned line once more. */
	go_back(&b, HISTORY);
	go_on(&b, HISTORY + 2, true);
	bed_close(&b);
}

static void test_all_l0_there(void **state)
{
	(void)state;
	check(SHAPE_L0, 12, true, true);
	check(SHAPE_L0, 1, true, false);
	check(SHAPE_L0, 6, true, true); /* longer than the latest */
}

static void test_through_levels(void **state)
{
	(void)state;
	check(SHAPE_LEVELS, 9, true, true);
	check(SHAPE_LEVELS, 1, true, false);
	check(SHAPE_SNAPSHOT_BETWEEN, 13, true, true);
	check(SHAPE_SNAPSHOT_BETWEEN, 9, true, false);
}

static void test_only_a_snapshot_leads_on(void **state)
{
	(void)state;
	check(SHAPE_ONLY_SNAPSHOT, 17, true, true);
}

static void test_without_page_table(void **state)
{
	(void)state;
	check(SHAPE_L0, 6, false, true);
	check(SHAPE_LEVELS, 9, false, false);
	check(SHAPE_SNAPSHOT_BETWEEN, 13, false, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_l0_there),
		cmocka_unit_test(test_through_levels),
		cmocka_unit_test(test_only_a_snapshot_leads_on),
		cmocka_unit_test(test_without_page_table),
	};
	log_set_level(getenv("SHOW") ? LOG_DEBUG : LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
