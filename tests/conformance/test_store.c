/*
 * What every store must do, run over all of them: memory, a folder, radosgw, Swift. The last two
 * are started here when their programs are installed, or taken from the environment (see
 * tests/servers/ceph.sh); otherwise their part is skipped.
 */
#include "lib/server.h"

#include "base/buf.h"
#include "base/digest.h"
#include "base/fs.h"
#include "base/thread.h"
#include "store/store.h"

#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct subject {
	const char *kind;
	char url[PATH_MAX + 64]; /* "%s" stands for a part that is new for each test */
	struct store_options opts;
	bool conditional; /* the server honours only_if_absent */
	bool paged;       /* 1100 objects take less than a few seconds */
	unsigned tests;
	struct store *s; /* of the running test */
};

static struct err e;

#define assert_ok(call)                                      \
	do {                                                     \
		e = (struct err)ERR_INIT;                            \
		int assert_rc = (call);                              \
		if (assert_rc != ERR_OK)                             \
			fail_msg("%s: %d %s", #call, assert_rc, e.text); \
	} while (0)

#define assert_code(call, code_expected)                                                     \
	do {                                                                                     \
		e = (struct err)ERR_INIT;                                                            \
		int assert_rc = (call);                                                              \
		if (assert_rc != (code_expected))                                                    \
			fail_msg("%s: %d instead of %d: %s", #call, assert_rc, (code_expected), e.text); \
		assert_int_equal((int)e.code, (code_expected));                                      \
		assert_true(strlen(e.text) > 10);                                                    \
	} while (0)

/* A place of its own for every test. */
static int open_fresh(void **state)
{
	struct subject *x = *state;
	char part[64], url[PATH_MAX + 128];
	snprintf(part, sizeof(part), "t%d-%u", (int)getpid(), x->tests++);
	char *hole = strstr(x->url, "%s");
	snprintf(url, sizeof(url), "%.*s%s%s", (int)(hole - x->url), x->url, part, hole + 2);
	int rc = store_open(&x->s, url, &x->opts, &e);
	if (rc)
		fprintf(stderr, "%s: %s\n", url, e.text);
	return rc;
}

static int close_store(void **state)
{
	struct subject *x = *state;
	store_close(x->s);
	x->s = NULL;
	return 0;
}

static int put(struct store *s, const char *name, const void *data, size_t n, bool only_if_absent)
{
	struct store_body body = {.data = n ? data : "", .fd = -1, .size = n};
	struct store_put_opts opts = {.only_if_absent = only_if_absent};
	return store_put(s, name, &body, &opts, &e);
}

static int collect(void *ctx, const void *p, size_t n, struct err *err)
{
	(void)err;
	return buf_append(ctx, p, n);
}

/* The object is exactly this. */
static void assert_content(struct store *s, const char *name, const void *data, size_t n)
{
	struct buf got;
	buf_init(&got, (size_t)64 << 20);
	assert_ok(store_get(s, name, 0, 0, collect, &got, &e));
	assert_int_equal(got.len, n);
	if (n)
		assert_memory_equal(got.data, data, n);
	buf_free(&got);
}

/* Bytes that differ from place to place, so that a shifted range is noticed. */
static uint8_t *pattern(size_t n, uint32_t seed)
{
	uint8_t *p = malloc(n ? n : 1);
	assert_non_null(p);
	for (size_t i = 0; i < n; i++) {
		seed = seed * 1664525 + 1013904223;
		p[i] = (uint8_t)(seed >> 24);
	}
	return p;
}

static void stores_and_gives_back(void **state)
{
	struct subject *x = *state;
	static const size_t sizes[] = {0, 1, 4096, 10000, 300000};
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint8_t *data = pattern(sizes[i], (uint32_t)i);
		assert_ok(put(x->s, "ltx/0/object", data, sizes[i], false));
		assert_content(x->s, "ltx/0/object", data, sizes[i]);
		free(data);
	}
}

static void stores_a_part_of_a_file(void **state)
{
	struct subject *x = *state;
	char path[] = "/tmp/litestream-body-XXXXXX";
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	unlink(path);
	uint8_t *data = pattern(200000, 7);
	assert_int_equal(fs_write_full(fd, data, 200000), 0);
	struct store_body body = {.fd = fd, .offset = 1000, .size = 150000};
	assert_ok(store_put(x->s, "from-file", &body, NULL, &e));
	assert_content(x->s, "from-file", data + 1000, 150000);
	/* Longer than the file: nothing is stored. */
	body.size = 300000;
	assert_code(store_put(x->s, "too-long", &body, NULL, &e), ERR_IO);
	struct store_object o;
	assert_code(store_head(x->s, "too-long", &o, &e), ERR_NOT_FOUND);
	close(fd);
	free(data);
}

static void replaces_without_condition(void **state)
{
	struct subject *x = *state;
	assert_ok(put(x->s, "a", "first one", 9, false));
	assert_ok(put(x->s, "a", "second", 6, false));
	assert_content(x->s, "a", "second", 6);
}

static void keeps_what_is_there(void **state)
{
	struct subject *x = *state;
	if (!x->conditional) {
		assert_code(put(x->s, "a", "first", 5, true), ERR_UNSUPPORTED);
		struct store_object o;
		assert_code(store_head(x->s, "a", &o, &e), ERR_NOT_FOUND);
		return;
	}
	assert_ok(put(x->s, "a", "first", 5, true));
	assert_code(put(x->s, "a", "second", 6, true), ERR_CONDITION);
	assert_code(put(x->s, "a", "first", 5, true), ERR_CONDITION);
	assert_content(x->s, "a", "first", 5);
}

struct racer {
	struct store *s;
	char body[24];
	int rc;
	struct err e;
	pthread_barrier_t *start;
};

static void *race(void *arg)
{
	struct racer *r = arg;
	struct store_body body = {.data = r->body, .fd = -1, .size = strlen(r->body)};
	pthread_barrier_wait(r->start);
	r->rc = store_put(
		r->s, "contested", &body, &(struct store_put_opts){.only_if_absent = true}, &r->e);
	return NULL;
}

static void lets_one_of_many_win(void **state)
{
	struct subject *x = *state;
	enum { N = 8 };
	struct racer racers[N];
	unsigned long threads[N];
	pthread_barrier_t start;
	if (!x->conditional)
		skip();
	pthread_barrier_init(&start, NULL, N);
	for (int i = 0; i < N; i++) {
		racers[i] = (struct racer){.s = x->s, .start = &start};
		snprintf(racers[i].body, sizeof(racers[i].body), "racer %d", i);
		assert_int_equal(thread_start(&threads[i], race, &racers[i]), 0);
	}
	for (int i = 0; i < N; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&start);
	int winner = -1;
	for (int i = 0; i < N; i++) {
		if (racers[i].rc == ERR_OK && winner >= 0)
			fail_msg("racers %d and %d both won", winner, i);
		if (racers[i].rc == ERR_OK)
			winner = i;
		else if (racers[i].rc != ERR_CONDITION)
			fail_msg("racer %d: %d %s", i, racers[i].rc, racers[i].e.text);
	}
	/* radosgw may answer the winner with an error and refuse its second attempt: then nobody knows
	 * of having won, and the object is still one racer's, whole. */
	struct buf got;
	buf_init(&got, 1000);
	assert_ok(store_get(x->s, "contested", 0, 0, collect, &got, &e));
	int owner = -1;
	assert_int_equal(sscanf(buf_str(&got), "racer %d", &owner), 1);
	if (winner >= 0)
		assert_int_equal(owner, winner);
	buf_free(&got);
}

static void reads_ranges(void **state)
{
	struct subject *x = *state;
	uint8_t *data = pattern(100000, 3);
	assert_ok(put(x->s, "r", data, 100000, false));
	static const struct {
		uint64_t offset, length, expected;
	} good[] = {{0, 1, 1}, {0, 100000, 100000}, {17, 4096, 4096}, {99999, 1, 1}, {99999, 0, 1},
		{50000, 0, 50000}};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct buf got;
		buf_init(&got, 200000);
		assert_ok(store_get(x->s, "r", good[i].offset, good[i].length, collect, &got, &e));
		assert_int_equal(got.len, good[i].expected);
		assert_memory_equal(got.data, data + good[i].offset, got.len);
		buf_free(&got);
	}
	static const uint64_t bad[][2] = {
		{100000, 0}, {100000, 1}, {99999, 2}, {0, 100001}, {200000, 0}};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct buf got;
		buf_init(&got, 200000);
		assert_code(store_get(x->s, "r", bad[i][0], bad[i][1], collect, &got, &e), ERR_DAMAGED);
		buf_free(&got);
	}
	free(data);
}

