/* What is special about the store in a folder: durability, temporary files, foreign files. */
#include "lib/server.h"

#include "base/clock.h"
#include "base/fs.h"
#include "store/store.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char dir[SERVER_DIR_MAX];
static struct store *s;
static struct err e;

/* Counts calls and lets one of them fail. */
static struct fs_ops ops;
static int n_fsync, fail_fsync_at, n_link, link_errno, n_write, fail_write_at;

static int count_fsync(int fd)
{
	if (++n_fsync == fail_fsync_at)
		return errno = EIO, -1;
	return fs_system_ops.fsync(fd);
}

static int count_link(int a, const char *from, int b, const char *to, int flags)
{
	n_link++;
	if (link_errno)
		return errno = link_errno, -1;
	return fs_system_ops.linkat(a, from, b, to, flags);
}

static ssize_t count_write(int fd, const void *p, size_t n)
{
	if (++n_write == fail_write_at)
		return errno = ENOSPC, -1;
	return fs_system_ops.write(fd, p, n);
}

static int set_up(void **state)
{
	(void)state;
	server_temp_dir(dir);
	n_fsync = fail_fsync_at = n_link = link_errno = n_write = fail_write_at = 0;
	ops = fs_system_ops;
	ops.fsync = count_fsync;
	ops.linkat = count_link;
	ops.write = count_write;
	fs_set_ops(&ops);
	return store_open(&s, dir, NULL, &e);
}

static int tear_down(void **state)
{
	(void)state;
	store_close(s);
	fs_set_ops(NULL);
	return 0;
}

static int put(const char *name, const char *text, bool only_if_absent)
{
	struct store_body body = {.data = text, .fd = -1, .size = strlen(text)};
	e = (struct err)ERR_INIT;
	return store_put(
		s, name, &body, &(struct store_put_opts){.only_if_absent = only_if_absent}, &e);
}

static const char *in_dir(const char *name)
{
	static char path[SERVER_DIR_MAX + 200];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static char listed[400];

static int note(void *ctx, const struct store_object *o, struct err *err)
{
	(void)ctx, (void)err;
	size_t n = strlen(listed);
	snprintf(listed + n, sizeof(listed) - n, "%s%s", n ? " " : "", o->name);
	return ERR_OK;
}

static const char *list(void)
{
	listed[0] = '\0';
	assert_int_equal(store_list(s, "", NULL, 0, note, NULL, &e), ERR_OK);
	return listed;
}

/* Names in a folder, hidden ones too, as `ls -A` would say. */
static size_t count_entries(const char *folder)
{
	char command[SERVER_DIR_MAX + 300];
	size_t n = 0;
	snprintf(command, sizeof(command), "ls -A %s | wc -l", in_dir(folder));
	FILE *f = popen(command, "r");
	assert_int_equal(fscanf(f, "%zu", &n), 1);
	pclose(f);
	return n;
}

static void put_is_two_fsyncs(void **state)
{
	(void)state;
	assert_int_equal(put("ltx/0/a", "x", true), ERR_OK);
	/* The first put made two folders, each with an fsync of its parent. */
	assert_int_equal(n_fsync, 4);
	n_fsync = 0;
	assert_int_equal(put("ltx/0/b", "x", true), ERR_OK);
	assert_int_equal(n_fsync, 2);
	assert_int_equal(put("ltx/0/b", "y", false), ERR_OK);
	assert_int_equal(n_fsync, 4);
	assert_int_equal(count_entries("ltx/0"), 2);
	assert_int_equal(put("ltx/0/b", "z", true), ERR_CONDITION);
	assert_int_equal(count_entries("ltx/0"), 2);
}

static void every_failing_call_leaves_the_old_or_the_new(void **state)
{
	(void)state;
	assert_int_equal(put("a", "old", false), ERR_OK);
	fail_fsync_at = n_fsync + 1; /* the file */
	assert_int_equal(put("a", "new", false), ERR_IO);
	assert_non_null(strstr(e.text, "fsync"));
	assert_int_equal(count_entries("."), 1);
	struct store_object o;
	fail_fsync_at = 0;
	fail_write_at = n_write + 1;
	assert_int_equal(put("b", "new", true), ERR_IO);
	assert_non_null(strstr(e.text, "No space"));
	assert_int_equal(store_head(s, "b", &o, &e), ERR_NOT_FOUND);
	assert_int_equal(count_entries("."), 1);
	/* The folder's fsync: the name is there, and who asked knows that it may not last. */
	fail_fsync_at = n_fsync + 2;
	assert_int_equal(put("b", "new", true), ERR_IO);
	fail_fsync_at = 0;
	assert_int_equal(put("b", "new", true), ERR_CONDITION);
	assert_int_equal(count_entries("."), 2);
}

static void file_systems_without_links(void **state)
{
	(void)state;
	link_errno = EPERM;
	assert_int_equal(put("a", "first", true), ERR_OK);
	assert_int_equal(put("a", "second", true), ERR_CONDITION);
	assert_int_equal(n_link, 2);
	assert_int_equal(count_entries("."), 1);
	link_errno = EACCES;
	assert_int_equal(put("b", "x", true), ERR_DENIED);
	assert_int_equal(count_entries("."), 1);
}

static int64_t days;

static int64_t later_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + days * 86400000;
}

