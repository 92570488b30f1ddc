/* The worker's loop: many databases, few threads, sync requests, leaving, stopping. */
#include "daemon/schedule.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "lib/ship.h"
#include "lib/tmpdir.h"
#include "store/fault.h"
#include "store/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define DATABASES 12
#define LIMIT_US (INT64_C(120) * 1000000) /* a patience, no bound of anything */

struct bed {
	char *dir;
	struct schedule *s;
	char db[DATABASES][300], url[DATABASES][64], id[DATABASES][16];
	struct err e;

	int step;
	int64_t deadline;
	int synced, synced_code, gone;
	char why[ERR_TEXT_MAX];
	uint64_t gone_pending;
	int64_t (*plan)(struct bed *b, int64_t now);
};

static int setup(void **state)
{
	struct bed *b = calloc(1, sizeof(*b));
	log_set_level(getenv("SHOW") ? LOG_DEBUG : LOG_ERROR + 1);
	b->dir = tmpdir_new();
	if (schedule_new(&b->s, 2, 2, &b->e) || store_fault_register("f", NULL, &b->e))
		return -1;
	for (int i = 0; i < DATABASES; i++) {
		snprintf(b->db[i], sizeof(b->db[i]), "%s/%d.db", b->dir, i);
		snprintf(b->url[i], sizeof(b->url[i]), "mem://s%d", i);
		snprintf(b->id[i], sizeof(b->id[i]), "db-%d", i);
	}
	b->deadline = clock_mono_us() + LIMIT_US;
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bed *b = *state;
	schedule_free(b->s);
	store_fault_forget();
	store_mem_forget(NULL);
	tmpdir_free(b->dir);
	free(b);
	return 0;
}

static void add(struct bed *b, int i)
{
	struct replicator_config cfg = ship_config(b->db[i], b->url[i]);
	if (schedule_add(b->s, b->id[i], &cfg, &b->e))
		fail_msg("%s", b->e.text);
}

/* The steps of a test run as the schedule's hook, so on its own thread. */
static int64_t hook(void *ctx, int64_t now)
{
	struct bed *b = ctx;
	if (now > b->deadline) {
		fprintf(stderr, "step %d took too long\n", b->step);
		abort();
	}
	int64_t wait = b->plan(b, now);
	return wait == INT64_MAX ? b->deadline : now + wait;
}

static void run(struct bed *b, int64_t (*plan)(struct bed *b, int64_t now))
{
	b->plan = plan;
	schedule_set_hook(b->s, hook, b);
	schedule_run(b->s);
}

static void on_synced(void *ctx, int code, const char *why)
{
	struct bed *b = ctx;
	b->synced++;
	b->synced_code = code;
	snprintf(b->why, sizeof(b->why), "%s", why);
	if (code && getenv("SHOW"))
		fprintf(stderr, "synced: %s\n", why);
}

static void on_gone(void *ctx, const char *id, const struct replicator_status *last, bool shipped)
{
	struct bed *b = ctx;
	(void)id;
	assert_true(shipped);
	b->gone++;
	b->gone_pending = last->pending_bytes;
}

/* ---- many databases: synced together, changed, synced, one leaves, the rest stops ---- */

static int64_t many(struct bed *b, int64_t now)
{
	(void)now;
	switch (b->step) {
	case 0:
		assert_int_equal(schedule_sync(b->s, NULL, false, 15000, on_synced, b, &b->e), ERR_OK);
		b->step++;
		break;
	case 1:
		if (b->synced < 1)
			break;
		assert_int_equal(b->synced_code, ERR_OK);
		for (int i = 0; i < DATABASES; i++)
			app_change(b->db[i]);
		assert_int_equal(schedule_sync(b->s, NULL, false, 15000, on_synced, b, &b->e), ERR_OK);
		b->step++;
		break;
	case 2:
		if (b->synced < 2)
			break;
		assert_int_equal(b->synced_code, ERR_OK);
		app_change(b->db[3]);
		assert_int_equal(schedule_remove(b->s, "db-3", 15000, on_gone, b, &b->e), ERR_OK);
		assert_int_equal(schedule_remove(b->s, "db-99", 0, NULL, NULL, &b->e), ERR_NOT_FOUND);
		b->step++;
		break;
	case 3:
		if (b->gone < 1)
			break;
		assert_int_equal(b->gone_pending, 0);
		assert_int_equal(schedule_count(b->s), DATABASES - 1);
		app_change(b->db[5]);
		schedule_stop(b->s, 15000);
		b->step++;
		break;
	default:
		break;
	}
	return INT64_MAX;
}