static int refuse(void *ctx, const void *p, size_t n, struct err *err)
{
	(void)p, (void)n;
	++*(int *)ctx;
	return err_set(err, ERR_FULL, "the sink has had enough");
}

static void stops_when_the_sink_does(void **state)
{
	struct subject *x = *state;
	int calls = 0;
	uint8_t *data = pattern(200000, 5);
	assert_ok(put(x->s, "a", data, 200000, false));
	assert_code(store_get(x->s, "a", 0, 0, refuse, &calls, &e), ERR_FULL);
	assert_int_equal(calls, 1);
	free(data);
}

static void knows_what_is_missing(void **state)
{
	struct subject *x = *state;
	struct store_object o;
	struct buf got;
	buf_init(&got, 100);
	assert_code(store_get(x->s, "no/such", 0, 0, collect, &got, &e), ERR_NOT_FOUND);
	assert_non_null(strstr(e.text, "no/such"));
	assert_code(store_get(x->s, "no/such", 5, 5, collect, &got, &e), ERR_NOT_FOUND);
	assert_code(store_head(x->s, "no/such", &o, &e), ERR_NOT_FOUND);
	assert_int_equal(got.len, 0);
	buf_free(&got);
}

static void keeps_the_timestamp(void **state)
{
	struct subject *x = *state;
	static const int64_t times[] = {1700000000123, 1700000000120, 1700000000000, 1};
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		struct store_object o;
		struct store_body body = {.data = "12345", .fd = -1, .size = 5};
		struct store_put_opts opts = {.timestamp_ms = times[i]};
		assert_ok(store_put(x->s, "ltx/0/stamped", &body, &opts, &e));
		assert_ok(store_head(x->s, "ltx/0/stamped", &o, &e));
		assert_int_equal(o.size, 5);
		assert_string_equal(o.name, "ltx/0/stamped");
		assert_int_equal(o.timestamp_ms, times[i]);
		assert_true(o.modified_ms > 0);
	}
}

