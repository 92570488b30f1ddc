/*
 * Replicas that Litestream wrote, whose files record no database checksum (latest.c): the database
 * is compared with what they hold. The same: it goes on by itself. Another one: it is told how many
 * pages differ, nothing is written, and no later start reads again what was read.
 */
#include "lib/fence_bed.h"
#include "lib/no_memory.h"
#include "lib/v3_build.h"

#include "base/buf.h"
#include "format/ltx.h"
#include "lib/ltx_build.h"
#include "replicate/compact.h"
#include "source/pagesums.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <time.h>

#define GENERATION UINT64_C(0x0123456789abcdef)

static int read_latest(struct store *s, const char *scratch, struct pagesums *sums,
	int64_t *timestamp_ms, struct err *e)
{
	struct restore_result result;
	int rc = restore_sums(s, scratch, sums, &result, e);
	*timestamp_ms = result.timestamp_ms;
	return rc;
}

/* ---- files as Litestream writes them ---- */

static int append(void *ctx, const void *p, size_t n, struct err *e)
{
	(void)e;
	return buf_append(ctx, p, n);
}

/* The same pages without our marks, in either page form. */
static void strip(const struct buf *from, bool frames, struct ltx_build *to)
{
	struct ltx_mem in = {.p = from->data, .n = from->len, .piece = 4096};
	struct ltx_decoder *dec;
	struct err e = ERR_INIT;
	uint32_t pgno;
	assert_int_equal(ltx_decoder_new(&dec, ltx_read_mem, &in, &e), ERR_OK);
	struct ltx_header h = *ltx_decoder_header(dec);
	uint8_t *page = malloc(h.page_size);
	h.ours = false;
	h.node_id = h.before_checksum = h.after_checksum = 0;
	ltx_build_start(to, &h, frames);
	while (ltx_decoder_page(dec, &pgno, page, &e) == ERR_OK && pgno)
		ltx_build_page(to, pgno, page);
	assert_int_equal(e.code, ERR_OK);
	ltx_build_end(to, 0);
	ltx_decoder_free(dec);
	free(page);
}

static void put(struct store *s, const char *name, const void *p, size_t n)
{
	struct store_body body = {.data = p, .fd = -1, .size = n};
	struct store_put_opts opts = {.single = true};
	struct err e = ERR_INIT;
	assert_int_equal(store_put(s, name, &body, &opts, &e), ERR_OK);
}

/* All files of ours up to TXID `max` become Litestream's; litestream.json goes. */
static void as_litestreams(struct bed *b, uint64_t from, uint64_t max)
{
	struct store *s = plain_store(b);
	for (uint64_t t = from; t <= max; t++) {
		char name[FENCE_NAME_SIZE];
		struct buf file;
		struct ltx_build to;
		struct err e = ERR_INIT;
		fence_name(s, 0, t, t, name);
		buf_init(&file, SIZE_MAX);
		assert_int_equal(store_get(s, name, 0, 0, append, &file, &e), ERR_OK);
		strip(&file, t % 2, &to);
		put(s, name, to.file.data, to.file.len);
		ltx_build_free(&to);
		buf_free(&file);
	}
	const char *manifest[] = {"litestream.json"};
	struct store_delete_result gone;
	struct err ignored = ERR_INIT;
	store_delete(s, manifest, 1, &gone, &ignored);
	store_close(s);
}

/* A's database and its replica of four files, of which A knows nothing any more. */
static void litestream_was_here(struct bed *b)
{
	a_ships(b, 2000);
	for (int i = 0; i < 3; i++)
		goes_on(b, &b->a);
	ship_close(&b->a.s);
	timeline_free(&b->line);
	as_litestreams(b, 1, 4);
	char command[400];
	snprintf(command, sizeof(command), "rm -rf '%s'", b->a.meta);
	assert_int_equal(system(command), 0);
	b->a.cfg.latest = b->b.cfg.latest = read_latest;
}

/* All is shipped, and the latest state is that; of those before nothing is proven. */
static void is_same(struct bed *b, struct node *n)
{
	ship(n);
	assert_true(ship_same(n->db, URL, b->dir));
}

static void changes(struct bed *b, struct node *n)
{
	app_change(n->db);
	is_same(b, n);
}

/* B has a copy of A's database. */
static void copy_database(struct bed *b)
{
	char command[1000];
	snprintf(command, sizeof(command), "rm -rf '%s'*; cp '%s' '%s'", b->b.db, b->a.db, b->b.db);
	app_sql(b->a.db, "PRAGMA wal_checkpoint(TRUNCATE)");
	assert_int_equal(system(command), 0);
}