static void test_many(void **state)
{
	struct bed *b = *state;
	for (int i = 0; i < DATABASES; i++) {
		app_create(b->db[i], 10);
		add(b, i);
	}
	struct replicator_config again = ship_config(b->db[0], b->url[0]);
	assert_int_equal(schedule_add(b->s, "db-0", &again, &b->e), ERR_EXISTS);
	run(b, many);
	assert_int_equal(b->step, 4);
	/* What was committed before the stop is in the store. */
	for (int i = 0; i < DATABASES; i++)
		assert_true(ship_same(b->db[i], b->url[i], b->dir));
	for (size_t i = 0; i < schedule_count(b->s); i++) {
		struct replicator_status st;
		schedule_status(b->s, i, &st);
		assert_int_equal(st.state, REPLICATOR_REPLICATING);
		assert_int_equal(st.pending_bytes, 0);
		assert_true(schedule_shipped(b->s, i));
	}
}

/* ---- an app goes on writing while we stop: what it wrote before is shipped, and that is told ----
 */

static int64_t busy(struct bed *b, int64_t now)
{
	(void)now;
	struct replicator_status st;
	schedule_status(b->s, 0, &st);
	if (st.txid < 1)
		return INT64_MAX;
	app_change(b->db[0]);
	if (b->step++ == 0)
		schedule_stop(b->s, 15000);
	return 1000;
}

static void test_stop_of_a_busy_database(void **state)
{
	struct bed *b = *state;
	app_create(b->db[0], 10);
	add(b, 0);
	add(b, 1); /* there is no such database: nothing of it is missing */
	run(b, busy);
	assert_true(b->step > 0);
	assert_true(schedule_shipped(b->s, 0));
	assert_true(schedule_shipped(b->s, 1));
}

/* ---- events alone wake it ---- */

static int64_t by_events(struct bed *b, int64_t now)
{
	(void)now;
	struct replicator_status st;
	schedule_status(b->s, 0, &st);
	if (st.txid < 1)
		return INT64_MAX;
	if (b->step == 0) {
		app_change(b->db[0]);
		b->step++;
	} else if (st.txid >= 2 && b->step == 1) {
		schedule_stop(b->s, 5000);
		b->step++;
	}
	return INT64_MAX;
}

static void test_events(void **state)
{
	struct bed *b = *state;
	app_create(b->db[0], 10);
	add(b, 0);
	run(b, by_events);
	assert_int_equal(b->step, 2);
}

/* ---- the store hangs ---- */

static int64_t hanging(struct bed *b, int64_t now)
{
	static int64_t stopped;
	if (b->step == 0) {
		assert_int_equal(schedule_sync(b->s, NULL, false, 300, on_synced, b, &b->e), ERR_OK);
		b->step++;
	} else if (b->step == 1 && b->synced) {
		assert_int_equal(b->synced_code, ERR_UNREACHABLE);
		/* One that nobody answers before the end is answered then. */
		assert_int_equal(schedule_sync(b->s, NULL, false, 60000, on_synced, b, &b->e), ERR_OK);
		stopped = now;
		schedule_stop(b->s, 200);
		b->step++;
	} else if (b->step == 2) {
		assert_true(now - stopped < 5000000);
	}
	return INT64_MAX;
}

