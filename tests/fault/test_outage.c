/*
 * Hours without a store, with the clock injected: they cost lag, and nothing else. Few requests and
 * few lines in the log, no turns without end, a bounded state folder, the app's WAL as it would be
 * without us; and then the difference is shipped, not the database.
 *
 * The app has 2,000 rows of 400 bytes in 1 MB and changes some of 40 rows every ten seconds. After
 * an hour it has a busy moment, which overflows the staging, and leaves the database as it was.
 */
#include "lib/agent.h"
#include "lib/scene.h"
#include "lib/simulated.h"

#include "base/clock.h"
#include "base/log.h"
#include "conf/state.h"
#include "format/ltxset.h"
#include "store/fault.h"

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

#define SECOND_US INT64_C(1000000)
#define HOUR_US (3600 * SECOND_US)
#define EVERY_US (10 * SECOND_US)
#define HOURS 6
#define STAGING_MAX 1000000
#define INNER "mem://f"

struct bed {
	char *dir;
	char db[256], wal[270], *state_dir;
	struct agent app;
	struct replicator_config cfg;
	struct simulated sim;
	FILE *log;
};

static void commit(void *ctx)
{
	struct bed *b = ctx;
	agent_sql(&b->app, "UPDATE t SET b = randomblob(400) WHERE a = 1 + abs(random()) %% 40");
	b->sim.app_due += EVERY_US;
}

static void run(struct bed *b, int64_t us)
{
	simulated_run(&b->sim, clock_mono_us() + us);
}

static void open_it(struct bed *b)
{
	struct err e = ERR_INIT;
	int64_t app_due = b->sim.app_due;
	memset(&b->sim, 0, sizeof(b->sim));
	b->sim.app = commit;
	b->sim.app_ctx = b;
	b->sim.app_due = app_due;
	assert_int_equal(simulated_open(&b->sim, &b->cfg, &e), ERR_OK);
}

static struct replicator_status status(struct bed *b)
{
	struct replicator_status st;
	replicator_get_status(b->sim.r, &st);
	return st;
}

/* Everything that was committed is in the replica. Nothing is written meanwhile. */
static void assert_shipped(struct bed *b)
{
	int64_t app_due = b->sim.app_due;
	b->sim.app_due = INT64_MAX;
	run(b, 301 * SECOND_US);
	struct replicator_status st = status(b);
	assert_int_equal(st.state, REPLICATOR_REPLICATING);
	assert_int_equal(st.pending_bytes, 0);
	assert_true(ship_same(b->db, INNER, b->dir));
	b->sim.app_due = app_due == INT64_MAX ? app_due : clock_mono_us();
}

static int setup(void **state)
{
	struct bed *b = calloc(1, sizeof(*b));
	struct err e = ERR_INIT;
	b->dir = scene_begin();
	agent_start(&b->app);
	simulated_clock();
	b->log = tmpfile();
	log_set_fd(fileno(b->log));
	log_set_level(LOG_INFO);
	snprintf(b->db, sizeof(b->db), "%s/app.db", b->dir);
	snprintf(b->wal, sizeof(b->wal), "%s-wal", b->db);
	b->state_dir = state_default_dir(b->db);
	assert_int_equal(store_fault_register("f", NULL, &e), ERR_OK);
	b->cfg = ship_config(b->db, "fault://f");
	b->cfg.staging_max = STAGING_MAX;
	agent_do(&b->app, "open %s", b->db);
	agent_sql(&b->app, "PRAGMA synchronous = OFF");
	agent_sql(&b->app, "PRAGMA journal_mode = WAL");
	agent_sql(&b->app, "CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB)");
	agent_sql(&b->app, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE "
					   "i < 2000) INSERT INTO t SELECT i, randomblob(400) FROM n");
	agent_sql(&b->app, "VACUUM");
	b->sim.app_due = INT64_MAX;
	open_it(b);
	assert_shipped(b);
	b->sim.app_due = clock_mono_us();
	run(b, 300 * SECOND_US);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bed *b = *state;
	simulated_close(&b->sim);
	agent_stop(&b->app);
	log_set_fd(STDERR_FILENO);
	fclose(b->log);
	free(b->state_dir);
	scene_end(b->dir, NULL);
	free(b);
	return 0;
}

/* ---- what an outage may cost ---- */

static void break_calls(enum store_op op, const char *name, int code)
{
	struct store_fault f = {
		.op = op, .name_contains = name, .action = STORE_FAULT_FAIL, .code = code};
	assert_int_equal(store_fault_add("f", &f), 0);
}

static void break_store(int code)
{
	break_calls(STORE_OP_ANY, NULL, code);
}

static int log_lines(struct bed *b)
{
	int c, n = 0;
	rewind(b->log);
	while ((c = getc(b->log)) != EOF)
		n += c == '\n';
	fseek(b->log, 0, SEEK_END);
	return n;
}

