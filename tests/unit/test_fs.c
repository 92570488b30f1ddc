/* Files: the Nth call fails, once or for ever, and the data is still right. */
#include "base/folder.h"
#include "base/fs.h"
#include "lib/tmpdir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char *dir;

/* ---- a table of calls that can fail ---- */

static struct fs_ops faulty;
static int calls, fail_at, fail_with, short_io;
static bool for_ever, renamed;

static char trace[200]; /* a letter a call */

static bool fails(char call)
{
	trace[calls++] = call;
	trace[calls] = '\0';
	assert_true(calls < (int)sizeof(trace) - 1);
	if (fail_at == 0 || calls < fail_at || (!for_ever && calls > fail_at))
		return false;
	errno = fail_with;
	return true;
}

static size_t some(size_t n)
{
	return short_io && n > 1 ? n / 2 : n;
}

static int f_openat(int dirfd, const char *path, int flags, mode_t mode)
{
	return fails('o') ? -1 : fs_system_ops.openat(dirfd, path, flags, mode);
}

static ssize_t f_read(int fd, void *p, size_t n)
{
	return fails('r') ? -1 : fs_system_ops.read(fd, p, some(n));
}

static ssize_t f_write(int fd, const void *p, size_t n)
{
	return fails('w') ? -1 : fs_system_ops.write(fd, p, some(n));
}

static ssize_t f_pread(int fd, void *p, size_t n, off_t off)
{
	return fails('R') ? -1 : fs_system_ops.pread(fd, p, some(n), off);
}

static ssize_t f_pwrite(int fd, const void *p, size_t n, off_t off)
{
	return fails('W') ? -1 : fs_system_ops.pwrite(fd, p, some(n), off);
}

static int f_fsync(int fd)
{
	return fails('s') ? -1 : fs_system_ops.fsync(fd);
}

static int f_renameat(int a, const char *from, int b, const char *to)
{
	int rc = fails('n') ? -1 : fs_system_ops.renameat(a, from, b, to);
	renamed = rc == 0;
	return rc;
}

static int f_mkdirat(int dirfd, const char *path, mode_t mode)
{
	return fails('m') ? -1 : fs_system_ops.mkdirat(dirfd, path, mode);
}

/* unlinkat works always: a temporary file can't be taken away when that fails for ever. */
static void inject(int at, int with, bool ever)
{
	faulty = fs_system_ops;
	faulty.openat = f_openat;
	faulty.read = f_read;
	faulty.write = f_write;
	faulty.pread = f_pread;
	faulty.pwrite = f_pwrite;
	faulty.fsync = f_fsync;
	faulty.renameat = f_renameat;
	faulty.mkdirat = f_mkdirat;
	trace[calls = 0] = '\0';
	fail_at = at;
	fail_with = with;
	for_ever = ever;
	fs_set_ops(&faulty);
}

static void heal(void)
{
	fs_set_ops(NULL);
	short_io = 0;
}

static int entries(const char *path)
{
	DIR *d = opendir(path);
	assert_non_null(d);
	int n = 0;
	for (struct dirent *ent = readdir(d); ent; ent = readdir(d))
		n += ent->d_name[0] != '.';
	closedir(d);
	return n;
}

static bool content_is(const char *path, const char *want)
{
	struct err e = ERR_INIT;
	struct buf b;
	buf_init(&b, 1 << 20);
	int rc = fs_read_file(path, &b, &e);
	bool same = !rc && strcmp(buf_str(&b), want) == 0;
	buf_free(&b);
	return same;
}

static int refuse_renameat2(int a, const char *from, int b, const char *to, unsigned flags)
{
	(void)a;
	(void)from;
	(void)b;
	(void)to;
	(void)flags;
	return errno = EINVAL, -1;
}

/* By the system's own call, and where a file system doesn't have that. */
static void test_rename_new(void **state)
{
	(void)state;
	struct fs_ops old = fs_system_ops;
	old.renameat2 = refuse_renameat2;
	for (int without = 0; without < 2; without++) {
		char *dir = tmpdir_new(), *a = fs_join(dir, "a"), *b = fs_join(dir, "b");
		struct err e = ERR_INIT;
		assert_int_equal(fs_replace_file(a, "one", 3, 0600, &e), ERR_OK);
		fs_set_ops(without ? &old : NULL);
		assert_int_equal(fs_rename_new(a, b), 0);
		assert_true(content_is(b, "one") && access(a, F_OK) != 0);
		assert_int_equal(fs_replace_file(a, "two", 3, 0600, &e), ERR_OK);
		assert_int_equal(fs_rename_new(a, b), -1);
		assert_int_equal(errno, EEXIST);
		assert_true(content_is(b, "one") && content_is(a, "two"));
		assert_int_equal(unlink(a), 0);
		assert_int_equal(fs_rename_new(a, b), -1);
		fs_set_ops(NULL);
		free(a);
		free(b);
		tmpdir_free(dir);
	}
}

