/*
 * Two nodes and one replica over every kind of store: a folder and radosgw, which refuse to
 * overwrite; a bucket with versions, which overwrites all the same; Swift (with FULL=1, it takes
 * long to start), which knows no condition. What the kind can't do is told, and the second node
 * stops there too. After each test every restore is of one timeline.
 */
static char inner_url[1200];
#define URL inner_url
#include "lib/fence_bed.h"
#include "lib/server.h"

#include "base/buf.h"
#include "conf/manifest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define LARGE_MIB 17 /* above the size from which many programs send in parts */

static struct kind {
	const char *name;
	char url[1024]; /* "%s": a part that is new for each test */
	bool weak;
	unsigned tests;
} * kind;

static int open_kind(void **state)
{
	char part[32];
	const char *hole = strstr(kind->url, "%s");
	snprintf(part, sizeof(part), "two-%d-%u", (int)getpid(), kind->tests++);
	snprintf(inner_url, sizeof(inner_url), "%.*s%s%s", (int)(hole - kind->url), kind->url, part,
		hole + 2);
	return setup(state);
}

/* What the manifest says of the fencing. */
static bool manifest_says(struct bed *b, const char *word)
{
	struct store *s = plain_store(b);
	struct buf text;
	char pair[64];
	snprintf(pair, sizeof(pair), "\"fencing\": \"%s\"", word);
	buf_init(&text, MANIFEST_MAX);
	assert_int_equal(store_get_all(s, MANIFEST_NAME, &text, &b->e), ERR_OK);
	bool says = strstr(buf_str(&text), pair) != NULL;
	buf_free(&text);
	store_close(s);
	return says;
}

static void second_is_told_and_stops(void **state)
{
	struct bed *b = *state;
	app_create(b->b.db, 20);
	b->a.cfg.app = "shop";
	b->b.cfg.app = "blog";
	a_ships(b, 20);
	ship_for(&b->a.s, 20);
	assert_int_equal(ship_status(&b->a.s).weak_fencing, kind->weak);
	assert_true(manifest_says(b, kind->weak ? "weak" : "strong"));
	start(&b->b);
	check_stopped(&b->b);
	assert_non_null(strstr(ship_status(&b->b.s).reason, "app shop"));
	check_second(b, &b->b, &b->a);
	assert_int_equal(ship_status(&b->a.s).last_error_ms, 0);
}

/* Both found it empty. */
static void one_is_first(void **state)
{
	struct bed *b = *state;
	a_is_first(b);
	check_stopped(&b->b);
	goes_on(b, &b->a);
}

static void own_upload_is_known_again(void **state)
{
	struct bed *b = *state;
	a_ships(b, 20);
	add_fault(STORE_OP_PUT, ".ltx", 1, 1, STORE_FAULT_LOSE_ANSWER, ERR_UNREACHABLE);
	goes_on(b, &b->a);
	assert_int_equal(ship_max_txid(URL), 2);
	/* And by the next life, which finds it frozen. */
	add_fault(STORE_OP_PUT, ".ltx", 1, 1, STORE_FAULT_LOSE_ANSWER, ERR_UNREACHABLE);
	app_change(b->a.db);
	assert_true(ship_until(&b->a.s, REPLICATOR_BEHIND));
	restart(&b->a);
	check_same(b, &b->a);
	goes_on(b, &b->a);
	assert_int_equal(ship_max_txid(URL), 4);
}

static void claim_and_takeover(void **state)
{
	struct bed *b = *state;
	a_ships(b, 20);
	b_claims(b);
	goes_on(b, &b->b);
	app_change(b->a.db);
	check_stopped(&b->a);
	/* The old one is the right one after all, says a person. */
	ship_close(&b->a.s);
	b->line.handovers++;
	b->a.cfg.takeover = true;
	start(&b->a);
	check_same(b, &b->a);
	app_change(b->b.db);
	check_stopped(&b->b);
	goes_on(b, &b->a);
}

