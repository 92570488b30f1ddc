/*
 * Every file system call of a put fails once, or from then on: the object is then whole or not
 * there (or still the old one), whoever was told of success finds it, nothing else is listed, and
 * the next put works.
 */
#include "lib/server.h"

#include "base/buf.h"
#include "base/fs.h"
#include "store/store.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

static bool armed, for_ever;
static unsigned calls, fail_at;

static bool strikes(int why)
{
	if (!armed || (++calls != fail_at && !(for_ever && calls > fail_at)))
		return false;
	errno = why;
	return true;
}

static int f_openat(int dir, const char *path, int flags, mode_t mode)
{
	return strikes(EMFILE) ? -1 : fs_system_ops.openat(dir, path, flags, mode);
}

static ssize_t f_write(int fd, const void *p, size_t n)
{
	return strikes(ENOSPC) ? -1 : fs_system_ops.write(fd, p, n);
}

static ssize_t f_pread(int fd, void *p, size_t n, off_t offset)
{
	return strikes(EIO) ? -1 : fs_system_ops.pread(fd, p, n, offset);
}

static int f_fsync(int fd)
{
	return strikes(EIO) ? -1 : fs_system_ops.fsync(fd);
}

static int f_linkat(int a, const char *from, int b, const char *to, int flags)
{
	return strikes(ENOSPC) ? -1 : fs_system_ops.linkat(a, from, b, to, flags);
}

static int f_renameat(int a, const char *from, int b, const char *to)
{
	return strikes(EIO) ? -1 : fs_system_ops.renameat(a, from, b, to);
}

static int f_unlinkat(int dir, const char *path, int flags)
{
	return strikes(EIO) ? -1 : fs_system_ops.unlinkat(dir, path, flags);
}

static int f_mkdirat(int dir, const char *path, mode_t mode)
{
	return strikes(ENOSPC) ? -1 : fs_system_ops.mkdirat(dir, path, mode);
}

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
		fail_msg("call %u: '%s' after %d %s", fail_at, now, rc, e.text);
	assert_int_equal(store_list(s, "", NULL, 0, count, &n, &e), ERR_OK);
	assert_int_equal(n, *now ? 1 : 0);
}

static void sweep(bool only_if_absent, const char *before)
{
	static const char name[] = "ltx/0/object";
	for (fail_at = 1;; fail_at++) {
		assert_int_equal(store_open(&s, dir, NULL, &e), ERR_OK);
		if (*before)
			assert_int_equal(put(name, before, false), ERR_OK);
		calls = 0;
		armed = true;
		int rc = put(name, "new", only_if_absent);
		armed = false;
		if (rc != ERR_OK && !e.text[0])
			fail_msg("call %u: %d without a word", fail_at, rc);
		check(name, rc, before);
		assert_int_equal(put(name, "two", false), ERR_OK);
		assert_string_equal(content(name), "two");
		store_close(s);
		fs_remove_tree(dir);
		if (calls < fail_at)
			break;
	}
	assert_true(fail_at > 5);
}

static void each_call_fails_once(void **state)
{
	(void)state;
	for_ever = false;
	sweep(true, "");
	sweep(false, "");
	sweep(false, "old");
}

static void each_call_fails_from_then_on(void **state)
{
	(void)state;
	for_ever = true;
	sweep(true, "");
	sweep(false, "old");
}

static int set_up(void **state)
{
	static struct fs_ops ops;
	(void)state;
	ops = fs_system_ops;
	ops.openat = f_openat;
	ops.write = f_write;
	ops.pread = f_pread;
	ops.fsync = f_fsync;
	ops.linkat = f_linkat;
	ops.renameat = f_renameat;
	ops.unlinkat = f_unlinkat;
	ops.mkdirat = f_mkdirat;
	fs_set_ops(&ops);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(each_call_fails_once, set_up),
		cmocka_unit_test_setup(each_call_fails_from_then_on, set_up),
	};
	server_temp_dir(dir);
	int failed = cmocka_run_group_tests_name("file store calls", tests, NULL, NULL);
	fs_set_ops(NULL);
	buf_free(&b);
	return failed;
}