static uint64_t folder_bytes(const char *dir)
{
	char command[400];
	unsigned long long n = 0;
	snprintf(command, sizeof(command),
		"find '%s' -type f -printf '%%s\n' | awk '{n += $1} END {print n + 0}'", dir);
	FILE *p = popen(command, "r");
	assert_non_null(p);
	assert_int_equal(fscanf(p, "%llu", &n), 1);
	pclose(p);
	return n;
}

static int64_t wal_bytes(struct bed *b)
{
	struct stat st;
	return stat(b->wal, &st) ? 0 : st.st_size;
}

/* Twice the staging, and what is left is as it was. */
static void busy_moment(struct bed *b)
{
	agent_sql(&b->app, "CREATE TABLE big AS SELECT a, randomblob(1000) FROM t");
	run(b, SECOND_US);
	agent_sql(&b->app, "DROP TABLE big");
	agent_sql(&b->app, "VACUUM");
	run(b, SECOND_US);
}

/* The app's WAL is its own: TRUNCATE works, and is not waited for. */
static void assert_wal_is_free(struct bed *b)
{
	assert_string_equal(agent_sql(&b->app, "PRAGMA wal_checkpoint(TRUNCATE)"), "0");
	assert_int_equal(wal_bytes(b), 0);
}

/* What these hours cost: at most so many requests, and lines in the log. */
static void hours_pass(struct bed *b, int hours, uint64_t requests, int lines)
{
	uint64_t calls = store_fault_calls("f", STORE_OP_ANY), turns = b->sim.turns,
			 works = b->sim.works;
	int said = log_lines(b);
	int64_t wal = 0, commits = hours * HOUR_US / EVERY_US;
	for (int i = 0; i < 6 * hours; i++) {
		run(b, HOUR_US / 6);
		wal = wal_bytes(b) > wal ? wal_bytes(b) : wal;
	}
	calls = store_fault_calls("f", STORE_OP_ANY) - calls;
	turns = b->sim.turns - turns;
	works = b->sim.works - works;
	said = log_lines(b) - said;
	printf("%d h: %" PRIu64 " requests, %" PRIu64 " turns, %" PRIu64
		   " works, %d lines, WAL %" PRId64 " bytes, state folder %" PRIu64 " bytes\n",
		hours, calls, turns, works, said, wal, folder_bytes(b->state_dir));
	assert_in_range(calls, 1, requests);
	assert_in_range(works, 1, requests + 10);
	/* A commit has an event, and after it the header is looked at a dozen times. */
	assert_true(turns < (uint64_t)commits * 40 + 4 * requests);
	assert_in_range(said, 0, lines);
	/* Its own 1,000 frames, what a large transaction adds, and none of ours on top. */
	assert_true(wal < 2000 * 4120);
	/* The page table, the staging, and the copies of what was uploaded (copies-size). */
	assert_true(folder_bytes(b->state_dir) < (UINT64_C(16) << 20) + 2 * STAGING_MAX);
}

struct uploads {
	uint64_t after, files, bytes;
};

static int add_upload(void *ctx, const struct store_object *o, struct err *e)
{
	struct uploads *u = ctx;
	uint64_t min, max;
	(void)e;
	if (ltx_parse_name(o->name, &min, &max) && min > u->after) {
		u->files++;
		u->bytes += o->size;
		assert_int_equal(max, u->after + u->files); /* each TXID, once */
	}
	return ERR_OK;
}

/* The store is back: how many bytes are sent until all is there. *files of them. */
static uint64_t recover(struct bed *b, uint64_t *files)
{
	struct store *s = NULL;
	struct err e = ERR_INIT;
	struct uploads u = {.after = status(b).txid};
	if (!u.after) /* a start that has not seen the store yet */
		u.after = ship_max_txid(INNER);
	store_fault_heal("f");
	assert_shipped(b);
	assert_int_equal(store_open(&s, INNER, NULL, &e), ERR_OK);
	assert_int_equal(store_list(s, "ltx/0/", NULL, 0, add_upload, &u, &e), ERR_OK);
	store_close(s);
	printf("back: %" PRIu64 " files, %" PRIu64 " bytes\n", u.files, u.bytes);
	assert_int_equal(status(b).txid, u.after + u.files);
	*files = u.files;
	return u.bytes;
}

/* ---- the tests ---- */

static void test_nobody_answers(void **state)
{
	struct bed *b = *state;
	uint64_t files;
	break_store(ERR_UNREACHABLE);
	hours_pass(b, 1, 130, 12);
	assert_int_equal(status(b).state, REPLICATOR_BEHIND);
	assert_true(status(b).pending_bytes > 0);
	/* The staging holds it all until here, and the pin with it. */
	busy_moment(b);
	assert_true(status(b).pending_bytes < STAGING_MAX + 100000);
	assert_wal_is_free(b);
	hours_pass(b, HOURS - 1, (HOURS - 1) * 130, 12);
	assert_int_equal(status(b).state, REPLICATOR_BEHIND);
	assert_wal_is_free(b);
	/* What was frozen, then the difference: forty rows in 5 pages, page 1. The database has 225. */
	assert_true(recover(b, &files) < 100000);
	assert_int_equal(files, 2);
}

