/* restore -f: what comes into a replica is applied to a database in place, or is refused whole. */
#include "lib/follow_bed.h"

#include "restore/follow_plan.h"
#include "store/fault.h"

static const uint32_t page_sizes[] = {512, 4096, 65536};

/* ---- going on ---- */

static const struct {
	uint32_t n_page, writes;
} steps[] = {{20, 3}, {33, 2}, {33, 0}, {7, 1}, {7, 4}, {25, 1}, {12, 0}, {40, 5}, {1, 0}, {3, 0}};
#define STEPS (sizeof(steps) / sizeof(steps[0]))

static void ship_next(struct follow_bed *f, int turn)
{
	follow_bed_expect(f, f->b.r.txid);
	size_t i = (size_t)(turn - 1) % STEPS;
	replica_ship(&f->b.r, steps[i].n_page, steps[i].writes);
}

static void test_grows_and_shrinks(void **state)
{
	(void)state;
	for (size_t i = 0; i < 6; i++) {
		struct follow_bed f;
		follow_bed_open(&f, "mem://follow", page_sizes[i / 2], i % 2);
		f.b.r.lean = i % 3 == 1;
		replica_ship(&f.b.r, 5, 0);
		follow_bed_restore(&f, 1);
		f.script = ship_next;
		if (follow_bed_run(&f, STEPS + 2))
			fail_msg("%s", f.b.e.text);
		follow_bed_expect(&f, STEPS + 2);
		follow_bed_close(&f);
	}
}

/* Several at once, and started again in between. */
static void test_goes_on_where_it_was(void **state)
{
	(void)state;
	struct follow_bed f;
	follow_bed_open(&f, "mem://follow", 512, true);
	replica_ship(&f.b.r, 5, 0);
	follow_bed_restore(&f, 0);
	for (int i = 0; i < 5; i++) {
		for (int k = 0; k < 9 * i; k++)
			replica_ship(&f.b.r, 5 + (uint32_t)k, 2);
		assert_int_equal(follow_bed_run(&f, 1), ERR_OK);
		follow_bed_expect(&f, f.b.r.txid);
	}
	follow_bed_close(&f);
}

static void drop_l0(struct follow_bed *f, uint64_t from, uint64_t to)
{
	for (; from <= to; from++)
		replica_delete(&f->b.r, 0, from, from);
}

static void test_larger_files_bridge(void **state)
{
	(void)state;
	static const struct {
		int level;
		uint64_t min, max;
	} files[][3] = {{{1, 4, 9}, {2, 10, 11}}, {{1, 2, 6}, {3, 5, 11}}, {{9, 1, 11}}};
	for (size_t i = 0; i < 3; i++) {
		struct follow_bed f;
		follow_bed_open(&f, "mem://follow", 512, i % 2);
		for (uint32_t k = 0; k < 12; k++)
			replica_ship(&f.b.r, 30 - k, 3);
		follow_bed_restore(&f, 3);
		drop_l0(&f, 3, 11);
		for (size_t k = 0; k < 3 && files[i][k].max; k++)
			replica_put(&f.b.r, files[i][k].level, files[i][k].min, files[i][k].max);
		if (follow_bed_run(&f, 2))
			fail_msg("%s", f.b.e.text);
		follow_bed_expect(&f, 12);
		follow_bed_close(&f);
	}
}

/* A replica without any L0: a look at all levels, once a minute. */
static void test_without_l0(void **state)
{
	(void)state;
	struct follow_bed f;
	follow_bed_open(&f, "mem://follow", 512, true);
	for (uint32_t k = 0; k < 4; k++)
		replica_commit(&f.b.r, 10 + k, 1);
	replica_put(&f.b.r, 9, 1, 2);
	follow_bed_restore(&f, 0);
	assert_int_equal(follow_bed_run(&f, 2), ERR_OK);
	follow_bed_expect(&f, 2);
	replica_put(&f.b.r, 1, 3, 4);
	assert_int_equal(follow_bed_run(&f, 1), ERR_OK);
	follow_bed_expect(&f, 4);
	follow_bed_close(&f);
}

/* ---- readers ---- */

static void end_read_later(struct follow_bed *f)
{
	static int left;
	if (!f->reader)
		return;
	left = left ? left - 1 : 300;
	if (left == 1)
		follow_bed_end_read(f);
}