struct names {
	char text[4096];
	size_t n, stop_after;
	uint64_t bytes;
};

static int note_name(void *ctx, const struct store_object *o, struct err *err)
{
	struct names *v = ctx;
	size_t len = strlen(v->text);
	snprintf(v->text + len, sizeof(v->text) - len, "%s%s", len ? " " : "", o->name);
	v->bytes += o->size;
	assert_true(o->modified_ms > 0);
	if (++v->n == v->stop_after)
		return err_set(err, ERR_AGAIN, "the listing has been stopped");
	return ERR_OK;
}

static void assert_listing(
	struct store *s, const char *prefix, const char *after, size_t max, const char *expected)
{
	struct names v = {0};
	assert_ok(store_list(s, prefix, after, max, note_name, &v, &e));
	assert_string_equal(v.text, expected);
}

static void lists_in_byte_order(void **state)
{
	struct subject *x = *state;
	static const char *const names[] = {"0000/b", "0000/a", "0000/a-b", "0000/a.d/x", "0000/a/y",
		"0000/B", "0001/a", "0000/a_b", "litestream.json", "00000/z"};
	size_t n = sizeof(names) / sizeof(names[0]);
	assert_listing(x->s, "", NULL, 0, "");
	assert_listing(x->s, "0000/", NULL, 0, "");
	for (size_t i = 0; i < n; i++) {
		/* A folder can't be a file's and a folder's name at once. */
		if (strcmp(names[i], "0000/a/y") != 0)
			assert_ok(put(x->s, names[i], "1234567890", i, false));
	}
	assert_listing(x->s, "0000/", NULL, 0, "B a a-b a.d/x a_b b");
	assert_listing(x->s, "0000/", "a", 0, "a-b a.d/x a_b b");
	assert_listing(x->s, "0000/", "a.d", 2, "a.d/x a_b");
	assert_listing(x->s, "0000/", "a.d/x", 2, "a_b b");
	assert_listing(x->s, "0000/", "A-name-that-is-not-there", 2, "B a");
	assert_listing(x->s, "0000/", "b", 0, "");
	assert_listing(x->s, "0000/", "zzz", 0, "");
	assert_listing(x->s, "0000/", NULL, 1, "B");
	assert_listing(x->s, "0000/a.d/", NULL, 0, "x");
	assert_listing(x->s, "0009/", NULL, 0, "");
	assert_listing(x->s, "", "0000/b", 0, "00000/z 0001/a litestream.json");
	struct names v = {.stop_after = 2};
	assert_code(store_list(x->s, "0000/", NULL, 0, note_name, &v, &e), ERR_AGAIN);
	assert_string_equal(v.text, "B a");
	v = (struct names){0};
	assert_ok(store_list(x->s, "0000/", "b-not", 0, note_name, &v, &e));
	assert_int_equal(v.n, 0);
}