static void insert_large(const struct node *n)
{
	char sql[200];
	snprintf(sql, sizeof(sql),
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
		"INSERT INTO t(b) SELECT randomblob(1048576) FROM n",
		LARGE_MIB);
	app_sql(n->db, sql);
}

/* One L0 is one request, whatever its size: radosgw, as others do, honours no condition on the end
 * of an upload in parts, and B's could go over A's. */
static void large_upload(void **state)
{
	struct bed *b = *state;
	app_create(b->b.db, 20);
	insert_large(&b->b);
	b_is_cut_off(b);
	b->a.cfg.replica = URL; /* without faults: its requests are counted */
	a_ships(b, 20);
	ship_for(&b->a.s, 20);
	uint64_t puts = ship_status(&b->a.s).requests.put;
	insert_large(&b->a);
	check_same(b, &b->a);
	assert_int_equal(ship_status(&b->a.s).requests.put, puts + 1);
	assert_true(ship_status(&b->a.s).replica_bytes > (uint64_t)LARGE_MIB << 20);
	check_stopped(&b->b);
	goes_on(b, &b->a);
}

#define TWO(function)                                  \
	{                                                  \
#function, function, open_kind, teardown, NULL \
	}

static int run_suite(struct kind *k)
{
	const struct CMUnitTest tests[] = {
		TWO(second_is_told_and_stops),
		TWO(one_is_first),
		TWO(own_upload_is_known_again),
		TWO(claim_and_takeover),
	};
	kind = k;
	return cmocka_run_group_tests_name(k->name, tests, NULL, NULL);
}

static int run_large(struct kind *k)
{
	const struct CMUnitTest tests[] = {TWO(large_upload)};
	kind = k;
	return cmocka_run_group_tests_name("large", tests, NULL, NULL);
}

static const char *setting(const char *server, const char *key)
{
	char name[64];
	snprintf(name, sizeof(name), "LITESTREAM_TEST_%s_%s", server, key);
	const char *v = getenv(name);
	if (!v) {
		fprintf(stderr, "%s is not set\n", name);
		exit(1);
	}
	return v;
}

/* The credentials are in the environment: restores and looks of the test need them, too. */
static int run_s3(const char *name, const char *server, const char *bucket, bool weak)
{
	struct kind k = {.name = name, .weak = weak};
	snprintf(k.url, sizeof(k.url), "s3://%s/%%s?endpoint=%s", bucket, setting(server, "ENDPOINT"));
	setenv("LITESTREAM_ACCESS_KEY_ID", setting(server, "ACCESS_KEY_ID"), 1);
	setenv("LITESTREAM_SECRET_ACCESS_KEY", setting(server, "SECRET_ACCESS_KEY"), 1);
	return run_suite(&k) + (strcmp(name, "radosgw") == 0 ? run_large(&k) : 0);
}

static int run_versioned(void)
{
	char bucket[64];
	snprintf(bucket, sizeof(bucket), "versioned-%d", (int)getpid());
	const char *make[] = {"mb", bucket, NULL}, *keep[] = {"versioning", bucket, NULL};
	if (server_run("s3.py", make) || server_run("s3.py", keep))
		return 1;
	return run_s3("a bucket with versions", "S3", bucket, true);
}

int main(void)
{
	char dir[SERVER_DIR_MAX];
	struct kind folder = {.name = "folder"};
	server_temp_dir(dir);
	snprintf(folder.url, sizeof(folder.url), "file://%.900s/%%s", dir);
	int failed = run_suite(&folder);
	if (server_start("ceph.sh", "LITESTREAM_TEST_S3_ENDPOINT"))
		failed += run_s3("radosgw", "S3", setting("S3", "BUCKET"), false) + run_versioned();
	/* The bucket with versions is a store with weak fencing, too. */
	if (getenv("FULL") && server_start("swift.sh", "LITESTREAM_TEST_SWIFT_ENDPOINT"))
		failed += run_s3("swift", "SWIFT", setting("SWIFT", "BUCKET"), true);
	return failed ? 1 : 0;
}