static void test_waits_for_readers(void **state)
{
	(void)state;
	struct follow_bed f;
	follow_bed_open(&f, "mem://follow", 4096, true);
	replica_ship(&f.b.r, 5, 0);
	follow_bed_restore(&f, 0);
	replica_ship(&f.b.r, 9, 2);
	follow_bed_read(&f);
	f.busy = end_read_later;
	assert_int_equal(follow_bed_run(&f, 1), ERR_OK);
	assert_null(f.reader);
	follow_bed_expect(&f, 2);
	follow_bed_close(&f);
}

/* ---- what is refused ---- */

/* The error after the tries, and the database as it was. */
static void expect_end(struct follow_bed *f, int code, const char *text, uint64_t txid)
{
	int rc = follow_bed_run(f, 1000);
	if (rc != code || !strstr(f->b.e.text, text))
		fail_msg("code %d: %s", rc, f->b.e.text);
	assert_int_equal(f->turn, code == ERR_DATABASE ? f->turn : FOLLOW_TRIES - 1);
	follow_bed_expect(f, txid);
}

static void ship(struct follow_bed *f, int n)
{
	while (n-- > 0)
		replica_ship(&f->b.r, 6 + (uint32_t)n, 2);
}

static void fill_gap(struct follow_bed *f, int turn)
{
	if (turn == 3)
		replica_put(&f->b.r, 0, 5, 5);
}

static void test_a_gap_is_told(void **state)
{
	(void)state;
	struct follow_bed f;
	follow_bed_open(&f, "mem://follow", 512, true);
	ship(&f, 4);
	follow_bed_restore(&f, 0);
	ship(&f, 3);
	replica_delete(&f.b.r, 0, 5, 5);
	expect_end(&f, ERR_DAMAGED, "nothing leads on from TXID 0000000000000004", 4);
	/* A listing that lags, and catches up. */
	f.script = fill_gap;
	assert_int_equal(follow_bed_run(&f, 5), ERR_OK);
	follow_bed_expect(&f, 7);
	follow_bed_close(&f);
}

static void test_an_emptied_replica_is_told(void **state)
{
	(void)state;
	struct follow_bed f;
	follow_bed_open(&f, "mem://follow", 512, true);
	ship(&f, 4);
	follow_bed_restore(&f, 0);
	drop_l0(&f, 1, 4);
	expect_end(&f, ERR_NO_BACKUP, "it was emptied, or begun anew", 4);
	follow_bed_close(&f);
}

/* Each byte of a file counts before a page is written. */
static void test_damaged_files(void **state)
{
	(void)state;
	struct follow_bed f;
	struct buf good;
	follow_bed_open(&f, "mem://follow", 512, false);
	ship(&f, 2);
	follow_bed_restore(&f, 0);
	ship(&f, 1);
	buf_init(&good, SIZE_MAX);
	replica_encode(&f.b.r, 3, 3, &good);
	for (size_t i = 0; i < good.len; i += 1 + good.len / 60) {
		good.data[i] ^= 0x20;
		replica_put_bytes(&f.b.r, 0, 3, 3, good.data, good.len);
		int rc = follow_bed_run(&f, 2); /* one of them may be of no consequence: the node's id */
		assert_true(rc == ERR_OK);
		assert_true(follow_bed_is(&f, 2) || follow_bed_is(&f, 3));
		if (follow_bed_is(&f, 3))
			break;
		good.data[i] ^= 0x20;
	}
	follow_bed_expect(&f, 2);
	good.data[good.len - 1] ^= 1;
	replica_put_bytes(&f.b.r, 0, 3, 3, good.data, good.len);
	expect_end(&f, ERR_DAMAGED, "0000000000000003-0000000000000003.ltx", 2);
	replica_put(&f.b.r, 0, 3, 3);
	assert_int_equal(follow_bed_run(&f, 1), ERR_OK);
	follow_bed_expect(&f, 3);
	buf_free(&good);
	follow_bed_close(&f);
}

/* Another line under the same TXIDs: its files don't fit, until one of them holds all. */
static void test_another_line(void **state)
{
	(void)state;
	struct follow_bed f;
	struct replica other;
	follow_bed_open(&f, "mem://follow", 512, true);
	ship(&f, 4);
	follow_bed_restore(&f, 0);
	replica_init(&other, f.b.store, 512, true);
	other.seed = 1000;
	for (int i = 0; i < 6; i++)
		replica_commit(&other, 8, 2);
	replica_put(&other, 0, 5, 5);
	expect_end(&f, ERR_DAMAGED, "not written on top of", 4);
	replica_put(&other, 9, 1, 6);
	if (follow_bed_run(&f, 4))
		fail_msg("%s", f.b.e.text);
	struct replica mine = f.b.r;
	f.b.r = other;
	follow_bed_expect(&f, 6);
	f.b.r = mine;
	replica_free(&other);
	follow_bed_close(&f);
}