static int64_t still_us(void)
{
	return 0;
}

static void leave(const char *name)
{
	int fd = open(in_dir(name), O_CREAT | O_WRONLY, 0600);
	assert_true(fd >= 0);
	close(fd);
}

static void temporary_files_are_hidden_and_vanish(void **state)
{
	(void)state;
	struct clock_ops clock = {.wall_ms = later_ms, .mono_us = still_us};
	assert_int_equal(put("ltx/0/a", "x", true), ERR_OK);
	leave("ltx/0/~tmp-0123456789abcdef");
	/* An old mtime alone is no reason: it is the timestamp of what is being written. */
	struct timespec old[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
	assert_int_equal(utimensat(AT_FDCWD, in_dir("ltx/0/~tmp-0123456789abcdef"), old, 0), 0);
	assert_string_equal(list(), "ltx/0/a");
	assert_int_equal(count_entries("ltx/0"), 2);
	clock_set_ops(&clock);
	days = 2;
	assert_string_equal(list(), "ltx/0/a");
	clock_set_ops(NULL);
	assert_int_equal(count_entries("ltx/0"), 1);
}

static void foreign_things_are_no_objects(void **state)
{
	(void)state;
	assert_int_equal(put("a", "x", true), ERR_OK);
	leave("with space");
	leave(".hidden");
	assert_int_equal(symlink("a", in_dir("link")), 0);
	assert_int_equal(mkfifo(in_dir("fifo"), 0600), 0);
	assert_int_equal(mkdir(in_dir("empty"), 0700), 0);
	assert_string_equal(list(), ".hidden a");
	struct store_object o;
	assert_int_equal(store_head(s, "fifo", &o, &e), ERR_NOT_FOUND);
	assert_int_equal(store_get(s, "fifo", 0, 0, NULL, NULL, &e), ERR_NOT_FOUND);
	assert_int_equal(store_get(s, "empty", 0, 0, NULL, NULL, &e), ERR_NOT_FOUND);
	assert_int_equal(store_head(s, "a/below", &o, &e), ERR_NOT_FOUND);
}

static void nothing_is_made_by_looking(void **state)
{
	(void)state;
	struct store *other;
	assert_int_equal(store_open(&other, in_dir("not/yet"), NULL, &e), ERR_OK);
	struct store_object o;
	assert_int_equal(store_head(other, "a", &o, &e), ERR_NOT_FOUND);
	assert_int_equal(store_list(other, "ltx/0/", NULL, 0, note, NULL, &e), ERR_OK);
	const char *name = "a";
	struct store_delete_result r;
	assert_int_equal(store_delete(other, &name, 1, &r, &e), ERR_OK);
	store_close(other);
	assert_int_equal(count_entries("."), 0);
}

static void content_is_private(void **state)
{
	(void)state;
	struct stat st;
	assert_int_equal(put("ltx/0/a", "x", true), ERR_OK);
	assert_int_equal(stat(in_dir("ltx/0/a"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(stat(in_dir("ltx"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
}

static void a_file_in_the_way_is_told(void **state)
{
	(void)state;
	leave("file");
	struct store *other;
	assert_int_equal(store_open(&other, in_dir("file"), NULL, &e), ERR_OK);
	struct store_body body = {.data = "x", .fd = -1, .size = 1};
	assert_int_equal(store_put(other, "ltx/0/a", &body, NULL, &e), ERR_IO);
	assert_non_null(strstr(e.text, "file/ltx/0"));
	store_close(other);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(put_is_two_fsyncs),
		TEST(every_failing_call_leaves_the_old_or_the_new),
		TEST(file_systems_without_links),
		TEST(temporary_files_are_hidden_and_vanish),
		TEST(foreign_things_are_no_objects),
		TEST(nothing_is_made_by_looking),
		TEST(content_is_private),
		TEST(a_file_in_the_way_is_told),
	};
	return cmocka_run_group_tests_name("file store", tests, NULL, NULL);
}