static void test_a_store_that_hangs(void **state)
{
	struct bed *b = *state;
	app_create(b->db[0], 10);
	snprintf(b->url[0], sizeof(b->url[0]), "fault://f");
	struct store_fault f = {
		.op = STORE_OP_PUT, .action = STORE_FAULT_DELAY, .delay_us = INT64_C(3600) * 1000000};
	assert_int_equal(store_fault_add("f", &f), 0);
	add(b, 0);
	run(b, hanging);
	assert_int_equal(b->synced, 2);
	assert_int_equal(b->synced_code, ERR_UNREACHABLE);
	struct replicator_status st;
	schedule_status(b->s, 0, &st);
	assert_int_equal(st.txid, 0);
	assert_false(schedule_shipped(b->s, 0));
}

/* ---- one leaves, and who is told of it asks for it at once ---- */

static void ask_again(void *ctx, int code, const char *why)
{
	struct bed *b = ctx;
	on_synced(ctx, code, why);
	if (b->synced == 1)
		assert_int_equal(schedule_sync(b->s, "db-0", false, 3600000, on_synced, b, &b->e), ERR_OK);
}

static void on_cut_off(
	void *ctx, const char *id, const struct replicator_status *last, bool shipped)
{
	struct bed *b = ctx;
	(void)last;
	assert_string_equal(id, "db-0");
	assert_false(shipped);
	/* Both are answered before it is gone. */
	assert_int_equal(b->synced, 2);
	assert_int_equal(b->synced_code, ERR_CANCELLED);
	b->gone++;
}

static int64_t leaving(struct bed *b, int64_t now)
{
	(void)now;
	if (b->step == 0) {
		assert_int_equal(schedule_sync(b->s, "db-0", false, 3600000, ask_again, b, &b->e), ERR_OK);
		assert_int_equal(schedule_sync(b->s, "db-1", false, 3600000, on_synced, b, &b->e), ERR_OK);
		assert_int_equal(schedule_remove(b->s, "db-0", 0, on_cut_off, b, &b->e), ERR_OK);
		/* A second one with nobody to tell leaves the first one's wish. */
		assert_int_equal(schedule_remove(b->s, "db-0", 0, NULL, NULL, &b->e), ERR_OK);
		b->step++;
	} else if (b->step == 1 && b->gone) {
		assert_int_equal(schedule_count(b->s), 1);
		schedule_stop(b->s, 0);
		b->step++;
	}
	return INT64_MAX;
}

static void test_one_that_leaves_is_asked_for(void **state)
{
	struct bed *b = *state;
	struct store_fault f = {
		.op = STORE_OP_PUT, .action = STORE_FAULT_DELAY, .delay_us = INT64_C(3600) * 1000000};
	assert_int_equal(store_fault_add("f", &f), 0);
	for (int i = 0; i < 2; i++) {
		app_create(b->db[i], 10);
		snprintf(b->url[i], sizeof(b->url[i]), "fault://f");
		add(b, i);
	}
	run(b, leaving);
	assert_int_equal(b->step, 2);
	assert_int_equal(b->synced, 3);
}

/* ---- a database that nobody has made yet ---- */

/* A sync of all goes by it and says so, one by its name doesn't. */
static int64_t unborn(struct bed *b, int64_t now)
{
	(void)now;
	if (b->step == 0) {
		assert_int_equal(schedule_sync(b->s, NULL, false, 60000, on_synced, b, &b->e), ERR_OK);
		b->step++;
	} else if (b->step == 1 && b->synced) {
		assert_int_equal(b->synced_code, ERR_OK);
		assert_non_null(strstr(b->why, b->db[1]));
		assert_non_null(strstr(b->why, "nor at 1 other place"));
		assert_int_equal(schedule_sync(b->s, "db-1", false, 60000, on_synced, b, &b->e), ERR_OK);
		b->step++;
	} else if (b->step == 2 && b->synced == 2) {
		assert_int_equal(b->synced_code, ERR_NOT_FOUND);
		schedule_stop(b->s, 15000);
		b->step++;
	}
	return INT64_MAX;
}