/* The same, and our process is started again in the middle: it begins with a store that is away. */
static void test_a_start_in_the_middle(void **state)
{
	struct bed *b = *state;
	uint64_t files;
	break_store(ERR_UNREACHABLE);
	hours_pass(b, 1, 130, 12);
	busy_moment(b);
	simulated_close(&b->sim);
	open_it(b);
	hours_pass(b, HOURS - 1, (HOURS - 1) * 130, 12);
	assert_int_equal(status(b).state, REPLICATOR_BEHIND);
	assert_wal_is_free(b);
	assert_true(recover(b, &files) < 100000);
	assert_int_equal(files, 2);
}

/* Keys that no longer count: the pin is given up at once, and every five minutes is often enough.
 */
static void test_denied(void **state)
{
	struct bed *b = *state;
	uint64_t files;
	break_store(ERR_DENIED);
	run(b, 60 * SECOND_US);
	assert_int_equal(status(b).state, REPLICATOR_DENIED);
	assert_int_equal(status(b).pending_transactions, 1); /* the frozen one */
	assert_wal_is_free(b);
	hours_pass(b, HOURS, HOURS * 13 + 10, 12);
	assert_int_equal(status(b).state, REPLICATOR_DENIED);
	assert_wal_is_free(b);
	assert_true(recover(b, &files) < 100000);
	assert_int_equal(files, 2);
}

/* What was captured meanwhile is still there: no page is compared for it. */
static void test_a_denial_that_is_soon_over(void **state)
{
	struct bed *b = *state;
	break_store(ERR_DENIED);
	run(b, 2 * EVERY_US + SECOND_US);
	assert_int_equal(status(b).state, REPLICATOR_DENIED);
	assert_in_range(status(b).pending_transactions, 2, 3);
	store_fault_heal("f");
	assert_shipped(b);
}

static void a_minute_later(void *ctx, const char *name)
{
	struct bed *b = ctx;
	(void)name;
	assert_int_equal(status(b).state, REPLICATOR_REPLICATING);
	simulated_skip(61 * SECOND_US);
	assert_int_equal(status(b).state, REPLICATOR_BEHIND);
	assert_int_equal(status(b).code, ERR_UNREACHABLE);
	assert_non_null(strstr(status(b).reason, "61 s"));
}

/* No call has failed, but none has come back either: status doesn't say that all is well. */
static void test_a_store_that_hangs(void **state)
{
	struct bed *b = *state;
	struct store_fault hang = {.op = STORE_OP_PUT,
		.times = 1,
		.action = STORE_FAULT_HOOK,
		.hook = a_minute_later,
		.ctx = b};
	assert_int_equal(store_fault_add("f", &hang), 0);
	uint64_t uploads = status(b).uploads;
	run(b, 100 * SECOND_US);
	assert_true(status(b).uploads > uploads);
	assert_int_equal(status(b).state, REPLICATOR_REPLICATING);
}

/* For hours every second call fails: replicated all the same, and nothing is sent without end. */
static void test_every_second_call_fails(void **state)
{
	struct bed *b = *state;
	for (unsigned nth = 1; nth < 20000; nth += 2) {
		struct store_fault f = {.op = STORE_OP_ANY, .nth = nth, .times = 1};
		assert_int_equal(store_fault_add("f", &f), 0);
	}
	uint64_t files, uploads = status(b).uploads;
	int64_t commits = HOUR_US / EVERY_US;
	hours_pass(b, 1, (uint64_t)commits * 3, 60);
	assert_true(status(b).uploads - uploads > (uint64_t)commits / 2);
	recover(b, &files);
}

/* Keys that may put uploads and nothing else: these go on, and what doesn't is told. */
static void only_uploads_go(struct bed *b, int code)
{
	uint64_t files, uploads = status(b).uploads, commits = 2 * HOUR_US / EVERY_US;
	break_calls(STORE_OP_PUT, "ltx/1/", code);
	break_calls(STORE_OP_PUT, "ltx/9/", code);
	break_calls(STORE_OP_DELETE, NULL, code);
	hours_pass(b, 2, commits + 100, 10);
	assert_int_equal(status(b).state, REPLICATOR_REPLICATING);
	assert_true(status(b).uploads - uploads > commits - 10);
	assert_non_null(strstr(status(b).upkeep_error, "ltx/"));
	store_fault_heal("f");
	run(b, HOUR_US + HOUR_US / 4);
	assert_string_equal(status(b).upkeep_error, "");
	recover(b, &files);
}

static void test_an_upkeep_that_is_denied(void **state)
{
	only_uploads_go(*state, ERR_DENIED);
}

static void test_an_upkeep_that_nobody_answers(void **state)
{
	only_uploads_go(*state, ERR_UNREACHABLE);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_nobody_answers),
		TEST(test_a_start_in_the_middle),
		TEST(test_denied),
		TEST(test_a_denial_that_is_soon_over),
		TEST(test_a_store_that_hangs),
		TEST(test_every_second_call_fails),
		TEST(test_an_upkeep_that_is_denied),
		TEST(test_an_upkeep_that_nobody_answers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
