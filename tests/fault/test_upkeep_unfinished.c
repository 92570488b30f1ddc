/* The records of uploads in parts, and when the upkeep asks for what nobody finished. */
#include "lib/ship.h"
#include "lib/tmpdir.h"

#include "base/fs.h"
#include "base/log.h"
#include "format/ltxset.h"
#include "replicate/internal.h"
#include "replicate/resume.h"
#include "replicate/upkeep.h"
#include "store/fault.h"
#include "store/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define URL "fault://s"

static char *dir;
static char db[256], record[300];
static struct store *store;
static struct err e;

static int setup(void **state)
{
	(void)state;
	log_set_level(getenv("SHOW") ? LOG_DEBUG : LOG_ERROR + 1);
	dir = tmpdir_new();
	snprintf(db, sizeof(db), "%s/app.db", dir);
	snprintf(record, sizeof(record), "%s/uploads/9-0000000000000001-0000000000000007.ltx", dir);
	assert_int_equal(store_fault_register("s", NULL, &e), ERR_OK);
	return store_open(&store, URL, NULL, &e);
}

static int teardown(void **state)
{
	(void)state;
	store_close(store);
	store_fault_forget();
	store_mem_forget(NULL);
	tmpdir_free(dir);
	return 0;
}

/* ---- records ---- */

static struct frozen a_file(void)
{
	return (struct frozen){.txid = 7,
		.size = 100000,
		.tail = "0123456789abcde",
		.header = {.min_txid = 1, .max_txid = 7}};
}

/* The token that is recorded of this file, "" = none. */
static const char *recorded(const struct frozen *f, struct store *s)
{
	static char token[200];
	struct resume r;
	assert_int_equal(resume_init(&r, dir, s, 9, f, &e), ERR_OK);
	snprintf(token, sizeof(token), "%s", r.put.token ? r.put.token : "");
	resume_free(&r);
	return token;
}

static void record_of(const struct frozen *f, const char *token)
{
	struct resume r;
	assert_int_equal(resume_init(&r, dir, store, 9, f, &e), ERR_OK);
	assert_int_equal(r.put.keep(r.put.ctx, token, &e), ERR_OK);
	resume_free(&r);
}

static void a_record_is_of_one_file(void **state)
{
	(void)state;
	static const char token[] = "5242880\nid\n1 \"etag\"\n";
	struct frozen f = a_file(), other = f;
	struct store *elsewhere;
	assert_string_equal(recorded(&f, store), "");
	record_of(&f, token);
	assert_string_equal(recorded(&f, store), token);
	other.size++;
	assert_string_equal(recorded(&other, store), "");
	other = f;
	other.tail[15] ^= 1;
	assert_string_equal(recorded(&other, store), "");
	other = f;
	other.header.max_txid = 8;
	assert_string_equal(recorded(&other, store), "");
	assert_int_equal(store_open(&elsewhere, "mem://elsewhere", NULL, &e), ERR_OK);
	assert_string_equal(recorded(&f, elsewhere), "");
	store_close(elsewhere);
	record_of(&f, NULL);
	assert_string_equal(recorded(&f, store), "");
	assert_int_equal(access(record, F_OK), -1);
}

static void a_damaged_record_is_none(void **state)
{
	(void)state;
	static const char *const texts[] = {"", "{", "[]", "{\"version\": 2}", "{\"token\": \"x\"}",
		"{\"version\": 1, \"replica\": \"fault://s\", \"size\": 100000, \"tail\": \"\", "
		"\"token\": 5}"};
	struct frozen f = a_file();
	record_of(&f, "x\n");
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_int_equal(fs_replace_file(record, texts[i], strlen(texts[i]), 0600, &e), ERR_OK);
		assert_string_equal(recorded(&f, store), "");
	}
	/* The disk has no room: said, and nothing half written. */
	snprintf(record, sizeof(record), "%s/uploads", dir);
	assert_int_equal(fs_remove_tree(record), 0);
	assert_int_equal(fs_replace_file(record, "", 0, 0600, &e), ERR_OK);
	struct resume r;
	assert_int_equal(resume_init(&r, dir, store, 9, &f, &e), ERR_OK);
	assert_int_equal(r.put.keep(r.put.ctx, "x", &e), ERR_IO);
	resume_free(&r);
}