/* ---- replacing a file ---- */

/* One try with call `at` failing; false when there are fewer calls. */
static bool try_replace(const char *path, int at, int with, bool ever)
{
	struct err e = ERR_INIT;
	assert_int_equal(fs_replace_file(path, "old", 3, 0600, &e), ERR_OK);
	renamed = false;
	short_io = 1;
	inject(at, with, ever);
	int rc = fs_replace_file(path, "something new", 13, 0600, &e);
	bool reached = calls >= at;
	heal();
	bool known = rc == ERR_IO || rc == (int)fs_error_code(with);
	assert_true(rc == ERR_OK || (known && (int)e.code == rc && e.text[0]));
	assert_true(reached || rc == ERR_OK);
	/* A failure leaves the old file; after the rename only the folder's fsync can fail. */
	assert_true(rc || renamed);
	assert_true(!rc || !renamed || strstr(e.text, "fsync the folder"));
	assert_true(content_is(path, renamed ? "something new" : "old"));
	if (reached)
		assert_int_equal(rc == ERR_OK, with == EINTR && trace[at - 1] != 'n');
	return reached;
}

static void test_replace_file_with_faults(void **state)
{
	(void)state;
	const char *folder = tmpdir_path(dir, "replace");
	assert_int_equal(fs_mkdirs(folder, 0700), 0);
	char *path = fs_join(folder, "file");
	static const struct {
		int with;
		bool ever;
	} faults[] = {{EIO, false}, {EIO, true}, {ENOSPC, false}, {ENOSPC, true}, {EINTR, false}};
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		int at = 1;
		for (; try_replace(path, at, faults[i].with, faults[i].ever); at++)
			assert_int_equal(entries(folder), 1);
		assert_true(at > 6); /* open the folder, create, write, fsync, rename, fsync it */
	}
	free(path);
}

/* In this order it survives a loss of power at any moment. */
static void test_replace_file_order(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	inject(0, 0, false);
	assert_int_equal(fs_replace_file(tmpdir_path(dir, "order"), "x", 1, 0600, &e), ERR_OK);
	assert_string_equal(trace, "oowsns");
	inject(0, 0, false);
	assert_int_equal(fs_mkdirs(tmpdir_path(dir, "order-1/2"), 0700), 0);
	assert_string_equal(strstr(trace, "mos"), "mosmos");
	heal();
}

static void test_replace_file_mode_and_new_file(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct stat st;
	const char *path = tmpdir_path(dir, "mode");
	mode_t old = umask(022);
	assert_int_equal(fs_replace_file(path, "", 0, 0640, &e), ERR_OK);
	umask(old);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(fs_replace_file(tmpdir_path(dir, "none/mode"), "", 0, 0640, &e), ERR_IO);
	assert_non_null(strstr(e.text, "none/mode"));
	char longest[5000];
	memset(longest, 'a', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(fs_replace_file(longest, "", 0, 0640, &e), ERR_IO);
	assert_non_null(strstr(e.text, "too long"));
}

/* ---- reading and writing whole ranges ---- */

static void test_full_io_in_pieces(void **state)
{
	(void)state;
	char data[1000], got[1000];
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)i;
	int fd = fs_open(tmpdir_path(dir, "pieces"), O_RDWR | O_CREAT, 0600);
	assert_true(fd >= 3);
	for (int at = 0; at <= 8; at++) { /* EINTR at each call */
		inject(at, EINTR, false);
		short_io = 1;
		memset(got, 0, sizeof(got));
		assert_int_equal(fs_pwrite_full(fd, data, sizeof(data), 5), 0);
		assert_int_equal(fs_pread_full(fd, got, sizeof(got), 5), 0);
		assert_memory_equal(data, got, sizeof(data));
		lseek(fd, 5, SEEK_SET);
		memset(got, 0, sizeof(got));
		calls = 0;
		assert_int_equal(fs_read_full(fd, got, sizeof(got)), 0);
		assert_memory_equal(data, got, sizeof(data));
		lseek(fd, 0, SEEK_SET);
		calls = 0;
		assert_int_equal(fs_write_full(fd, data, 500), 0);
		heal();
	}
	errno = 0;
	assert_int_equal(fs_pread_full(fd, got, sizeof(got), 6), -1);
	assert_int_equal(errno, ENODATA);
	lseek(fd, 6, SEEK_SET);
	errno = 0;
	assert_int_equal(fs_read_full(fd, got, sizeof(got)), -1);
	assert_int_equal(errno, ENODATA);
	inject(2, EIO, true);
	short_io = 1;
	assert_int_equal(fs_pwrite_full(fd, data, sizeof(data), 0), -1);
	assert_int_equal(errno, EIO);
	heal();
	assert_int_equal(fs_read_full(fd, got, 0), 0);
	fs_close(fd);
}

