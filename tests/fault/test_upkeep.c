/* The upkeep of a replica: when it runs, what it asks of the store, what it finds out. */
#include "lib/upkeep_bed.h"
#include "lib/tmpdir.h"

#include "base/fs.h"
#include "base/log.h"
#include "replicate/fence.h"
#include "restore/restore.h"
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

static void delete_file(struct bed *b, int level, uint64_t min, uint64_t max)
{
	struct store *s = NULL;
	char name[FENCE_NAME_SIZE];
	const char *names[] = {name};
	struct store_delete_result gone;
	assert_int_equal(store_open(&s, URL, NULL, &b->e), ERR_OK);
	fence_name(s, level, min, max, name);
	assert_int_equal(store_delete(s, names, 1, &gone, &b->e), ERR_OK);
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
	/* A day after the first one came in, for there is a change behind it. */
	assert_true(st.next_snapshot_ms >= st.snapshot_ms + 24 * HOUR_MS);
	assert_true(st.next_snapshot_ms <= st.latest_ms + 24 * HOUR_MS);
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

/* n uploads, one a second. */
static void uploads(struct bed *b, int n)
{
	for (int i = 0; i < n; i++) {
		ship_skip(1000);
		app_change(b->db);
		assert_int_equal(ship_sync(&b->s, 0), ERR_OK);
	}
}

/* A tail check (F4) after a long pause is a LIST too. */
static void test_audit_once_a_day(void **state)
{
	struct bed *b = *state;
	start(b);
	change(b);
	for (int day = 0; day < 2; day++) {
		ship_skip(12 * HOUR_MS);
		change(b);
		uint64_t lists = calls(STORE_OP_LIST);
		uploads(b, 110);
		assert_int_equal(calls(STORE_OP_LIST), lists);
		ship_skip(13 * HOUR_MS);
		change(b);
		assert_int_equal(calls(STORE_OP_LIST), lists + 2);
	}
	assert_string_equal(ship_status(&b->s).upkeep_error, "");
}

/* Where little is written, every third day. */
static void test_audit_of_a_quiet_database(void **state)
{
	struct bed *b = *state;
	start(b);
	uint64_t lists = calls(STORE_OP_LIST);
	for (int day = 1; day <= 6; day++) {
		ship_skip(24 * HOUR_MS + 60000);
		change(b);
		change(b);
		assert_int_equal(calls(STORE_OP_LIST), lists + (uint64_t)(day + day / 3));
	}
}

static void test_missing_file(void **state)
{
	struct bed *b = *state;
	start(b);
	for (int i = 0; i < 3; i++)
		change(b);
	delete_file(b, 0, 2, 2);
	ship_skip(73 * HOUR_MS);
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
	ship_skip(73 * HOUR_MS);
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
	ship_skip(73 * HOUR_MS);
	change(b);
	assert_int_equal(ship_status(&b->s).replica_files, files + 2);
}

/* F4: the listing shows that another node writes here. */
static void test_foreign_file(void **state)
{
	struct bed *b = *state;
	start(b);
	change(b);
	ship_skip(71 * HOUR_MS);
	change(b);
	ship_skip(HOUR_MS + HOUR_MS / 4);
	/* Within the 90 minutes that an upload trusts its last one. */
	put_file(b, 0, 9, 9);
	change(b);
	assert_true(ship_until(&b->s, REPLICATOR_FENCED));
	assert_non_null(strstr(ship_status(&b->s).reason, "0000000000000009"));
	assert_int_equal(ship_sync(&b->s, 1000), ERR_FENCED);
}

/* The URL is a bucket's, and others keep things below it. */
static void test_much_else_below_the_url(void **state)
{
	struct bed *b = *state;
	struct store *s = NULL;
	struct store_body body = {.data = "x", .fd = -1, .size = 1};
	start(b);
	change(b);
	assert_int_equal(store_open(&s, URL, NULL, &b->e), ERR_OK);
	for (int i = 0; i < 5100; i++) {
		char name[64];
		snprintf(name, sizeof(name), "another/app/%d", i);
		assert_int_equal(store_put(s, name, &body, &(struct store_put_opts){0}, &b->e), ERR_OK);
	}
	store_close(s);
	delete_file(b, 0, 2, 2);
	uint64_t lists = calls(STORE_OP_LIST);
	ship_skip(73 * HOUR_MS);
	change(b);
	assert_int_equal(calls(STORE_OP_LIST), lists + 1 + 1 + LTX_LEVELS);
	assert_non_null(strstr(ship_status(&b->s).upkeep_error, "1 file is missing"));
	/* The next one knows. */
	lists = calls(STORE_OP_LIST);
	ship_skip(73 * HOUR_MS);
	change(b);
	assert_int_equal(calls(STORE_OP_LIST), lists + 1 + LTX_LEVELS);
	assert_string_equal(ship_status(&b->s).upkeep_error, "");
}

/* The store is away: said, not dwelled upon, and forgotten when it is back. */
static void test_store_away(void **state)
{
	struct bed *b = *state;
	start(b);
	change(b);
	ship_skip(73 * HOUR_MS);
	change(b); /* takes the tail check away from what follows */
	ship_skip(73 * HOUR_MS);
	struct store_fault f = {.op = STORE_OP_LIST, .nth = 2, .action = STORE_FAULT_FAIL};
	assert_int_equal(store_fault_add("u", &f), 0);
	change(b);
	assert_non_null(strstr(ship_status(&b->s).upkeep_error, "upkeep"));
	uint64_t before = calls(STORE_OP_LIST);
	for (int i = 0; i < 10; i++)
		change(b);
	assert_int_equal(calls(STORE_OP_LIST), before);
	store_fault_heal("u");
	ship_skip(3 * 60 * 1000);
	change(b);
	assert_int_equal(calls(STORE_OP_LIST), before + 1);
	assert_string_equal(ship_status(&b->s).upkeep_error, "");
	assert_true(ship_same(b->db, URL, b->dir));
}

/* ---- levels and retention ---- */

/* Files of a level in the replica. */
static int files_of(struct bed *b, int level)
{
	struct store *s = NULL;
	struct ltx_set set;
	int n = 0;
	ltxset_init(&set);
	assert_int_equal(store_open(&s, URL, NULL, &b->e), ERR_OK);
	assert_int_equal(restore_list(s, &set, &b->e), ERR_OK);
	for (size_t i = 0; i < set.count; i++)
		n += set.files[i].level == level;
	ltxset_free(&set);
	store_close(s);
	return n;
}

static void upkeep(struct bed *b)
{
	ship_upkeep(&b->s);
	ship_for(&b->s, 20);
	if (ship_status(&b->s).upkeep_error[0])
		fail_msg("%s", ship_status(&b->s).upkeep_error);
}

static void test_levels(void **state)
{
	struct bed *b = *state;
	start(b);
	uploads(b, 70);
	ship_skip(40000);
	change(b);
	upkeep(b);
	assert_in_range(files_of(b, 1), 2, 4);
	assert_int_equal(files_of(b, 0), 72);
	assert_true(ship_same(b->db, URL, b->dir));
	/* Nothing is due now. */
	uint64_t before = all_calls();
	upkeep(b);
	assert_int_equal(all_calls(), before);
}

/* After ten days nothing is left of a busy minute, and of each day no more than one way. */
static void test_retention(void **state)
{
	struct bed *b = *state;
	start(b);
	uploads(b, 70);
	ship_skip(40000);
	change(b);
	upkeep(b);
	for (int day = 0; day < 10; day++) {
		ship_skip(25 * HOUR_MS);
		change(b);
		upkeep(b);
	}
	assert_in_range(files_of(b, 0), 1, 12);
	assert_int_equal(files_of(b, 1), 0);
	assert_in_range(files_of(b, 9), 1, 8);
	assert_true(ship_same(b->db, URL, b->dir));
	struct replicator_status st = ship_status(&b->s);
	assert_int_equal(st.replica_files, files_of(b, 0) + files_of(b, 1) + files_of(b, 9));
	/* And it is not tried again and again. */
	uint64_t deletes = calls(STORE_OP_DELETE);
	change(b);
	upkeep(b);
	assert_int_equal(calls(STORE_OP_DELETE), deletes);
}

static void test_no_retention(void **state)
{
	struct bed *b = *state;
	b->cfg.no_retention = true;
	start(b);
	uploads(b, 40);
	upkeep(b);
	ship_skip(8 * 24 * HOUR_MS);
	uint64_t deletes = calls(STORE_OP_DELETE);
	change(b);
	upkeep(b);
	assert_int_equal(calls(STORE_OP_DELETE), deletes);
	assert_int_equal(files_of(b, 0), 42);
}

/* What the bucket's own rules delete is no fault, as long as the present can be restored. */
static void test_rules_delete(void **state)
{
	struct bed *b = *state;
	b->cfg.no_retention = true;
	b->cfg.snapshot_renew_ms = 24 * HOUR_MS;
	start(b);
	uploads(b, 20);
	ship_skip(25 * HOUR_MS);
	ship_for(&b->s, 100); /* renewed */
	for (uint64_t txid = 1; txid < 15; txid++)
		delete_file(b, 0, txid, txid);
	ship_skip(23 * HOUR_MS);
	ship_for(&b->s, 50);
	uint64_t files = ship_status(&b->s).replica_files;
	ship_skip(50 * HOUR_MS);
	change(b);
	upkeep(b);
	assert_true(ship_status(&b->s).replica_files < files);
	assert_string_equal(ship_status(&b->s).upkeep_error, "");
	assert_true(ship_same(b->db, URL, b->dir));
}

/* They deleted what a restore of the present begins with: a snapshot at once, and it is told. */
static void test_rules_delete_too_soon(void **state)
{
	struct bed *b = *state;
	b->cfg.no_retention = true;
	start(b);
	uploads(b, 20);
	delete_file(b, 0, 1, 1);
	ship_skip(73 * HOUR_MS);
	change(b);
	ship_upkeep(&b->s);
	assert_non_null(strstr(ship_status(&b->s).upkeep_error, "lifecycle rules have deleted"));
	ship_upkeep(&b->s);
	ship_for(&b->s, 200);
	assert_true(ship_same(b->db, URL, b->dir));
	assert_non_null(strstr(ship_status(&b->s).upkeep_error, "lifecycle rules have deleted"));
	/* Until the next listing shows that all is well. */
	ship_skip(73 * HOUR_MS);
	change(b);
	upkeep(b);
	assert_string_equal(ship_status(&b->s).upkeep_error, "");
}

/* A key that may not delete: told once, tried once. */
static void test_denied_delete(void **state)
{
	struct bed *b = *state;
	start(b);
	uploads(b, 40);
	ship_skip(8 * 24 * HOUR_MS);
	change(b); /* merges; what is merged may go later */
	ship_skip(73 * HOUR_MS);
	struct store_fault f = {.op = STORE_OP_DELETE, .action = STORE_FAULT_FAIL, .code = ERR_DENIED};
	assert_int_equal(store_fault_add("u", &f), 0);
	change(b);
	ship_upkeep(&b->s);
	uint64_t deletes = calls(STORE_OP_DELETE);
	assert_non_null(strstr(ship_status(&b->s).upkeep_error, "does not let us delete"));
	for (int day = 0; day < 3; day++) {
		ship_skip(24 * HOUR_MS);
		change(b);
		ship_upkeep(&b->s);
	}
	assert_int_equal(calls(STORE_OP_DELETE), deletes);
	assert_non_null(strstr(ship_status(&b->s).upkeep_error, "does not let us delete"));
	assert_int_equal(ship_status(&b->s).state, REPLICATOR_REPLICATING);
	assert_true(ship_same(b->db, URL, b->dir));
}

/* The bucket's rules delete by age: what nobody changes is shipped anew in time, whole. */
static void test_renewal(void **state)
{
	struct bed *b = *state;
	b->cfg.no_retention = true;
	b->cfg.snapshot_renew_ms = 12 * HOUR_MS;
	start(b);
	uint64_t txid = ship_status(&b->s).txid;
	assert_int_equal(txid, 1);
	for (uint64_t half_day = 1; half_day <= 4; half_day++) {
		int64_t before = ship_status(&b->s).snapshot_ms;
		uint64_t puts = calls(STORE_OP_PUT);
		ship_skip(11 * HOUR_MS);
		ship_for(&b->s, 20);
		assert_int_equal(calls(STORE_OP_PUT), puts);
		ship_skip(HOUR_MS + 1000);
		for (int i = 0; i < 600 && calls(STORE_OP_PUT) < puts + 2; i++)
			ship_for(&b->s, 50);
		ship_for(&b->s, 50); /* and no more */
		assert_int_equal(calls(STORE_OP_PUT), puts + 2);
		assert_int_equal(ship_status(&b->s).txid, txid + half_day);
		assert_true(ship_status(&b->s).snapshot_ms > before + 11 * HOUR_MS);
		assert_true(ship_has(URL, 9, 1, txid + half_day));
		assert_true(ship_same(b->db, URL, b->dir));
	}
	/* Nobody ran for days: at the start. */
	ship_close(&b->s);
	ship_skip(60 * HOUR_MS);
	start(b);
	ship_for(&b->s, 100);
	assert_true(ship_has(URL, 9, 1, txid + 5));
}

/* The store is away when it falls due, and nobody uploads anything that could wake us later. */
static void test_renewal_after_trouble(void **state)
{
	struct bed *b = *state;
	b->cfg.no_retention = true;
	b->cfg.snapshot_renew_ms = 12 * HOUR_MS;
	start(b);
	struct store_fault f = {.op = STORE_OP_ANY, .action = STORE_FAULT_FAIL};
	assert_int_equal(store_fault_add("u", &f), 0);
	for (int i = 0; i < 13; i++) {
		ship_skip(HOUR_MS);
		ship_for(&b->s, 20);
	}
	store_fault_heal("u");
	for (int i = 0; i < 3; i++) {
		ship_skip(HOUR_MS);
		ship_for(&b->s, 50);
	}
	assert_true(ship_has(URL, 9, 1, 2));
	assert_true(ship_same(b->db, URL, b->dir));
}

/* Another database stands there: until a person says so nothing is merged, made or deleted. */
static void test_replaced(void **state)
{
	struct bed *b = *state;
	char command[1300];
	start(b);
	uploads(b, 70);
	snprintf(command, sizeof(command), "mv '%s' '%s-old' && rm -f '%s-wal' '%s-shm'", b->db, b->db,
		b->db, b->db);
	assert_int_equal(system(command), 0);
	app_create(b->db, 5);
	assert_true(ship_until(&b->s, REPLICATOR_REPLACED));
	uint64_t before = all_calls();
	for (int day = 0; day < 10; day++) {
		ship_skip(25 * HOUR_MS);
		app_change(b->db);
		ship_for(&b->s, 10);
		ship_upkeep(&b->s);
	}
	assert_int_equal(all_calls(), before);
	/* Accepted: the former states are what retention makes of them, as ever. */
	ship_close(&b->s);
	b->cfg.accept = true;
	start(b);
	assert_true(ship_same(b->db, URL, b->dir));
}

/* F5: minutes after the last upload a merge is not put before a look behind our last L0. */
static void test_gate(void **state)
{
	struct bed *b = *state;
	start(b);
	b->s.no_upkeep = true;
	uploads(b, 70);
	uint64_t lists = calls(STORE_OP_LIST), puts = calls(STORE_OP_PUT);
	ship_skip(4 * 60 * 1000);
	upkeep(b);
	assert_int_equal(calls(STORE_OP_LIST), lists);
	assert_true(calls(STORE_OP_PUT) > puts);
	uploads(b, 70);
	puts = calls(STORE_OP_PUT);
	ship_skip(6 * 60 * 1000);
	upkeep(b);
	assert_int_equal(calls(STORE_OP_LIST), lists + 1);
	assert_true(calls(STORE_OP_PUT) > puts);
	/* Another node's upload is there: nothing is put. */
	uploads(b, 70);
	puts = calls(STORE_OP_PUT);
	ship_skip(6 * 60 * 1000);
	put_file(b, 0, 999, 999);
	ship_upkeep(&b->s);
	assert_int_equal(calls(STORE_OP_PUT), puts);
	assert_true(ship_until(&b->s, REPLICATOR_FENCED));
	/* And nothing more is done by an upkeep. */
	uint64_t before = all_calls();
	ship_skip(50 * HOUR_MS);
	ship_upkeep(&b->s);
	assert_int_equal(all_calls(), before);
}

/* Half of an answer: what is gone is gone, the rest is tried again. */
static void test_some_deletes_fail(void **state)
{
	struct bed *b = *state;
	start(b);
	uploads(b, 40);
	ship_skip(8 * 24 * HOUR_MS);
	change(b);
	struct store_fault f = {.op = STORE_OP_DELETE,
		.name_contains = "0000000000000023.ltx",
		.action = STORE_FAULT_FAIL,
		.code = ERR_UNREACHABLE};
	assert_int_equal(store_fault_add("u", &f), 0);
	ship_skip(73 * HOUR_MS);
	change(b);
	ship_upkeep(&b->s);
	assert_true(ship_has(URL, 0, 0x23, 0x23));
	assert_false(ship_has(URL, 0, 0x22, 0x22));
	assert_false(ship_has(URL, 0, 0x24, 0x24));
	assert_int_equal(
		ship_status(&b->s).replica_files, files_of(b, 0) + files_of(b, 1) + files_of(b, 9));
	store_fault_heal("u");
	ship_skip(73 * HOUR_MS);
	change(b);
	upkeep(b);
	assert_false(ship_has(URL, 0, 0x23, 0x23));
}

/* All full files are gone: nothing is deleted, and a snapshot is made at once. */
static void test_cover_is_gone(void **state)
{
	struct bed *b = *state;
	start(b);
	uploads(b, 20);
	ship_skip(25 * HOUR_MS);
	change(b); /* a snapshot */
	ship_skip(2 * HOUR_MS);
	change(b);
	uint64_t last = ship_status(&b->s).txid;
	delete_file(b, 0, 1, 1);
	for (uint64_t t = 1; t <= last; t++)
		if (ship_has(URL, 9, 1, t))
			delete_file(b, 9, 1, t);
	assert_int_equal(files_of(b, 9), 0);
	uint64_t deletes = calls(STORE_OP_DELETE);
	ship_skip(73 * HOUR_MS);
	change(b);
	ship_upkeep(&b->s);
	assert_int_equal(calls(STORE_OP_DELETE), deletes);
	assert_non_null(strstr(ship_status(&b->s).upkeep_error, "missing"));
	for (int i = 0; i < 3; i++) {
		ship_skip(2 * 60 * 1000);
		change(b);
		ship_upkeep(&b->s);
	}
	assert_int_equal(files_of(b, 9), 1);
	assert_true(ship_same(b->db, URL, b->dir));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup_upkeep, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_status),
		TEST(test_idle),
		TEST(test_not_after_each_upload),
		TEST(test_restart),
		TEST(test_audit_once_a_day),
		TEST(test_audit_of_a_quiet_database),
		TEST(test_missing_file),
		TEST(test_not_missing_after_all),
		TEST(test_unknown_file),
		TEST(test_foreign_file),
		TEST(test_much_else_below_the_url),
		TEST(test_store_away),
		TEST(test_levels),
		TEST(test_retention),
		TEST(test_no_retention),
		TEST(test_rules_delete),
		TEST(test_rules_delete_too_soon),
		TEST(test_denied_delete),
		TEST(test_renewal),
		TEST(test_renewal_after_trouble),
		TEST(test_replaced),
		TEST(test_gate),
		TEST(test_some_deletes_fail),
		TEST(test_cover_is_gone),
	};
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