static void whose_file_is_gone(void **state)
{
	(void)state;
	char path[400];
	struct frozen f = a_file();
	assert_false(resume_any(dir));
	assert_int_equal(resume_look(dir, 9, 1, 7), RESUME_NONE);
	record_of(&f, "x");
	assert_true(resume_any(dir));
	assert_int_equal(resume_look(dir, 9, 1, 7), RESUME_ORPHAN);
	assert_int_equal(resume_look(dir, 8, 1, 7), RESUME_NONE);
	snprintf(path, sizeof(path), "%s/ltx/9", dir);
	assert_int_equal(fs_mkdirs(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/ltx/9/0000000000000001-0000000000000007.ltx", dir);
	assert_int_equal(fs_replace_file(path, "x", 1, 0600, &e), ERR_OK);
	assert_int_equal(resume_look(dir, 9, 1, 7), RESUME_WAITS);
	resume_drop_orphans(dir);
	assert_string_equal(recorded(&f, store), "x");
	assert_int_equal(unlink(path), 0);
	resume_drop_orphans(dir);
	assert_false(resume_any(dir));
}

/* ---- when it is asked ---- */

static uint64_t asked(void)
{
	return store_fault_calls("s", STORE_OP_UNFINISHED);
}

static void open_ship(struct ship *s)
{
	struct replicator_config cfg = ship_config(db, URL);
	app_create(db, 10);
	assert_int_equal(ship_open(s, &cfg), 0);
	s->no_upkeep = true;
	assert_int_equal(ship_sync(s, 0), ERR_OK);
}

/* As an audit would find it. */
static void note_large_file(struct ship *s)
{
	struct replica_file large = {
		.level = 9, .min_txid = 1, .max_txid = 1, .size = (UINT64_C(64) << 20) + 1};
	assert_int_equal(inventory_add(&s->r->inventory, &large, &e), ERR_OK);
}

static void only_where_it_can_be(void **state)
{
	(void)state;
	struct ship s;
	open_ship(&s);
	assert_int_equal(upkeep_unfinished(s.r, true, &e), ERR_OK);
	assert_int_equal(asked(), 0); /* nothing was ever sent in parts */
	note_large_file(&s);
	assert_int_equal(upkeep_unfinished(s.r, false, &e), ERR_OK);
	assert_int_equal(asked(), 0); /* no audit */
	assert_int_equal(upkeep_unfinished(s.r, true, &e), ERR_OK);
	assert_int_equal(asked(), 1);
	ship_close(&s);
}

static void a_refusal_is_told_once(void **state)
{
	(void)state;
	static const int codes[] = {ERR_UNSUPPORTED, ERR_DENIED};
	for (size_t i = 0; i < 2; i++) {
		struct store_fault no = {.op = STORE_OP_UNFINISHED, .code = codes[i]};
		struct ship s;
		assert_int_equal(store_fault_register("s", NULL, &e), ERR_OK);
		store_mem_forget(NULL);
		unlink(db);
		assert_int_equal(store_fault_add("s", &no), 0);
		open_ship(&s);
		note_large_file(&s);
		for (int k = 0; k < 3; k++)
			assert_int_equal(upkeep_unfinished(s.r, true, &e), ERR_OK);
		assert_int_equal(asked(), 1);
		assert_string_equal(ship_status(&s).upkeep_error, "");
		ship_close(&s);
		snprintf(record, sizeof(record), "%s/.app.db-litestream", dir);
		assert_int_equal(fs_remove_tree(record), 0);
	}
}

/* What passes is tried again, and records of files that are gone stay until then. */
static void a_failure_is_tried_again(void **state)
{
	(void)state;
	struct store_fault down = {.op = STORE_OP_UNFINISHED, .times = 1};
	struct ship s;
	open_ship(&s);
	note_large_file(&s);
	assert_int_equal(store_fault_add("s", &down), 0);
	assert_int_equal(upkeep_unfinished(s.r, true, &e), ERR_UNREACHABLE);
	assert_int_equal(upkeep_unfinished(s.r, true, &e), ERR_OK);
	assert_int_equal(asked(), 2);
	ship_close(&s);
}

/* Another node's replica is not tidied. */
static void not_while_it_is_not_ours(void **state)
{
	(void)state;
	struct ship s;
	open_ship(&s);
	note_large_file(&s);
	replicator_set_phase(s.r, PHASE_STOPPED);
	assert_int_equal(upkeep_unfinished(s.r, true, &e), ERR_CANCELLED);
	assert_int_equal(asked(), 0);
	ship_close(&s);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_record_is_of_one_file),
		TEST(a_damaged_record_is_none),
		TEST(whose_file_is_gone),
		TEST(only_where_it_can_be),
		TEST(a_refusal_is_told_once),
		TEST(a_failure_is_tried_again),
		TEST(not_while_it_is_not_ours),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