static ssize_t write_nothing(int fd, const void *p, size_t n)
{
	(void)fd, (void)p, (void)n;
	return 0;
}

/* A write that says 0 for ever must not hang us. */
static void test_write_of_nothing_ends(void **state)
{
	(void)state;
	struct fs_ops o = fs_system_ops;
	o.write = write_nothing;
	fs_set_ops(&o);
	errno = 0;
	assert_int_equal(fs_write_full(1, "x", 1), -1);
	assert_int_equal(errno, EIO);
	fs_set_ops(NULL);
}

static void test_read_file(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct buf b;
	buf_init(&b, 100000);
	char data[40000];
	memset(data, 'z', sizeof(data));
	const char *path = tmpdir_path(dir, "whole");
	assert_int_equal(fs_replace_file(path, data, sizeof(data), 0600, &e), ERR_OK);
	assert_int_equal(fs_read_file(path, &b, &e), ERR_OK);
	assert_int_equal(b.len, sizeof(data));
	assert_int_equal(fs_read_file(path, &b, &e), ERR_OK); /* appended */
	assert_int_equal(b.len, 2 * sizeof(data));
	assert_int_equal(fs_read_file(path, &b, &e), ERR_FULL);
	assert_non_null(strstr(e.text, "larger than expected"));
	buf_reset(&b);
	assert_int_equal(fs_read_file(tmpdir_path(dir, "absent"), &b, &e), ERR_NOT_FOUND);
	assert_int_equal(fs_read_file(dir, &b, &e), ERR_IO);
	for (int at = 1; at <= 2; at++) {
		inject(at, EIO, false);
		assert_int_equal(fs_read_file(path, &b, &e), ERR_IO);
		heal();
	}
	buf_free(&b);
}

/* ---- folders and names ---- */

static void test_mkdirs(void **state)
{
	(void)state;
	struct stat st;
	assert_int_equal(fs_mkdirs(tmpdir_path(dir, "a/b//c/"), 0750), 0);
	assert_int_equal(fs_mkdirs(tmpdir_path(dir, "a/b/c"), 0750), 0);
	assert_int_equal(stat(tmpdir_path(dir, "a/b/c"), &st), 0);
	assert_true(S_ISDIR(st.st_mode));
	fs_close(fs_open(tmpdir_path(dir, "a/file"), O_CREAT | O_WRONLY, 0600));
	errno = 0;
	assert_int_equal(fs_mkdirs(tmpdir_path(dir, "a/file/x"), 0750), -1);
	assert_int_equal(errno, ENOTDIR);
	inject(1, EACCES, false);
	assert_int_equal(fs_mkdirs(tmpdir_path(dir, "a/new"), 0750), -1);
	assert_int_equal(errno, EACCES);
	heal();
	assert_int_equal(fs_mkdirs("/", 0750), 0);
	assert_int_equal(fs_mkdirs(".", 0750), 0);
}

static void test_remove_tree(void **state)
{
	(void)state;
	assert_int_equal(fs_mkdirs(tmpdir_path(dir, "keep"), 0700), 0);
	fs_close(fs_open(tmpdir_path(dir, "keep/it"), O_CREAT | O_WRONLY, 0600));
	assert_int_equal(fs_mkdirs(tmpdir_path(dir, "tree/1/2/3"), 0700), 0);
	fs_close(fs_open(tmpdir_path(dir, "tree/1/f"), O_CREAT | O_WRONLY, 0600));
	assert_int_equal(symlink(tmpdir_path(dir, "keep"), tmpdir_path(dir, "tree/1/2/link")), 0);
	assert_int_equal(fs_remove_tree(tmpdir_path(dir, "tree")), 0);
	assert_int_equal(access(tmpdir_path(dir, "tree"), F_OK), -1);
	assert_int_equal(access(tmpdir_path(dir, "keep/it"), F_OK), 0);
	assert_int_equal(fs_remove_tree(tmpdir_path(dir, "tree")), 0);
	assert_int_equal(
		fs_mkdirs(tmpdir_path(dir, "deep/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18"), 0700), 0);
	assert_int_equal(fs_remove_tree(tmpdir_path(dir, "deep")), -1);
	assert_int_equal(errno, ELOOP);
	assert_int_equal(fs_remove_tree(tmpdir_path(dir, "deep/1/2/3/4")), 0);
}