static void test_one_that_is_not_there_yet(void **state)
{
	struct bed *b = *state;
	app_create(b->db[0], 10);
	for (int i = 0; i < 3; i++)
		add(b, i);
	run(b, unborn);
	assert_int_equal(b->step, 3);
	assert_true(ship_same(b->db[0], b->url[0], b->dir));
}

/* ---- an upkeep hangs: uploads go on, and it ends with the rest ---- */

#define DAYS_MS (INT64_C(73) * 3600 * 1000)

/* A clock that can be moved while threads read it. */
static atomic_llong moved_ms;

static int64_t moved_wall_ms(void)
{
	return ship_clock()->wall_ms() + atomic_load(&moved_ms);
}

static int64_t moved_mono_us(void)
{
	return ship_clock()->mono_us() + atomic_load(&moved_ms) * 1000;
}

static int64_t moved_boot_ms(void)
{
	return ship_clock()->boot_ms() + atomic_load(&moved_ms);
}

/* Not the tail check of the work, which lists L0 only. */
static void hang_the_audit(struct bed *b)
{
	struct store_fault tail = {
		.op = STORE_OP_LIST, .name_contains = "ltx/0/", .action = STORE_FAULT_DELAY};
	struct store_fault all = {
		.op = STORE_OP_LIST, .action = STORE_FAULT_DELAY, .delay_us = INT64_C(3600) * 1000000};
	assert_int_equal(store_fault_add("f", &tail), 0);
	assert_int_equal(store_fault_add("f", &all), 0);
	atomic_store(&moved_ms, DAYS_MS);
	b->deadline += DAYS_MS * 1000;
}

static int64_t upkeep_hangs(struct bed *b, int64_t now)
{
	static int64_t stopped;
	static uint64_t lists;
	bool ask = false;
	switch (b->step) {
	case 0:
		ask = true;
		break;
	case 1:
		if (b->synced < 1)
			return INT64_MAX;
		lists = store_fault_calls("f", STORE_OP_LIST);
		hang_the_audit(b);
		ask = true;
		break;
	case 2: /* settled, and the audit hangs */
		if (b->synced < 2 || store_fault_calls("f", STORE_OP_LIST) < lists + 2)
			return 1000;
		ask = true;
		break;
	case 3:
		if (b->synced < 3)
			return INT64_MAX;
		stopped = now;
		schedule_stop(b->s, 60000);
		break;
	default:
		assert_true(now - stopped < 50000000); /* it does not wait for the hour */
		return INT64_MAX;
	}
	if (ask) {
		app_change(b->db[0]);
		assert_int_equal(schedule_sync(b->s, NULL, false, 10000, on_synced, b, &b->e), ERR_OK);
	}
	b->step++;
	return INT64_MAX;
}

static void test_an_upkeep_that_hangs(void **state)
{
	struct bed *b = *state;
	struct clock_ops moving = {moved_wall_ms, moved_mono_us, moved_boot_ms, ship_clock()->sleep_us};
	clock_set_ops(&moving);
	b->deadline = clock_mono_us() + LIMIT_US;
	app_create(b->db[0], 10);
	snprintf(b->url[0], sizeof(b->url[0]), "fault://f");
	add(b, 0);
	run(b, upkeep_hangs);
	assert_int_equal(b->step, 4);
	assert_int_equal(b->synced_code, ERR_OK);
	assert_true(schedule_shipped(b->s, 0));
	clock_set_ops(NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_many),
		TEST(test_stop_of_a_busy_database),
		TEST(test_events),
		TEST(test_a_store_that_hangs),
		TEST(test_one_that_leaves_is_asked_for),
		TEST(test_one_that_is_not_there_yet),
		TEST(test_an_upkeep_that_hangs),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
