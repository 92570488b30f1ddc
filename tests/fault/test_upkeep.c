/* The upkeep of a replica: when it runs, what it asks of the store, what it finds out. */
#include "lib/ship.h"
#include "lib/tmpdir.h"

#include "base/fs.h"
#include "base/log.h"
#include "replicate/fence.h"
#include "store/fault.h"
#include "store/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define URL "mem://u"
#define HOUR_MS (INT64_C(3600) * 1000)

struct bed {
	char *dir;
	char db[300];
	struct replicator_config cfg;
	struct ship s;
	struct err e;
};

static struct fs_ops quick;

static int no_fsync(int fd)
{
	(void)fd;
	return 0;
}

static int setup(void **state)
{
	struct bed *b = calloc(1, sizeof(*b));
	log_set_level(getenv("SHOW") ? LOG_DEBUG : LOG_ERROR + 1);
	quick = fs_system_ops;
	quick.fsync = no_fsync;
	fs_set_ops(&quick);
	b->dir = tmpdir_new();
	snprintf(b->db, sizeof(b->db), "%s/app.db", b->dir);
	assert_int_equal(store_fault_register("u", NULL, &b->e), ERR_OK);
	b->cfg = ship_config(b->db, "fault://u");
	app_create(b->db, 20);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bed *b = *state;
	if (b->s.r)
		ship_close(&b->s);
	fs_set_ops(NULL);
	store_fault_forget();
	store_mem_forget(NULL);
	tmpdir_free(b->dir);
	free(b);
	return 0;
}

static void start(struct bed *b)
{
	assert_int_equal(ship_open(&b->s, &b->cfg), ERR_OK);
	assert_int_equal(ship_sync(&b->s, 0), ERR_OK);
	ship_for(&b->s, 20);
}

/* An upload, and the upkeep if that makes it due. */
static void change(struct bed *b)
{
	app_change(b->db);
	assert_int_equal(ship_sync(&b->s, 0), ERR_OK);
	ship_for(&b->s, 20);
}

static uint64_t calls(enum store_op op)
{
	return store_fault_calls("u", op);
}

static uint64_t all_calls(void)
{
	return calls(STORE_OP_PUT) + calls(STORE_OP_GET) + calls(STORE_OP_HEAD) + calls(STORE_OP_LIST) +
		   calls(STORE_OP_DELETE);
}

static void name_of(struct store *s, int level, uint64_t min, uint64_t max, char *out)
{
	fence_name(s, level, min, max, out);
}

static void delete_file(struct bed *b, int level, uint64_t min, uint64_t max)
{
	struct store *s = NULL;
	char name[FENCE_NAME_SIZE];
	const char *names[] = {name};
	struct store_delete_result gone;
	assert_int_equal(store_open(&s, URL, NULL, &b->e), ERR_OK);
	name_of(s, level, min, max, name);
	assert_int_equal(store_delete(s, names, 1, &gone, &b->e), ERR_OK);
	store_close(s);
}

static void put_file(struct bed *b, int level, uint64_t min, uint64_t max)
{
	struct store *s = NULL;
	char name[FENCE_NAME_SIZE];
	struct store_body body = {.data = "x", .fd = -1, .size = 1};
	assert_int_equal(store_open(&s, URL, NULL, &b->e), ERR_OK);
	name_of(s, level, min, max, name);
	assert_int_equal(store_put(s, name, &body, &(struct store_put_opts){0}, &b->e), ERR_OK);
	store_close(s);
}

/* ---- when ---- */

static void test_status(void **state)
{
	struct bed *b = *state;
	start(b);
	change(b);
	struct replicator_status st = ship_status(&b->s);
	assert_int_equal(st.replica_files, 2);
	assert_true(st.replica_bytes > 4096);
	assert_int_equal(st.earliest_txid, 1);
	assert_int_equal(st.latest_txid, 2);
	assert_true(st.latest_ms > st.earliest_ms);
	assert_int_equal(st.snapshot_ms, st.earliest_ms);
	assert_string_equal(st.upkeep_error, "");
}

/* Days go by without a request. */
static void test_idle(void **state)
{
	struct bed *b = *state;
	start(b);
	change(b);
	uint64_t before = all_calls(), upkeeps = b->s.upkeeps;
	for (int day = 0; day < 3; day++) {
		ship_skip(24 * HOUR_MS);
		ship_for(&b->s, 10);
	}
	assert_int_equal(all_calls(), before);
	assert_int_equal(b->s.upkeeps, upkeeps);
}

/* Woken after some uploads, or by the first one after an hour; not by each. */
static void test_not_after_each_upload(void **state)
{
	struct bed *b = *state;
	start(b);
	uint64_t upkeeps = b->s.upkeeps;
	change(b);
	change(b);
	assert_int_equal(b->s.upkeeps, upkeeps);
	ship_skip(2 * HOUR_MS);
	change(b);
	assert_int_equal(b->s.upkeeps, upkeeps + 1);
	for (int i = 0; i < 8; i++)
		change(b);
	assert_int_equal(b->s.upkeeps, upkeeps + 2);
}

