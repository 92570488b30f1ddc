/*
 * Every allocation of every call of a store fails once: the call says so, or does without, and
 * never crashes, never claims a success that is none, never loses the way for the next call. (Not
 * under a sanitizer, which has an allocator of its own.)
 */
#include "lib/no_memory.h"
#include "lib/scripted.h"
#include "lib/server.h"

#include "base/buf.h"
#include "store/mem.h"
#include "store/store.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if !NO_MEMORY_POSSIBLE

int main(void)
{
	printf("[  SKIPPED ] test_store_memory: a sanitizer's allocator can't be made to fail\n");
	return 0;
}

#else

static struct err e;

/* What a sink takes without allocating. */
static char taken[64];
static size_t n_taken;

static int take(void *ctx, const void *p, size_t n, struct err *err)
{
	(void)ctx, (void)err;
	if (n_taken + n > sizeof(taken))
		return ERR_FULL;
	memcpy(taken + n_taken, p, n);
	n_taken += n;
	return ERR_OK;
}

static int count(void *ctx, const struct store_object *o, struct err *err)
{
	(void)o, (void)err;
	++*(int *)ctx;
	return ERR_OK;
}

static int do_open(const char *url)
{
	struct store *s = NULL;
	struct store_options o = {
		.access_key_id = "AKIDEXAMPLE", .secret_access_key = "secret-of-a-test"};
	int rc = store_open(&s, url, &o, &e);
	store_close(s);
	return rc;
}

enum step { PUT, GET, HEAD, LIST, DELETE, STEPS };

static int do_step(struct store *s, enum step step)
{
	static const char *const names[] = {"0000/name", "0000/other"};
	struct store_body body = {.data = "0123456789", .fd = -1, .size = 10};
	struct store_put_opts opts = {.timestamp_ms = 1700000000123};
	struct store_delete_result results[2];
	struct store_object o;
	int n = 0;
	n_taken = 0;
	switch (step) {
	case PUT:
		return store_put(s, "0000/name", &body, &opts, &e);
	case GET:
		return store_get(s, "0000/name", 0, 0, take, NULL, &e);
	case HEAD:
		return store_head(s, "0000/name", &o, &e);
	case LIST:
		return store_list(s, "0000/", NULL, 0, count, &n, &e);
	default:
		return store_delete(s, names, 2, results, &e);
	}
}

static int run(struct store *s, enum step step, const char *url)
{
	calls = 0;
	e = (struct err)ERR_INIT;
	__atomic_store_n(&armed, true, __ATOMIC_RELEASE);
	int rc = s ? do_step(s, step) : do_open(url);
	__atomic_store_n(&armed, false, __ATOMIC_RELEASE);
	return rc;
}

/* Fails each allocation of one step in turn, until the step needs fewer. */
static void sweep_step(struct store *s, enum step step, const char *url, void (*prepare)(enum step))
{
	for (fail_at = 1;; fail_at++) {
		if (prepare)
			prepare(step);
		int rc = run(s, step, url);
		if (calls < fail_at) {
			if (rc)
				fail_msg("%s step %d without a failure: %d %s", url, (int)step, rc, e.text);
			break;
		}
		if (rc && !e.text[0])
			fail_msg("%s step %d, allocation %u: %d without a word", url, (int)step, fail_at, rc);
		if (rc == ERR_OK && s && step == GET)
			assert_memory_equal(taken, "0123456789", 10);
		if (fail_at > 3000)
			fail_msg("%s step %d never ends", url, (int)step);
	}
	fail_at = 0;
}

static void sweep(const char *url, const struct store_options *o, void (*prepare)(enum step))
{
	struct store *s;
	sweep_step(NULL, PUT, url, NULL);
	if (store_open(&s, url, o, &e))
		fail_msg("%s", e.text);
	for (enum step step = PUT; step < STEPS; step++)
		sweep_step(s, step, url, prepare);
	store_close(s);
}

static void in_memory(void **state)
{
	(void)state;
	sweep("mem://sweep", NULL, NULL);
	store_mem_forget(NULL);
}

static void in_a_folder(void **state)
{
	(void)state;
	char dir[SERVER_DIR_MAX];
	server_temp_dir(dir);
	sweep(dir, NULL, NULL);
}

static struct scripted server;

static void prepare_s3(enum step step)
{
	static const char *const answers[] = {
		"[{'headers': {'ETag': '1'}}]",
		"[{'headers': {'ETag': '1'}, 'body': '0123456789'}]",
		"[{'headers': {'ETag': '1', 'Content-Length': '10'}}]",
		"[{'body': '<ListBucketResult><Contents><Key>db/0000/name</Key><Size>10</Size></Contents>"
		"</ListBucketResult>'}]",
		"[{'body': "
		"'<DeleteResult><Deleted><Key>db/0000/name</Key></Deleted><Deleted><Key>db/0000/other"
		"</Key></Deleted></DeleteResult>'}]",
	};
	static enum step last = STEPS;
	if (step != last)
		scripted_answers(&server, answers[step]);
	last = step;
}

static void on_s3(void **state)
{
	(void)state;
	char url[100];
	struct store_options o = {
		.access_key_id = "AKIDEXAMPLE", .secret_access_key = "secret-of-a-test", .max_attempts = 1};
	scripted_start(&server, false);
	snprintf(url, sizeof(url), "s3://bucket.127.0.0.1:%d/db", server.port);
	/* The first opening loads libcrypto, which tries that once in a process (digest_prepare). */
	assert_int_equal(do_open(url), ERR_OK);
	sweep(url, &o, prepare_s3);
	scripted_stop(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_memory),
		cmocka_unit_test(in_a_folder),
		cmocka_unit_test(on_s3),
	};
	return cmocka_run_group_tests_name("stores out of memory", tests, NULL, NULL);
}

#endif
