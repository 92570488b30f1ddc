/*
 * Turn, work and upkeep of a few databases at once, on real threads, while apps write and the clock
 * runs a thousand times faster: uploads, merges, snapshots and deletions beside each other. What is
 * in the replica at the end is what the inventory says, and the databases. (With `make tsan` this
 * is where data races between the three would be seen.)
 */
#include "daemon/schedule.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "lib/scene.h"
#include "lib/ship.h"
#include "lib/tmpdir.h"
#include "restore/restore.h"
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
#include <time.h>
#include <cmocka.h>

#define DATABASES 3
#define CHANGES 240
#define BURST 60                             /* changes in a row */
#define SOON_MS INT64_C(7000)                /* between two of them */
#define PAUSE_MS (INT64_C(14) * 3600 * 1000) /* between two bursts */
#define LIMIT_US (INT64_C(120) * 1000000)

/* ---- the clock ---- */

static _Atomic int64_t skipped_us;

static int64_t real_us(clockid_t id)
{
	struct timespec t;
	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int64_t wall_ms(void)
{
	return (real_us(CLOCK_REALTIME) + atomic_load(&skipped_us)) / 1000;
}

static int64_t mono_us(void)
{
	return real_us(CLOCK_MONOTONIC) + atomic_load(&skipped_us);
}

static int64_t boot_ms(void)
{
	return (real_us(CLOCK_BOOTTIME) + atomic_load(&skipped_us)) / 1000;
}

static void sleep_us(int64_t us)
{
	struct timespec t = {.tv_sec = 0, .tv_nsec = us < 5000 ? us * 1000 : 5000000};
	nanosleep(&t, NULL);
}

static const struct clock_ops fast_clock = {wall_ms, mono_us, boot_ms, sleep_us};

/* ---- a bed ---- */

struct bed {
	char *dir;
	struct schedule *s;
	char db[DATABASES][300], url[DATABASES][32], id[DATABASES][16];
	struct err e;
	int changes, synced, synced_code;
	bool asked;
	int64_t deadline;
};

static int setup(void **state)
{
	struct bed *b = calloc(1, sizeof(*b));
	b->dir = scene_begin();
	clock_set_ops(&fast_clock);
	if (schedule_new(&b->s, 2, 2, &b->e))
		return -1;
	for (int i = 0; i < DATABASES; i++) {
		char name[8], inner[32];
		snprintf(name, sizeof(name), "t%d", i);
		snprintf(inner, sizeof(inner), "mem://t%d", i);
		if (store_fault_register(name, inner, &b->e))
			return -1;
		snprintf(b->db[i], sizeof(b->db[i]), "%s/%d.db", b->dir, i);
		snprintf(b->url[i], sizeof(b->url[i]), "fault://t%d", i);
		snprintf(b->id[i], sizeof(b->id[i]), "db-%d", i);
		app_create(b->db[i], 30 + 200 * i);
	}
	/* The second one's store fails now and then, at whatever it is asked. */
	for (unsigned nth = 7; nth < 2000; nth += 41)
		store_fault_add("t1", &(struct store_fault){.nth = nth,
								  .times = 1,
								  .action = nth % 2 ? STORE_FAULT_FAIL : STORE_FAULT_LOSE_ANSWER});
	b->deadline = real_us(CLOCK_MONOTONIC) + LIMIT_US;
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bed *b = *state;
	schedule_free(b->s);
	clock_set_ops(NULL);
	scene_end(b->dir, NULL);
	free(b);
	return 0;
}

static void on_synced(void *ctx, int code, const char *why)
{
	struct bed *b = ctx;
	b->synced++;
	b->synced_code = code;
	if (code)
		fprintf(stderr, "synced: %s\n", why);
}

/* The schedule's hook, on its own thread. */
static int64_t drive(void *ctx, int64_t now)
{
	struct bed *b = ctx;
	if (real_us(CLOCK_MONOTONIC) > b->deadline) {
		fprintf(stderr, "stuck after %d changes, asked %d, synced %d\n", b->changes, b->asked,
			b->synced);
		abort();
	}
	if (b->changes < CHANGES * DATABASES) {
		app_change(b->db[b->changes++ % DATABASES]);
		atomic_fetch_add(&skipped_us, 1000 * (b->changes % BURST ? SOON_MS : PAUSE_MS));
	} else if (!b->asked) {
		for (int i = 0; i < DATABASES; i++)
			store_fault_heal(b->url[i] + strlen("fault://"));
		b->asked = true;
		assert_int_equal(schedule_sync(b->s, NULL, false, 3600000, on_synced, b, &b->e), ERR_OK);
	} else if (b->synced == 1) {
		assert_int_equal(b->synced_code, ERR_OK);
		b->synced++;
		schedule_stop(b->s, 60000);
	}
	return now + 1000;
}

struct counted {
	uint64_t files, bytes, merged;
};

static struct counted count(const char *url)
{
	struct counted c = {0};
	struct store *s = NULL;
	struct ltx_set set;
	struct err e = ERR_INIT;
	ltxset_init(&set);
	assert_int_equal(store_open(&s, url, NULL, &e), ERR_OK);
	assert_int_equal(restore_list(s, &set, &e), ERR_OK);
	for (size_t i = 0; i < set.count; i++) {
		c.files++;
		c.bytes += set.files[i].size;
		c.merged += set.files[i].level > 0;
	}
	ltxset_free(&set);
	store_close(s);
	return c;
}

static void test_three_threads(void **state)
{
	struct bed *b = *state;
	for (int i = 0; i < DATABASES; i++) {
		struct replicator_config cfg = ship_config(b->db[i], b->url[i]);
		cfg.copies_max = i == 2 ? 300000 : 0;
		assert_int_equal(schedule_add(b->s, b->id[i], &cfg, &b->e), ERR_OK);
	}
	schedule_set_hook(b->s, drive, b);
	schedule_run(b->s);
	for (int i = 0; i < DATABASES; i++) {
		struct replicator_status st;
		schedule_status(b->s, (size_t)i, &st);
		struct counted c = count(b->url[i]);
		assert_int_equal(st.state, REPLICATOR_REPLICATING);
		/* What an upload or a put without an answer left is known after the next audit only. */
		if (i != 1) {
			assert_int_equal(st.replica_files, c.files);
			assert_int_equal(st.replica_bytes, c.bytes);
			assert_string_equal(st.upkeep_error, "");
		}
		assert_true(c.merged > 3);
		assert_true(c.files < st.txid);
		assert_true(ship_same(b->db[i], b->url[i], b->dir));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_three_threads, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