struct numbered {
	struct store *s;
	int first, n;
	int rc;
	struct err e;
};

static void *put_numbered(void *arg)
{
	struct numbered *j = arg;
	for (int i = j->first; i < j->first + j->n && !j->rc; i++) {
		char name[40];
		snprintf(name, sizeof(name), "0000/%016x", i);
		struct store_body body = {.data = name, .fd = -1, .size = strlen(name)};
		j->rc = store_put(j->s, name, &body, NULL, &j->e);
	}
	return NULL;
}

/* What is directly in a folder comes in no certain order: counted by name. */
struct folder_names {
	const char *const *expected;
	unsigned seen[16], others;
	size_t stop_after, n;
};

static int note_entry(void *ctx, const struct store_object *o, struct err *err)
{
	struct folder_names *v = ctx;
	size_t i = 0;
	while (v->expected[i] && strcmp(v->expected[i], o->name) != 0)
		i++;
	if (v->expected[i])
		v->seen[i]++;
	else
		v->others++;
	return ++v->n == v->stop_after ? err_set(err, ERR_AGAIN, "the listing has been stopped")
								   : ERR_OK;
}

static void assert_folder(struct store *s, const char *prefix, const char *const *expected)
{
	struct folder_names v = {.expected = expected};
	assert_ok(store_list_folder(s, prefix, 100, note_entry, &v, &e));
	assert_int_equal(v.others, 0);
	for (size_t i = 0; expected[i]; i++)
		if (v.seen[i] != 1)
			fail_msg("'%s' in '%s' was given %u times", expected[i], prefix, v.seen[i]);
}