/* Fenced at this sentence: N of how many pages? */
static unsigned differing(struct node *n, unsigned *of)
{
	unsigned differ = 0;
	check_stopped(n);
	struct replicator_status st = ship_status(&n->s);
	assert_int_equal(sscanf(st.reason, "%u of %u pages differ from the replica's", &differ, of), 2);
	assert_non_null(strstr(st.reason, "nothing was uploaded"));
	return differ;
}

/* ---- 0.5's ---- */

static void test_the_same_goes_on(void **state)
{
	struct bed *b = *state;
	litestream_was_here(b);
	start(&b->a);
	is_same(b, &b->a);
	changes(b, &b->a);
	assert_int_equal(ship_max_txid(URL), 6); /* the claim, the change */
	assert_int_equal(ship_status(&b->a.s).txid, 6);
	/* Proven from now on, and no second time. */
	ship_close(&b->a.s);
	uint64_t gets = store_fault_calls("f", STORE_OP_GET);
	start(&b->a);
	changes(b, &b->a);
	assert_true(store_fault_calls("f", STORE_OP_GET) - gets <= 2);
}

static void test_another_is_counted(void **state)
{
	struct bed *b = *state;
	unsigned of, again;
	litestream_was_here(b);
	copy_database(b);
	app_sql(b->b.db, "UPDATE t SET b = zeroblob(400) WHERE a = 700");
	start(&b->b);
	/* The row's page; SQLite counts the change in page 1 when it checkpoints, in WAL mode. */
	unsigned differ = differing(&b->b, &of);
	assert_in_range(differ, 1, 2);
	assert_in_range(of, 200, 300);
	ship_close(&b->b.s);
	/* The next start doesn't read it again: the headers of the last file, no page. */
	uint64_t gets = store_fault_calls("f", STORE_OP_GET);
	start(&b->b);
	assert_true(differing(&b->b, &again) > differ); /* check_stopped's change */
	assert_true(store_fault_calls("f", STORE_OP_GET) - gets <= 2);
	ship_close(&b->b.s);
	/* But not for ever: nothing tells whether it is the same replica still. */
	char path[400];
	snprintf(path, sizeof(path), "%s/latest.pages", b->b.meta);
	const struct timespec old = {.tv_sec = time(NULL) - 90000};
	assert_int_equal(utimensat(AT_FDCWD, path, (const struct timespec[]){old, old}, 0), 0);
	gets = store_fault_calls("f", STORE_OP_GET);
	start(&b->b);
	assert_true(differing(&b->b, &again) > differ);
	assert_true(store_fault_calls("f", STORE_OP_GET) - gets > 4); /* the files, and more */
	/* A person's word. */
	ship_close(&b->b.s);
	b->b.cfg.takeover = true;
	start(&b->b);
	is_same(b, &b->b);
	assert_int_equal(ship_max_txid(URL), 5);
	assert_int_equal(access(path, F_OK), -1);
}

/* The other one goes on: only what is new is read. And should the database become the same after
 * all, that is found out from all files. */
static void test_the_other_goes_on(void **state)
{
	struct bed *b = *state;
	unsigned differ, of;
	litestream_was_here(b);
	copy_database(b);
	app_sql(b->b.db, "DELETE FROM t WHERE a > 1000; VACUUM");
	start(&b->b);
	differ = differing(&b->b, &of);
	assert_in_range(differ, 100, of);
	ship_close(&b->b.s);
	start(&b->a);
	is_same(b, &b->a);
	changes(b, &b->a);
	ship_close(&b->a.s);
	as_litestreams(b, 5, 6);
	uint64_t gets = store_fault_calls("f", STORE_OP_GET);
	start(&b->b);
	differ = differing(&b->b, &of);
	assert_in_range(differ, 100, of);
	assert_true(store_fault_calls("f", STORE_OP_GET) - gets <= 4); /* header, two files, probe */
	ship_close(&b->b.s);
	copy_database(b);
	start(&b->b);
	is_same(b, &b->b);
	changes(b, &b->b);
	assert_int_equal(ship_max_txid(URL), 8);
}

/* The claim is frozen and can't be sent: the app goes on, the process is killed. No second proof.
 */
static void test_claim_survives(void **state)
{
	struct bed *b = *state;
	litestream_was_here(b);
	fault(STORE_OP_PUT, "000005.ltx", 0, 0, ERR_UNREACHABLE);
	start(&b->a);
	assert_true(ship_until(&b->a.s, REPLICATOR_BEHIND));
	app_change(b->a.db);
	ship_close(&b->a.s);
	store_fault_heal("f");
	start(&b->a);
	changes(b, &b->a);
}

