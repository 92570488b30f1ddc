/*
 * Every file system call of a put fails once, or from then on (lib/faulty.h): the object is then
 * whole or not there (or still the old one), whoever was told of success finds it, nothing else is
 * listed, and the next put works. A put that is told of its own object, because an earlier try of
 * it failed late, finds it durable.
 */
#include "lib/faulty.h"
#include "lib/server.h"

#include "base/buf.h"
#include "base/fs.h"
#include "store/store.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

static unsigned fail_at;

static struct store *s;
static struct err e;
static char dir[SERVER_DIR_MAX];

static int put(const char *name, const char *text, bool only_if_absent)
{
	struct store_body body = {.data = text, .fd = -1, .size = strlen(text)};
	struct store_put_opts opts = {.only_if_absent = only_if_absent, .timestamp_ms = 1700000000123};
	e = (struct err)ERR_INIT;
	return store_put(s, name, &body, &opts, &e);
}

static int collect(void *ctx, const void *p, size_t n, struct err *err)
{
	(void)err;
	return buf_append(ctx, p, n);
}

static struct buf b;

/* What the object holds; "" when it isn't there. */
static const char *content(const char *name)
{
	buf_free(&b);
	buf_init(&b, 100);
	int rc = store_get(s, name, 0, 0, collect, &b, &e);
	if (rc != ERR_OK && rc != ERR_NOT_FOUND)
		fail_msg("%s", e.text);
	return buf_str(&b);
}

static int count(void *ctx, const struct store_object *o, struct err *err)
{
	(void)err;
	if (o->size != 3)
		fail_msg("%s has %d bytes", o->name, (int)o->size);
	++*(size_t *)ctx;
	return ERR_OK;
}

static void check(const char *name, int rc, const char *before)
{
	size_t n = 0;
	const char *now = content(name);
	if (rc == ERR_OK)
		assert_string_equal(now, "new");
	else if (strcmp(now, before) != 0 && strcmp(now, "new") != 0)
		fail_msg("%s: '%s' after %d %s", faulty_struck(), now, rc, e.text);
	assert_int_equal(store_list(s, "", NULL, 0, count, &n, &e), ERR_OK);
	assert_int_equal(n, *now ? 1 : 0);
}

#define NAME "ltx/0/object"

/* The same once more, as whoever was not told of success does. */
static void try_again(void)
{
	int rc = put(NAME, "new", true);
	if (rc != ERR_OK && rc != ERR_CONDITION)
		fail_msg("%s: %d %s", faulty_struck(), rc, e.text);
	if (*faulty_trusted(dir, 9))
		fail_msg("%s: %s", faulty_struck(), faulty_trusted(dir, 9));
}

static void sweep(
	const struct faulty_kind *kind, bool for_ever, bool only_if_absent, const char *before)
{
	bool struck = true;
	for (fail_at = 1; struck; fail_at++) {
		assert_int_equal(store_open(&s, dir, NULL, &e), ERR_OK);
		if (*before)
			assert_int_equal(put(NAME, before, false), ERR_OK);
		faulty_arm(kind, fail_at, for_ever);
		int rc = put(NAME, "new", only_if_absent);
		struck = faulty_heal();
		if (rc != ERR_OK && !e.text[0])
			fail_msg("%s: %d without a word", faulty_struck(), rc);
		check(NAME, rc, before);
		/* Else a new folder that was not durable could not be removed again either. */
		if (rc && only_if_absent && (kind->undo || !for_ever))
			try_again();
		assert_int_equal(put(NAME, "two", false), ERR_OK);
		assert_string_equal(content(NAME), "two");
		store_close(s);
		fs_remove_tree(dir);
		faulty_end();
	}
	assert_true(fail_at > 2);
}

static void sweep_all(bool for_ever)
{
	for (const struct faulty_kind *k = faulty_kinds; k->name; k++) {
		sweep(k, for_ever, true, "");
		sweep(k, for_ever, false, "");
		sweep(k, for_ever, false, "old");
	}
}

static void each_call_fails_once(void **state)
{
	(void)state;
	sweep_all(false);
}

static void each_call_fails_from_then_on(void **state)
{
	(void)state;
	sweep_all(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_call_fails_once),
		cmocka_unit_test(each_call_fails_from_then_on),
	};
	server_temp_dir(dir);
	int failed = cmocka_run_group_tests_name("file store calls", tests, NULL, NULL);
	faulty_end();
	buf_free(&b);
	return failed;
}