static void assert_joined(char *got, const char *want)
{
	assert_string_equal(got, want);
	free(got);
}

static void test_names(void **state)
{
	(void)state;
	assert_joined(fs_join("a", "b"), "a/b");
	assert_joined(fs_join("a//", "b"), "a/b");
	assert_joined(fs_join("/", "b"), "/b");
	assert_joined(fs_dirname("/a/b"), "/a");
	assert_joined(fs_dirname("/a"), "/");
	assert_joined(fs_dirname("a"), ".");
	assert_string_equal(fs_basename("/a/b"), "b");
	assert_string_equal(fs_basename("b"), "b");
}

/* A program started with stdin closed: its files must not become descriptor 0. */
static void test_standard_descriptors_stay_free(void **state)
{
	(void)state;
	int saved = fcntl(0, F_DUPFD_CLOEXEC, 10);
	assert_true(saved >= 10);
	close(0);
	int fd = fs_open("/dev/null", O_RDONLY, 0);
	assert_true(fd >= 3);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(fcntl(0, F_GETFD), -1);
	fs_close(fd);
	dup2(saved, 0);
	close(saved);
	errno = EBUSY;
	fs_close(-1);
	assert_int_equal(errno, EBUSY);
}

static void test_random(void **state)
{
	(void)state;
	uint8_t a[1000] = {0}, b[1000] = {0};
	fs_random(a, sizeof(a));
	fs_random(b, sizeof(b));
	assert_memory_not_equal(a, b, sizeof(a));
	int zeros = 0;
	for (size_t i = 0; i < sizeof(a); i++)
		zeros += a[i] == 0;
	assert_true(zeros < 50);
}

static int make_tmp(void **state)
{
	(void)state;
	dir = tmpdir_new();
	return 0;
}

static int remove_tmp(void **state)
{
	(void)state;
	tmpdir_free(dir);
	return 0;
}

/* Without O_TMPFILE, too; and nothing stays in the folder. */
static void test_a_file_without_a_name(void **state)
{
	(void)state;
	char *own = fs_join(dir, "unnamed");
	struct err e = ERR_INIT;
	struct folder f;
	for (int at = 0; at < 2; at++) {
		char got[6];
		assert_int_equal(fs_mkdirs(own, 0700), 0);
		assert_int_equal(folder_open(&f, own, &e), ERR_OK);
		inject(at, EOPNOTSUPP, false);
		int fd = folder_create_scratch(&f);
		heal();
		assert_true(fd >= 3);
		assert_int_equal(fs_pwrite_full(fd, "fruit", 6, 10), 0);
		assert_int_equal(fs_pread_full(fd, got, 6, 10), 0);
		assert_string_equal(got, "fruit");
		assert_int_equal(rmdir(own), 0);
		fs_close(fd);
		folder_close(&f);
	}
	assert_int_equal(fs_mkdirs(own, 0700), 0);
	assert_int_equal(folder_open(&f, own, &e), ERR_OK);
	inject(1, EACCES, true);
	assert_int_equal(folder_create_scratch(&f), -1);
	assert_int_equal(errno, EACCES);
	heal();
	folder_close(&f);
	assert_int_equal(rmdir(own), 0);
	free(own);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rename_new),
		cmocka_unit_test(test_replace_file_with_faults),
		cmocka_unit_test(test_replace_file_order),
		cmocka_unit_test(test_replace_file_mode_and_new_file),
		cmocka_unit_test(test_full_io_in_pieces),
		cmocka_unit_test(test_write_of_nothing_ends),
		cmocka_unit_test(test_read_file),
		cmocka_unit_test(test_mkdirs),
		cmocka_unit_test(test_remove_tree),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_standard_descriptors_stay_free),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_a_file_without_a_name),
	};
	return cmocka_run_group_tests(tests, make_tmp, remove_tmp);
}