static void test_a_gap_is_named(void **state)
{
	struct bed *b = *state;
	litestream_was_here(b);
	free_names(b, 3, 3);
	start(&b->a);
	check_stopped(&b->a);
	assert_non_null(strstr(ship_status(&b->a.s).reason, "the replica has a gap"));
}

static void test_unreachable_is_no_verdict(void **state)
{
	struct bed *b = *state;
	litestream_was_here(b);
	fault(STORE_OP_GET, "000002.ltx", 0, 0, ERR_UNREACHABLE);
	start(&b->a);
	assert_true(ship_until(&b->a.s, REPLICATOR_BEHIND));
	store_fault_heal("f");
	is_same(b, &b->a);
}

#define SAMPLE "tests/data/litestream-0.5/0.5.18"
#define HOUR_MS (INT64_C(3600) * 1000)

static size_t count_files(struct bed *b, const char *url)
{
	struct store *s = NULL;
	struct ltx_set set;
	ltxset_init(&set);
	assert_int_equal(store_open(&s, url, NULL, &b->e), 0);
	assert_int_equal(restore_list(s, &set, &b->e), ERR_OK);
	size_t n = set.count;
	ltxset_free(&set);
	store_close(s);
	return n;
}

/* All that a day brings, and the week after it: over and behind files that Litestream made of
 * others, in every level. */
static void test_upkeep_on_theirs(void **state)
{
	struct bed *b = *state;
	char command[900], url[330];
	snprintf(url, sizeof(url), "file://%s/theirs", b->dir);
	snprintf(command, sizeof(command), "mkdir '%s/theirs' && cp -r " SAMPLE "/ltx '%s/theirs/'",
		b->dir, b->dir);
	assert_int_equal(system(command), 0);
	struct store *s = NULL;
	struct restore_options o = {.output = b->a.db};
	struct restore_result result = {0};
	assert_int_equal(store_open(&s, url, NULL, &b->e), 0);
	assert_int_equal(restore_run(s, &o, &result, &b->e), ERR_OK);
	restore_plan_free(&result.plan);
	store_close(s);
	b->a.cfg = ship_config(b->a.db, url);
	b->a.cfg.latest = read_latest;
	app_sql(b->a.db, "CREATE TABLE ours(a INTEGER PRIMARY KEY, b)");
	start(&b->a);
	for (int hour = 0; hour < 30; hour++) {
		for (int i = 0; i < 3; i++) {
			app_sql(b->a.db,
				"INSERT INTO ours(b) VALUES (randomblob(300)); DELETE FROM ours WHERE a < "
				"(SELECT max(a) FROM ours) - 10");
			assert_int_equal(ship_sync(&b->a.s, 0), ERR_OK);
			ship_skip(31000);
		}
		ship_upkeep(&b->a.s);
		assert_string_equal(ship_status(&b->a.s).upkeep_error, "");
		ship_skip(hour < 24 ? HOUR_MS : 30 * HOUR_MS);
	}
	ship_snapshot(&b->a.s);
	ship_upkeep(&b->a.s);
	assert_true(ship_same(b->a.db, url, b->dir));
	/* What was theirs has served its time. */
	assert_false(ship_has(url, 9, 1, 2));
	assert_false(ship_has(url, 1, 0x18, 0x1a));
	assert_in_range(count_files(b, url), 2, 60);
}

/* B's database is another one, and nobody has compared it yet. */
static void is_another(struct bed *b)
{
	litestream_was_here(b);
	copy_database(b);
	app_sql(b->b.db, "UPDATE t SET b = zeroblob(400) WHERE a = 700");
}

/* B ends as fenced, whatever is in the way, and forgets that it was here. */
static void ends_fenced(struct bed *b)
{
	assert_true(ship_until(&b->b.s, REPLICATOR_FENCED));
	struct replicator_status st = ship_status(&b->b.s);
	if (!strstr(st.reason, "pages differ from"))
		fail_msg("%s", st.reason);
	ship_close(&b->b.s);
	assert_int_equal(fs_remove_tree(b->b.meta), 0);
	assert_int_equal(ship_max_txid(URL), 4);
}

/* Each request fails once, or finds a file gone that is there a moment later. */
static void test_requests_fail(void **state)
{
	static const int codes[] = {ERR_UNREACHABLE, ERR_AGAIN, ERR_NOT_FOUND};
	struct bed *b = *state;
	is_another(b);
	for (unsigned nth = 1; nth <= 7; nth++) {
		fault(STORE_OP_GET, "0/", nth, 1, codes[nth % 3]);
		start(&b->b);
		ends_fenced(b);
		store_fault_heal("f");
	}
}