static void put_apps(struct store *s)
{
	static const char *const names[] = {"litestream.json", "my-app/litestream.json",
		"my-app/0000/a", "my-app/0000/b", "my-app/0009/c", "my-app-jobs/0000/a",
		"other.d/deep/er/x"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_ok(put(s, names[i], "1234567890", i, false));
}

static void lists_a_folder(void **state)
{
	struct subject *x = *state;
	assert_folder(x->s, "", (const char *const[]){NULL});
	put_apps(x->s);
	assert_folder(x->s, "",
		(const char *const[]){"litestream.json", "my-app/", "my-app-jobs/", "other.d/", NULL});
	assert_folder(
		x->s, "my-app/", (const char *const[]){"litestream.json", "0000/", "0009/", NULL});
	assert_folder(x->s, "my-app/0000/", (const char *const[]){"a", "b", NULL});
	assert_folder(x->s, "other.d/deep/", (const char *const[]){"er/", NULL});
	assert_folder(x->s, "no-such-app/", (const char *const[]){NULL});
	struct folder_names v = {.expected = (const char *const[]){NULL}};
	assert_ok(store_list_folder(x->s, "", 2, note_entry, &v, &e));
	assert_int_equal(v.n, 2);
	v = (struct folder_names){.expected = v.expected, .stop_after = 1};
	assert_code(store_list_folder(x->s, "my-app/", 100, note_entry, &v, &e), ERR_AGAIN);
	assert_int_equal(v.n, 1);
	assert_code(store_list_folder(x->s, "../", 100, note_entry, &v, &e), ERR_FAIL);
}

static void opens_a_folder(void **state)
{
	struct subject *x = *state;
	struct store *folder;
	struct store_object o;
	put_apps(x->s);
	assert_ok(store_open_folder(&folder, x->s, "my-app", &e));
	assert_int_equal(store_capabilities(folder)->layout, store_capabilities(x->s)->layout);
	assert_non_null(strstr(store_url(folder), "/my-app"));
	assert_listing(folder, "0000/", NULL, 0, "a b");
	assert_listing(folder, "0000/", "a", 0, "b");
	assert_listing(folder, "", NULL, 0, "0000/a 0000/b 0009/c litestream.json");
	assert_folder(folder, "", (const char *const[]){"litestream.json", "0000/", "0009/", NULL});
	assert_content(folder, "litestream.json", "1", 1);
	assert_ok(store_head(folder, "0000/b", &o, &e));
	assert_int_equal(o.size, 3);
	assert_string_equal(o.name, "0000/b");
	assert_code(store_head(folder, "other.d/deep/er/x", &o, &e), ERR_NOT_FOUND);
	/* For reading only. */
	const char *name = "0000/a";
	struct store_delete_result result;
	assert_code(put(folder, "new", "x", 1, false), ERR_UNSUPPORTED);
	assert_code(store_delete(folder, &name, 1, &result, &e), ERR_UNSUPPORTED);
	assert_int_equal(result.code, ERR_UNSUPPORTED);
	store_close(folder);
	assert_listing(x->s, "my-app/", NULL, 0, "0000/a 0000/b 0009/c litestream.json");

	assert_code(store_open_folder(&folder, x->s, "../other", &e), ERR_USAGE);
	assert_null(folder);
	assert_ok(store_open_folder(&folder, x->s, "other.d/deep", &e));
	store_cancel(x->s);
	assert_code(store_head(folder, "er/x", &o, &e), ERR_CANCELLED);
	store_close(folder);
}

static int check_numbered(void *ctx, const struct store_object *o, struct err *err)
{
	char name[40];
	int *next = ctx;
	snprintf(name, sizeof(name), "%016x", *next);
	if (strcmp(o->name, name) != 0 || o->size != strlen(name) + 5)
		return err_set(
			err, ERR_FAIL, "%s of %d bytes came instead of %s", o->name, (int)o->size, name);
	++*next;
	return ERR_OK;
}

static void lists_and_deletes_more_than_a_page(void **state)
{
	struct subject *x = *state;
	enum { THREADS = 4, EACH = 275, ALL = THREADS * EACH };
	struct numbered jobs[THREADS];
	unsigned long threads[THREADS];
	if (!x->paged)
		skip();
	for (int i = 0; i < THREADS; i++) {
		jobs[i] = (struct numbered){.s = x->s, .first = i * EACH, .n = EACH};
		assert_int_equal(thread_start(&threads[i], put_numbered, &jobs[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		if (jobs[i].rc)
			fail_msg("%d %s", jobs[i].rc, jobs[i].e.text);
	}
	int next = 0;
	assert_ok(store_list(x->s, "0000/", NULL, 0, check_numbered, &next, &e));
	assert_int_equal(next, ALL);
	next = 0x20;
	assert_ok(store_list(x->s, "0000/", "000000000000001f", 1050, check_numbered, &next, &e));
	assert_int_equal(next, 0x20 + 1050);
	static char names[ALL][40];
	static const char *list[ALL];
	static struct store_delete_result results[ALL];
	for (int i = 0; i < ALL; i++) {
		snprintf(names[i], sizeof(names[i]), "0000/%016x", i);
		list[i] = names[i];
	}
	assert_ok(store_delete(x->s, list, ALL, results, &e));
	for (int i = 0; i < ALL; i++)
		assert_int_equal(results[i].code, ERR_OK);
	assert_listing(x->s, "", NULL, 0, "");
}

static void deletes(void **state)
{
	struct subject *x = *state;
	const char *const names[] = {"0000/a", "0000/not-there", "0001/b"};
	struct store_delete_result results[3];
	assert_ok(put(x->s, names[0], "x", 1, false));
	assert_ok(put(x->s, names[2], "x", 1, false));
	assert_ok(put(x->s, "0001/stays", "x", 1, false));
	memset(results, 0xff, sizeof(results));
	assert_ok(store_delete(x->s, names, 3, results, &e));
	for (int i = 0; i < 3; i++)
		assert_int_equal(results[i].code, ERR_OK);
	assert_listing(x->s, "", NULL, 0, "0001/stays");
	const char *one = "0001/stays";
	assert_ok(store_delete(x->s, &one, 1, results, &e));
	assert_ok(store_delete(x->s, &one, 1, results, &e));
	assert_ok(store_delete(x->s, &one, 0, NULL, &e));
	assert_listing(x->s, "", NULL, 0, "");
	/* What was deleted can be made again, also under the condition. */
	if (x->conditional)
		assert_ok(put(x->s, "0000/a", "x", 1, true));
}

static void refuses_names(void **state)
{
	struct subject *x = *state;
	static const char *const bad[] = {"", "/a", "a/", "a//b", ".", "..", "a/../b", "a b", "a?b",
		"a%2fb", "\xc3\xa4", "a\nb", "~tmp-1"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_code(put(x->s, bad[i], "x", 1, false), ERR_FAIL);
	struct names v = {0};
	assert_code(store_list(x->s, "a", NULL, 0, note_name, &v, &e), ERR_FAIL);
	assert_code(store_list(x->s, "../", NULL, 0, note_name, &v, &e), ERR_FAIL);
	const char *names[] = {"fine", "../not"};
	struct store_delete_result results[2];
	assert_code(store_delete(x->s, names, 2, results, &e), ERR_FAIL);
	assert_int_equal(results[0].code, ERR_FAIL);
}

static void stores_what_is_large(void **state)
{
	struct subject *x = *state;
	size_t n = (size_t)12 * 1024 * 1024 + 12345; /* three parts of 5 MiB, the last one smaller */
	uint8_t *data = pattern(n, 11);
	struct store_object o;
	struct store_body body = {.data = data, .fd = -1, .size = n};
	struct store_put_opts opts = {.timestamp_ms = 1700000000123};
	assert_ok(store_put(x->s, "0009/snapshot", &body, &opts, &e));
	assert_ok(store_head(x->s, "0009/snapshot", &o, &e));
	assert_int_equal(o.size, n);
	assert_int_equal(o.timestamp_ms, 1700000000123);
	assert_content(x->s, "0009/snapshot", data, n);
	struct buf got;
	buf_init(&got, n);
	assert_ok(store_get(x->s, "0009/snapshot", 5 * 1024 * 1024 - 10, 20, collect, &got, &e));
	assert_memory_equal(got.data, data + 5 * 1024 * 1024 - 10, 20);
	buf_free(&got);
	opts.single = true;
	assert_ok(store_put(x->s, "0000/single", &body, &opts, &e));
	assert_content(x->s, "0000/single", data, n);
	if (x->conditional) {
		opts.only_if_absent = true;
		assert_code(store_put(x->s, "0000/single", &body, &opts, &e), ERR_CONDITION);
		opts.single = false;
		assert_code(store_put(x->s, "0009/snapshot", &body, &opts, &e), ERR_CONDITION);
		assert_ok(store_put(x->s, "0009/another", &body, &opts, &e));
		assert_content(x->s, "0009/another", data, n);
	}
	free(data);
}

static void works_in_several_threads(void **state)
{
	struct subject *x = *state;
	enum { THREADS = 4 };
	struct numbered jobs[THREADS];
	unsigned long threads[THREADS];
	for (int i = 0; i < THREADS; i++) {
		jobs[i] = (struct numbered){.s = x->s, .first = i * 16, .n = 16};
		assert_int_equal(thread_start(&threads[i], put_numbered, &jobs[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		if (jobs[i].rc)
			fail_msg("%d %s", jobs[i].rc, jobs[i].e.text);
	}
	int next = 0;
	assert_ok(store_list(x->s, "0000/", NULL, 0, check_numbered, &next, &e));
	assert_int_equal(next, THREADS * 16);
	struct store_counts counts;
	store_get_counts(x->s, &counts);
	assert_true(counts.put >= THREADS * 16);
	assert_true(counts.list >= 1);
	assert_int_equal(counts.bytes_out, THREADS * 16 * 21);
}

static void ends_when_cancelled(void **state)
{
	struct subject *x = *state;
	struct store_object o;
	assert_ok(put(x->s, "a", "x", 1, false));
	store_cancel(x->s);
	assert_code(put(x->s, "b", "x", 1, false), ERR_CANCELLED);
	assert_code(store_head(x->s, "a", &o, &e), ERR_CANCELLED);
	struct names v = {0};
	assert_code(store_list(x->s, "", NULL, 0, note_name, &v, &e), ERR_CANCELLED);
	struct store_delete_result r;
	const char *name = "a";
	assert_code(store_delete(x->s, &name, 1, &r, &e), ERR_CANCELLED);
	assert_int_equal(r.code, ERR_CANCELLED);
}

static void describes_itself(void **state)
{
	struct subject *x = *state;
	char prefix[16];
	const struct store_caps *caps = store_capabilities(x->s);
	store_level_prefix(x->s, 9, prefix);
	assert_string_equal(prefix, caps->layout == STORE_LAYOUT_HEX ? "0009/" : "ltx/9/");
	assert_true(!strncmp(store_url(x->s), caps->scheme, strlen(caps->scheme)));
	if (x->opts.secret_access_key)
		assert_null(strstr(store_url(x->s), x->opts.secret_access_key));
}

static int run_suite(struct subject *x)
{
	const struct CMUnitTest tests[] = {
#define TEST(function) {#function, function, open_fresh, close_store, x}
		TEST(describes_itself),
		TEST(stores_and_gives_back),
		TEST(stores_a_part_of_a_file),
		TEST(replaces_without_condition),
		TEST(keeps_what_is_there),
		TEST(lets_one_of_many_win),
		TEST(reads_ranges),
		TEST(stops_when_the_sink_does),
		TEST(knows_what_is_missing),
		TEST(keeps_the_timestamp),
		TEST(lists_in_byte_order),
		TEST(lists_a_folder),
		TEST(opens_a_folder),
		TEST(lists_and_deletes_more_than_a_page),
		TEST(deletes),
		TEST(refuses_names),
		TEST(stores_what_is_large),
		TEST(works_in_several_threads),
		TEST(ends_when_cancelled),
#undef TEST
	};
	return cmocka_run_group_tests_name(x->kind, tests, NULL, NULL);
}

/* Swift insists on its region, as AWS does, and radosgw doesn't. */
static void names_the_right_region(void **state)
{
	struct subject *x = *state;
	x->opts.region = "eu-west-1";
	assert_int_equal(open_fresh(state), 0);
	struct names v = {0};
	assert_code(store_list(x->s, "", NULL, 0, note_name, &v, &e), ERR_FAIL);
	assert_non_null(strstr(e.text, "region us-east-1"));
	assert_code(put(x->s, "a", "x", 1, false), ERR_FAIL);
}

static int run_region_test(struct subject *x)
{
	const struct CMUnitTest tests[] = {
		{"names_the_right_region", names_the_right_region, NULL, close_store, x},
	};
	return cmocka_run_group_tests_name(x->kind, tests, NULL, NULL);
}

static int run_s3(const char *kind, const char *prefix, bool conditional, const char *path)
{
	char name[64];
	struct subject x = {.kind = kind, .conditional = conditional, .paged = conditional};
	x.opts = (struct store_options){0};
	const char *v[4];
	static const char *const keys[] = {"ENDPOINT", "BUCKET", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY"};
	for (int i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "LITESTREAM_TEST_%s_%s", prefix, keys[i]);
		v[i] = getenv(name);
		if (!v[i]) {
			fprintf(stderr, "%s is not set\n", name);
			return 1;
		}
	}
	snprintf(x.url, sizeof(x.url), "s3://%s%s?endpoint=%s", v[1], path, v[0]);
	x.opts.access_key_id = v[2];
	x.opts.secret_access_key = v[3];
	int failed = run_suite(&x);
	return conditional ? failed : failed + run_region_test(&x);
}

int main(void)
{
	char dir[SERVER_DIR_MAX];
	struct subject mem = {.kind = "mem", .url = "mem://%s", .conditional = true, .paged = true};
	struct subject file = {.kind = "file", .conditional = true, .paged = true};
	server_temp_dir(dir);
	snprintf(file.url, sizeof(file.url), "%s/%%s", dir);
	int failed = run_suite(&mem) + run_suite(&file);
	if (server_start("ceph.sh", "LITESTREAM_TEST_S3_ENDPOINT"))
		failed += run_s3("radosgw", "S3", true, "/pre fix+/%s");
	if (server_start("swift.sh", "LITESTREAM_TEST_SWIFT_ENDPOINT"))
		failed += run_s3("swift", "SWIFT", false, "/%s");
	return failed ? 1 : 0;
}