static void write_by_sqlite(const char *path)
{
	sqlite3 *db;
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 7", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void write_in_between(struct follow_bed *f, int turn)
{
	if (turn == 2)
		write_by_sqlite(f->b.db);
}

static void test_somebody_else_writes(void **state)
{
	(void)state;
	struct follow_bed f;
	follow_bed_open(&f, "mem://follow", 512, true);
	ship(&f, 2);
	follow_bed_restore(&f, 0);
	f.script = write_in_between;
	assert_int_equal(follow_bed_run(&f, 9), ERR_DATABASE);
	assert_non_null(strstr(f.b.e.text, "changed by somebody else"));
	assert_int_equal(f.turn, 2);
	/* And when it is started again. */
	assert_int_equal(follow_bed_run(&f, 9), ERR_DATABASE);
	assert_int_equal(f.turn, 0);
	follow_bed_close(&f);
}

static void test_another_page_size(void **state)
{
	(void)state;
	struct follow_bed f;
	struct replica other;
	follow_bed_open(&f, "mem://follow", 512, true);
	ship(&f, 1);
	follow_bed_restore(&f, 0);
	replica_init(&other, f.b.store, 1024, false);
	replica_commit(&other, 8, 2);
	replica_ship(&other, 8, 8);
	expect_end(&f, ERR_DATABASE, "has pages of 1024 bytes now", 1);
	replica_free(&other);
	follow_bed_close(&f);
}

static void test_nobodys_follower(void **state)
{
	(void)state;
	struct follow_bed f;
	char name[300];
	follow_bed_open(&f, "mem://follow", 512, true);
	ship(&f, 2);
	assert_int_equal(bed_restore(&f.b, 0, 0), ERR_OK);
	assert_int_equal(follow_bed_run(&f, 9), ERR_EXISTS);
	assert_non_null(strstr(f.b.e.text, "cannot resume follow mode"));
	snprintf(name, sizeof(name), "%s/.app.db-follow", f.b.dir);
	put_text(name, "{\"version\": 1, \"replica\": 3}");
	assert_int_equal(follow_bed_run(&f, 9), ERR_DATABASE);
	follow_bed_close(&f);
}

/* Litestream's own file alone: its TXID is believed, the first whole file proves it again. */
static void test_litestreams_follower(void **state)
{
	(void)state;
	struct follow_bed f;
	char name[300], text[4096];
	follow_bed_open(&f, "mem://follow", 512, true);
	ship(&f, 2);
	follow_bed_restore(&f, 0);
	snprintf(name, sizeof(name), "%s/.app.db-follow", f.b.dir);
	assert_int_equal(unlink(name), 0);
	snprintf(text, sizeof(text), "%s-txid", f.b.db);
	put_text(text, "0000000000000002\n");
	ship(&f, 2);
	assert_int_equal(follow_bed_run(&f, 1), ERR_OK);
	follow_bed_expect(&f, 4);
	ship(&f, 2);
	replica_put(&f.b.r, 9, 1, 6);
	drop_l0(&f, 5, 5);
	assert_int_equal(follow_bed_run(&f, 2), ERR_OK);
	follow_bed_expect(&f, 6);
	/* From here on a file that does not fit is refused. */
	f.b.r.states[6].checksum ^= 2;
	ship(&f, 1);
	expect_end(&f, ERR_DAMAGED, "not written on top of", 6);
	follow_bed_close(&f);
}

/* ---- requests ---- */

static void test_one_list_an_interval(void **state)
{
	(void)state;
	struct follow_bed f;
	struct store_counts before, after;
	follow_bed_open(&f, "mem://follow", 512, true);
	ship(&f, 40);
	follow_bed_restore(&f, 0);
	store_get_counts(f.b.store, &before);
	assert_int_equal(follow_bed_run(&f, 50), ERR_OK);
	store_get_counts(f.b.store, &after);
	assert_int_equal(after.list - before.list, 50);
	assert_int_equal(after.get - before.get, 0);
	assert_int_equal(after.head - before.head, 0);
	assert_int_equal(f.waited_ms, 50 * FOLLOW_BED_MS);
	follow_bed_close(&f);
}

static void heal(struct follow_bed *f, int turn)
{
	(void)f;
	if (turn == 20)
		store_fault_heal("follow");
}

static void test_a_store_that_is_away(void **state)
{
	(void)state;
	struct follow_bed f;
	struct err e;
	store_fault_register("follow", NULL, &e);
	follow_bed_open(&f, "fault://follow", 512, true);
	ship(&f, 2);
	follow_bed_restore(&f, 0);
	ship(&f, 2);
	store_fault_add("follow", &(struct store_fault){.action = STORE_FAULT_FAIL});
	f.script = heal;
	assert_int_equal(follow_bed_run(&f, 22), ERR_OK);
	follow_bed_expect(&f, 4);
	assert_int_equal(f.longest_ms, FOLLOW_PAUSE_MS);
	/* 1, 2, 4, 8, 16, then 30 s each; the last two as always. */
	assert_int_equal(f.waited_ms, 31000 + 15 * FOLLOW_PAUSE_MS + 2000);
	follow_bed_close(&f);
	store_fault_forget();
}

/* ---- plans ---- */

/* Fewest steps from `at` to `goal`, or SIZE_MAX: every way is tried. */
static size_t fewest(const struct ltx_set *set, uint64_t at, uint64_t goal, bool full)
{
	size_t best = SIZE_MAX;
	if (at == goal)
		return 0;
	for (size_t i = 0; i < set->count; i++) {
		const struct ltx_file *f = &set->files[i];
		if (!ltx_follows(at, f) || (f->min_txid == 1 && !full))
			continue;
		size_t rest = fewest(set, f->max_txid, goal, full);
		if (rest != SIZE_MAX && rest + 1 < best)
			best = rest + 1;
	}
	return best;
}

static void check_plan(const struct ltx_set *set, uint64_t at)
{
	struct follow_plan plan;
	struct err e = ERR_INIT;
	uint64_t goal = ltxset_max_txid(set), reached = at;
	int rc = follow_plan_make(set, at, NULL, 0, &plan, &e);
	if (goal < at) {
		assert_int_equal(rc, ERR_NO_BACKUP);
		return;
	}
	size_t lean = fewest(set, at, goal, false), any = fewest(set, at, goal, true);
	assert_int_equal(rc, any == SIZE_MAX ? ERR_DAMAGED : ERR_OK);
	for (size_t i = 0; !rc && i < plan.count; i++) {
		assert_true(ltx_follows(reached, &plan.files[i]));
		reached = plan.files[i].max_txid;
	}
	if (!rc) {
		assert_int_equal(reached, goal);
		assert_int_equal(plan.full, lean == SIZE_MAX);
		if (lean != SIZE_MAX)
			assert_int_equal(plan.count, lean);
	}
	follow_plan_free(&plan);
}

static void test_plans(void **state)
{
	(void)state;
	srand(7);
	for (int round = 0; round < 3000; round++) {
		struct ltx_set set;
		ltxset_init(&set);
		for (int i = rand() % 9; i > 0; i--) {
			uint64_t min = 1 + (uint64_t)rand() % 9;
			struct ltx_file f = {
				.level = rand() % 10, .min_txid = min, .max_txid = min + (uint64_t)rand() % 4};
			assert_int_equal(ltxset_add(&set, &f), ERR_OK);
		}
		ltxset_sort(&set);
		check_plan(&set, 1 + (uint64_t)rand() % 9);
		ltxset_free(&set);
	}
}

int main(void)
{
	follow_bed_no_fsync();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_grows_and_shrinks),
		cmocka_unit_test(test_goes_on_where_it_was),
		cmocka_unit_test(test_larger_files_bridge),
		cmocka_unit_test(test_without_l0),
		cmocka_unit_test(test_waits_for_readers),
		cmocka_unit_test(test_a_gap_is_told),
		cmocka_unit_test(test_an_emptied_replica_is_told),
		cmocka_unit_test(test_damaged_files),
		cmocka_unit_test(test_another_line),
		cmocka_unit_test(test_somebody_else_writes),
		cmocka_unit_test(test_another_page_size),
		cmocka_unit_test(test_nobodys_follower),
		cmocka_unit_test(test_litestreams_follower),
		cmocka_unit_test(test_one_list_an_interval),
		cmocka_unit_test(test_a_store_that_is_away),
		cmocka_unit_test(test_plans),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