#if NO_MEMORY_POSSIBLE
static void test_allocations_fail(void **state)
{
	struct bed *b = *state;
	unsigned struck = 0;
	is_another(b);
	for (unsigned at = 1;; at += 1 + at / 8) {
		calls = 0;
		fail_at = at;
		armed = true;
		int rc = ship_open(&b->b.s, &b->b.cfg);
		bool fenced = !rc && ship_until(&b->b.s, REPLICATOR_FENCED);
		armed = false;
		if (rc) { /* the ship has nothing but its watch */
			source_watch_free(b->b.s.watch);
			memset(&b->b.s, 0, sizeof(b->b.s));
			continue;
		}
		assert_true(fenced);
		ends_fenced(b);
		struck++;
		if (calls < at)
			break;
	}
	assert_true(struck > 20);
}
#endif

/* ---- 0.3's ---- */

static void put_snapshot(struct bed *b, const char *db, uint32_t index)
{
	struct store *s = plain_store(b);
	size_t n;
	uint8_t *p = v3_slurp(db, &n);
	const struct v3_file f = {.generation = GENERATION, .index = index, .snapshot = true};
	v3_put(s, &f, p, n);
	free(p);
	store_close(s);
}

static void legacy_was_here(struct bed *b)
{
	app_create(b->a.db, 500);
	app_sql(b->a.db, "PRAGMA wal_checkpoint(TRUNCATE)");
	put_snapshot(b, b->a.db, 0);
	b->a.cfg.latest = b->b.cfg.latest = read_latest;
}

static void test_legacy_the_same(void **state)
{
	struct bed *b = *state;
	legacy_was_here(b);
	start(&b->a);
	is_same(b, &b->a);
	assert_int_equal(ship_max_txid(URL), 1);
	changes(b, &b->a);
}

static void test_legacy_another(void **state)
{
	struct bed *b = *state;
	legacy_was_here(b);
	app_create(b->b.db, 10);
	start(&b->b);
	assert_true(ship_until(&b->b.s, REPLICATOR_FENCED));
	struct replicator_status st = ship_status(&b->b.s);
	assert_int_equal(st.code, ERR_FENCED);
	assert_non_null(
		strstr(st.reason, "pages differ from the replica's latest state (Litestream 0.3's"));
	assert_int_equal(ship_max_txid(URL), 0);
	ship_close(&b->b.s);
	b->b.cfg.takeover = true;
	start(&b->b);
	is_same(b, &b->b);
}

/* A restore's word, until somebody writes there again. */
static void test_legacy_restored(void **state)
{
	struct bed *b = *state;
	legacy_was_here(b);
	restore_to(b, &b->b, 0);
	app_change(b->b.db);
	start(&b->b);
	is_same(b, &b->b);
	assert_int_equal(ship_max_txid(URL), 1);
}

static void test_legacy_written_since(void **state)
{
	struct bed *b = *state;
	legacy_was_here(b);
	restore_to(b, &b->b, 0);
	app_change(b->b.db);
	ship_skip(1000);
	put_snapshot(b, b->a.db, 1);
	start(&b->b);
	assert_true(ship_until(&b->b.s, REPLICATOR_FENCED));
	assert_int_equal(ship_max_txid(URL), 0);
}

/* 0.3 was started again where 0.5 had been, and is the newer one: what it holds is the database. */
static void test_legacy_beside_others(void **state)
{
	struct bed *b = *state;
	litestream_was_here(b);
	copy_database(b);
	app_sql(
		b->b.db, "UPDATE t SET b = zeroblob(400) WHERE a < 70; PRAGMA wal_checkpoint(TRUNCATE)");
	ship_skip(1000);
	put_snapshot(b, b->b.db, 0);
	start(&b->b);
	is_same(b, &b->b);
	assert_int_equal(ship_max_txid(URL), 5);
	ship_until(&b->b.s, REPLICATOR_REPLICATING);
	ship_upkeep(&b->b.s);
	assert_true(ship_has(URL, 9, 1, 5));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_the_same_goes_on),
		TEST(test_another_is_counted),
		TEST(test_the_other_goes_on),
		TEST(test_claim_survives),
		TEST(test_a_gap_is_named),
		TEST(test_unreachable_is_no_verdict),
		TEST(test_upkeep_on_theirs),
		TEST(test_requests_fail),
#if NO_MEMORY_POSSIBLE
		TEST(test_allocations_fail),
#endif
		TEST(test_legacy_the_same),
		TEST(test_legacy_another),
		TEST(test_legacy_restored),
		TEST(test_legacy_written_since),
		TEST(test_legacy_beside_others),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
