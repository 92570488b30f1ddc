/*
 * What the tests of the S3 store against a script share: the server, a store at it, a clock whose
 * pauses take no time, answers. A header alone, because it uses cmocka, which the programs for
 * tests are not linked with.
 */
#ifndef TESTS_LIB_S3_BED_H
#define TESTS_LIB_S3_BED_H

#include "lib/scripted.h"

#include "base/buf.h"
#include "base/clock.h"
#include "store/store.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct scripted server;
static struct store *s;
static struct err e;

/* A clock whose pauses take no time: sleeping moves it on. */
static _Atomic int64_t slept_us;

static inline int64_t real_us(clockid_t id)
{
	struct timespec t;
	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static inline int64_t fake_wall_ms(void)
{
	return real_us(CLOCK_REALTIME) / 1000;
}

static inline int64_t fake_mono_us(void)
{
	return real_us(CLOCK_MONOTONIC) + slept_us;
}

static inline int64_t fake_boot_ms(void)
{
	return fake_mono_us() / 1000;
}

static inline void fake_sleep(int64_t us)
{
	slept_us += us;
}

static const struct clock_ops fake_clock = {fake_wall_ms, fake_mono_us, fake_boot_ms, fake_sleep};

static inline struct store_options options(void)
{
	struct store_options o = {0};
	o.access_key_id = "AKIDEXAMPLE";
	o.secret_access_key = "a+very/secret+key";
	return o;
}

/* Opens the store that the test uses; `more` is added to the query. */
static inline void open_store(const char *path, const char *more, struct store_options o)
{
	char url[300];
	snprintf(
		url, sizeof(url), "s3://bucket%s?endpoint=http://127.0.0.1:%d%s", path, server.port, more);
	store_close(s);
	s = NULL;
	if (store_open(&s, url, &o, &e))
		fail_msg("%s", e.text);
}

static inline int set_up(void **state)
{
	(void)state;
	slept_us = 0;
	clock_set_ops(&fake_clock);
	open_store("/db", "", options());
	return 0;
}

static inline int tear_down(void **state)
{
	(void)state;
	store_close(s);
	s = NULL;
	clock_set_ops(NULL);
	return 0;
}

static inline int put(const char *body, bool only_if_absent)
{
	struct store_body b = {.data = body, .fd = -1, .size = strlen(body)};
	e = (struct err)ERR_INIT;
	return store_put(
		s, "0000/name", &b, &(struct store_put_opts){.only_if_absent = only_if_absent}, &e);
}

/* One that takes two parts. */
static inline int put_two_parts(bool only_if_absent)
{
	static char large[6 * 1024 * 1024];
	struct store_body b = {.data = large, .fd = -1, .size = sizeof(large)};
	e = (struct err)ERR_INIT;
	return store_put(
		s, "0009/large", &b, &(struct store_put_opts){.only_if_absent = only_if_absent}, &e);
}

static inline int collect(void *ctx, const void *p, size_t n, struct err *err)
{
	(void)err;
	return buf_append(ctx, p, n);
}

static struct buf got; /* by get */

static inline int get(uint64_t offset, uint64_t length)
{
	buf_free(&got);
	buf_init(&got, 1 << 20);
	e = (struct err)ERR_INIT;
	return store_get(s, "0000/name", offset, length, collect, &got, &e);
}

#define assert_code(call, expected)                                                     \
	do {                                                                                \
		int assert_rc = (call);                                                         \
		if (assert_rc != (expected))                                                    \
			fail_msg("%s: %d instead of %d: %s", #call, assert_rc, (expected), e.text); \
		if ((expected) != ERR_OK)                                                       \
			assert_int_equal((int)e.code, (expected));                                  \
		assert_null(strstr(e.text, "a+very/secret+key"));                               \
	} while (0)

static inline void assert_says(const char *words)
{
	if (!strstr(e.text, words))
		fail_msg("'%s' is not in: %s", words, e.text);
}

#define OK_PUT "{'headers': {'ETag': '\\\"1\\\"'}}"
#define ERROR(status, code)                                                            \
	"{'status': " #status ", 'headers': {'Content-Type': 'application/xml'}, 'body': " \
	"'<Error><Code>" code "</Code><Message>Said the server.</Message></Error>'}"
#define HTML(status)                                                             \
	"{'status': " #status ", 'headers': {'Content-Type': 'text/html'}, 'body': " \
	"'<!DOCTYPE html><html><body>Please log in</body></html>'}"

/* Of an upload in parts. */
#define PARTS_BEGUN                                                  \
	"{'body': "                                                      \
	"'<InitiateMultipartUploadResult><UploadId>an/id+1</UploadId></" \
	"InitiateMultipartUploadResult>'}"
#define PARTS_ENDED \
	"{'body': '<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>'}"

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

/* Runs tests with the server up. */
static inline int run_with_server(const char *name, const struct CMUnitTest *tests, size_t n)
{
	scripted_start(&server, false);
	int failed = _cmocka_run_group_tests(name, tests, n, NULL, NULL);
	buf_free(&got);
	scripted_stop(&server);
	return failed;
}

#endif
