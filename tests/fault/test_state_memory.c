/*
 * A state that is saved while allocations fail is saved whole, or the old one stays; one that is
 * loaded is right, or it is said that memory is out: each allocation in turn, alone and with all
 * behind it. (Not under a sanitizer, which has an allocator of its own.)
 */
#include "lib/no_memory.h"
#include "lib/tmpdir.h"

#include "base/fs.h"
#include "conf/state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#if !NO_MEMORY_POSSIBLE
static void test_saved_whole_or_not(void **state)
{
	(void)state;
	skip();
}

static void test_loaded_right_or_not(void **state)
{
	(void)state;
	skip();
}
#else

static void fill(struct state *s, uint64_t txid)
{
	memset(s, 0, sizeof(*s));
	snprintf(s->replica, sizeof(s->replica), "s3://bucket/my-app");
	snprintf(s->database, sizeof(s->database), "/app/production.sqlite3");
	snprintf(s->reason, sizeof(s->reason), "a sentence");
	s->txid = txid;
}

/* The TXID of what is there. */
static uint64_t load_whole(struct state_dir *d)
{
	struct state s;
	struct err e = ERR_INIT;
	bool copied;
	if (state_load(d, &s, &copied, &e))
		fail_msg("%s", e.text);
	assert_false(copied);
	assert_string_equal(s.replica, "s3://bucket/my-app");
	assert_string_equal(s.database, "/app/production.sqlite3");
	assert_string_equal(s.reason, "a sentence");
	return s.txid;
}

static void test_saved_whole_or_not(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct state_dir *d = NULL;
	struct state s;
	uint64_t saved = 1;
	char *dir = tmpdir_new();
	assert_int_equal(state_dir_open(&d, dir, &e), 0);
	fill(&s, saved);
	assert_int_equal(state_save(d, &s, &e), 0);
	unsigned failed = 0;
	for (unsigned at = 1;; at++) {
		fill(&s, saved + 1);
		err_clear(&e);
		calls = 0;
		fail_at = at;
		armed = true;
		int rc = state_save(d, &s, &e);
		armed = false;
		failed += rc != 0;
		uint64_t found = load_whole(d);
		/* A save that fails at the folder's fsync is there all the same. */
		assert_true(found == saved + 1 || (rc && found == saved));
		saved = found;
		if (calls < at)
			break;
	}
	assert_true(failed > 50);
	state_dir_close(d);
	tmpdir_free(dir);
}

/* Jansson reads on with a character less where it had no room for one. */
static unsigned sweep_loads(struct state_dir *d, const struct state *saved)
{
	unsigned failed = 0;
	for (unsigned at = 1;; at++) {
		struct state s;
		struct err e = ERR_INIT;
		bool copied;
		calls = 0;
		fail_at = at;
		armed = true;
		int rc = state_load(d, &s, &copied, &e);
		armed = false;
		if (rc && rc != ERR_NOMEM && rc != ERR_IO)
			fail_msg("allocation %u: %d %s", at, rc, e.text);
		if (!rc)
			assert_true(!copied && memcmp(&s, saved, sizeof(s)) == 0);
		failed += rc != 0;
		if (calls < at)
			return failed;
	}
}

static void test_loaded_right_or_not(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct state_dir *d = NULL;
	struct state s, saved;
	bool copied;
	char *dir = tmpdir_new();
	assert_int_equal(state_dir_open(&d, dir, &e), 0);
	fill(&s, 7);
	memset(s.database, 'd', sizeof(s.database) - 1); /* grows and grows */
	assert_int_equal(state_save(d, &s, &e), 0);
	assert_int_equal(state_load(d, &saved, &copied, &e), 0);
	for (int for_ever = 0; for_ever < 2; for_ever++) {
		fail_for_ever = for_ever;
		assert_true(sweep_loads(d, &saved) > 50);
	}
	fail_for_ever = false;
	state_dir_close(d);
	tmpdir_free(dir);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_saved_whole_or_not),
		cmocka_unit_test(test_loaded_right_or_not),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