/* What is known of the replica is known after a restart: the same times, no question. */
static void test_restart(void **state)
{
	struct bed *b = *state;
	start(b);
	change(b);
	ship_skip(50 * HOUR_MS);
	change(b);
	struct replicator_status before = ship_status(&b->s);
	ship_close(&b->s);
	ship_skip(HOUR_MS);
	start(b);
	struct replicator_status now = ship_status(&b->s);
	assert_int_equal(now.earliest_ms, before.earliest_ms);
	assert_int_equal(now.latest_ms, before.latest_ms);
	assert_int_equal(now.replica_files, before.replica_files);
	assert_int_equal(now.replica_bytes, before.replica_bytes);
}

/* ---- the audit ---- */

static void test_audit_once_a_day(void **state)
{
	struct bed *b = *state;
	start(b);
	change(b);
	for (int day = 0; day < 3; day++) {
		ship_skip(12 * HOUR_MS);
		change(b); /* its tail check (F4) is a LIST too */
		uint64_t lists = calls(STORE_OP_LIST);
		for (int i = 0; i < 10; i++)
			change(b);
		assert_int_equal(calls(STORE_OP_LIST), lists);
		ship_skip(13 * HOUR_MS);
		change(b);
		assert_int_equal(calls(STORE_OP_LIST), lists + 2);
	}
	assert_string_equal(ship_status(&b->s).upkeep_error, "");
}

static void test_missing_file(void **state)
{
	struct bed *b = *state;
	start(b);
	for (int i = 0; i < 3; i++)
		change(b);
	delete_file(b, 0, 2, 2);
	ship_skip(25 * HOUR_MS);
	change(b);
	struct replicator_status st = ship_status(&b->s);
	assert_non_null(strstr(st.upkeep_error, "0000000000000002-0000000000000002.ltx"));
	assert_true(st.upkeep_error_ms > 0);
	assert_int_equal(st.state, REPLICATOR_REPLICATING);
}

/* A listing that leaves something out is no proof that it is gone. */
static void hide(void *ctx, const char *name)
{
	(void)name;
	put_file(ctx, 0, 2, 2);
}

static void test_not_missing_after_all(void **state)
{
	struct bed *b = *state;
	start(b);
	change(b);
	delete_file(b, 0, 2, 2);
	/* It comes back between the listing and the question, of another size: that is told as well. */
	struct store_fault f = {
		.op = STORE_OP_HEAD, .action = STORE_FAULT_HOOK, .hook = hide, .ctx = b};
	assert_int_equal(store_fault_add("u", &f), 0);
	ship_skip(25 * HOUR_MS);
	change(b);
	assert_non_null(strstr(ship_status(&b->s).upkeep_error, "changed there"));
}

/* An upload whose answer was lost for ever is found. */
static void test_unknown_file(void **state)
{
	struct bed *b = *state;
	start(b);
	change(b);
	put_file(b, 1, 1, 2);
	uint64_t files = ship_status(&b->s).replica_files;
	ship_skip(25 * HOUR_MS);
	change(b);
	assert_int_equal(ship_status(&b->s).replica_files, files + 2);
}

/* F4: the listing shows that another node writes here. */
static void test_foreign_file(void **state)
{
	struct bed *b = *state;
	start(b);
	change(b);
	ship_skip(23 * HOUR_MS);
	change(b);
	ship_skip(HOUR_MS + HOUR_MS / 4);
	/* Within the 90 minutes that an upload trusts its last one. */
	put_file(b, 0, 9, 9);
	change(b);
	assert_true(ship_until(&b->s, REPLICATOR_FENCED));
	assert_non_null(strstr(ship_status(&b->s).reason, "0000000000000009"));
	assert_int_equal(ship_sync(&b->s, 1000), ERR_FENCED);
}

/* The store is away: said, not dwelled upon, and forgotten when it is back. */
static void test_store_away(void **state)
{
	struct bed *b = *state;
	start(b);
	change(b);
	ship_skip(25 * HOUR_MS);
	change(b); /* takes the tail check away from what follows */
	ship_skip(25 * HOUR_MS);
	struct store_fault f = {.op = STORE_OP_LIST, .nth = 2, .action = STORE_FAULT_FAIL};
	assert_int_equal(store_fault_add("u", &f), 0);
	change(b);
	assert_non_null(strstr(ship_status(&b->s).upkeep_error, "upkeep"));
	uint64_t upkeeps = b->s.upkeeps;
	for (int i = 0; i < 10; i++)
		change(b);
	assert_int_equal(b->s.upkeeps, upkeeps);
	store_fault_heal("u");
	ship_skip(3 * 60 * 1000);
	change(b);
	assert_int_equal(b->s.upkeeps, upkeeps + 1);
	assert_string_equal(ship_status(&b->s).upkeep_error, "");
	assert_true(ship_same(b->db, URL, b->dir));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_status),
		TEST(test_idle),
		TEST(test_not_after_each_upload),
		TEST(test_restart),
		TEST(test_audit_once_a_day),
		TEST(test_missing_file),
		TEST(test_not_missing_after_all),
		TEST(test_unknown_file),
		TEST(test_foreign_file),
		TEST(test_store_away),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
