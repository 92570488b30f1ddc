/*
 * The process ends at the Nth change that it makes to any file while a snapshot is made, for every
 * N: the next life uploads what was finished, makes what was not, and leaves nothing behind.
 */
#include "lib/crash.h"
#include "lib/image.h"
#include "lib/ship.h"
#include "lib/tmpdir.h"

#include "base/fs.h"
#include "base/log.h"
#include "format/ltxset.h"
#include "replicate/snapshots.h"

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

#define TURNS 2000

struct bed {
	char *dir;
	char db[256], url[256];
};

static int always(struct replicator *r, struct err *e)
{
	(void)r, (void)e;
	return ERR_OK;
}

/* Ships, then makes a snapshot, or ends the one of an earlier life. */
static bool make(struct ship *s)
{
	struct replica_file made = {0};
	struct err e = ERR_INIT;
	int64_t wait;
	for (int i = 0; i < TURNS && !made.max_txid; i++) {
		if (snapshot_step(s->r, true, always, &made, &wait, &e)) {
			fprintf(stderr, "snapshot: %s\n", e.text);
			return false;
		}
		s->turn_due = 0;
		ship_for(s, 1);
	}
	return made.max_txid != 0;
}

static int life(struct bed *b, long crash_at)
{
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		struct ship s;
		struct replicator_config cfg = ship_config(b->db, b->url);
		log_set_level(getenv("SHOW") ? LOG_DEBUG : LOG_ERROR);
		int rc = ship_open(&s, &cfg);
		s.no_upkeep = true;
		if (!rc)
			rc = ship_sync(&s, 0);
		crash_arm(crash_at);
		bool made = !rc && make(&s);
		if (made)
			ship_close(&s);
		_exit(made ? 0 : 1);
	}
	int status;
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

static bool is_empty(const struct bed *b)
{
	char command[400];
	snprintf(command, sizeof(command),
		"! find '%s/.app.db-litestream' -path '*/9/*' -o -name 'staging-*' | grep -q .", b->dir);
	return system(command) == 0;
}

static void test_at_every_change(void **state)
{
	(void)state;
	struct bed b = {.dir = tmpdir_new()};
	unsigned crashes = 0;
	uint64_t txid = 0;
	int code;
	snprintf(b.db, sizeof(b.db), "%s/app.db", b.dir);
	snprintf(b.url, sizeof(b.url), "file://%s/replica", b.dir);
	app_create(b.db, 120);
	for (long n = 1; (code = life(&b, n)) != 0; n++) {
		assert_int_equal(code, CRASH_EXIT);
		crashes++;
		assert_int_equal(life(&b, -1), 0);
		assert_true(is_empty(&b));
		txid = ship_max_txid(b.url);
		assert_true(ship_has(b.url, LTX_SNAPSHOT_LEVEL, 1, txid));
		assert_true(image_snapshot_is_right(b.url, txid));
		app_change(b.db); /* so that the next one is another */
	}
	assert_true(crashes > 20);
	assert_true(is_empty(&b));
	tmpdir_free(b.dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_at_every_change),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
