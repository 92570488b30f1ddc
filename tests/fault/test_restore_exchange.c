/*
 * A restore into a folder whose owner is hostile: at the Nth call that it makes to the file system
 * somebody exchanges the folder, the database or what lies beside it for a symbolic link, another
 * file's hard link, a FIFO or a device, for every N. Whatever comes of the restore, it ends, and
 * what those lead to stays as it was: names, contents, owners, modes. Done as root where the test
 * is root, by a process that is not confined, confined by Landlock, and in a mount namespace.
 */
#include "lib/restore_bed.h"
#include "lib/rounds.h"

#include "base/folder.h"
#include "base/fs.h"
#include "base/log.h"
#include "daemon/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#define PATIENCE_S 120
#define OWNER 12345 /* of the hostile folder, where the test is root */
#define EXIT_RESTORED 0
#define EXIT_REFUSED 10
#define EXIT_UNCONFINED 11

static struct bed bed;
static char up[300], home[320], gone[320], victim[320]; /* folders; `home` is the target */

/* ---- the exchanges, by a process outside ---- */

enum way { WAY_FOLDER, WAY_SYMLINK, WAY_HARD_LINK, WAY_FIFO, WAY_DEVICE };

static const struct exchange {
	enum way way;
	const char *name, *to; /* in home; in victim */
} exchanges[] = {
	{WAY_FOLDER, NULL, NULL},
	{WAY_SYMLINK, "app.db", "app.db"},
	{WAY_HARD_LINK, "app.db", "app.db"},
	{WAY_FIFO, "app.db", NULL},
	{WAY_DEVICE, "app.db", NULL},
	{WAY_SYMLINK, "app.db-wal", "app.db-wal"},
	{WAY_FIFO, "app.db-shm", NULL},
	{WAY_HARD_LINK, "app.db-shm", "app.db-wal"},
	{WAY_SYMLINK, ".app.db.restoring", ".app.db.restoring"},
	{WAY_FIFO, ".app.db.restoring", NULL},
	{WAY_SYMLINK, ".app.db-litestream", ".app.db-litestream"},
	{WAY_HARD_LINK, ".app.db-litestream/lock", "secret"},
	{WAY_SYMLINK, ".app.db-litestream/lock", "secret"},
	{WAY_FIFO, ".app.db-litestream/state.json", NULL},
	{WAY_HARD_LINK, ".app.db-litestream/restored.json", "secret"},
	{WAY_SYMLINK, ".app.db-litestream/restored.json", "secret"},
	{WAY_HARD_LINK, ".app.db-litestream/restored.pages", "secret"},
};
#define EXCHANGES (sizeof(exchanges) / sizeof(exchanges[0]))

static const char *in(const char *dir, const char *name)
{
	return tmpdir_path(dir, name);
}

static void remove_name(const char *path)
{
	if (unlink(path) && errno == EISDIR)
		fs_remove_tree(path);
}

/* What can't be done at this moment (no state folder yet) is not done. */
static void do_exchange(const struct exchange *x)
{
	if (x->way == WAY_FOLDER) {
		if (!rename(home, gone))
			(void)!symlink(victim, home);
		return;
	}
	const char *at = in(home, x->name);
	remove_name(at);
	if (x->way == WAY_SYMLINK)
		(void)!symlink(in(victim, x->to), at);
	else if (x->way == WAY_HARD_LINK)
		(void)!link(in(victim, x->to), at);
	else if (x->way == WAY_FIFO)
		(void)!mkfifo(at, 0666);
	else
		(void)!mknod(at, S_IFCHR | 0666, makedev(1, 3)); /* only root can; it is /dev/null */
}

static pid_t start_intruder(const struct exchange *x, int fds[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		char c;
		close(fds[0]);
		if (read(fds[1], &c, 1) == 1) {
			do_exchange(x);
			(void)!write(fds[1], &c, 1);
		}
		_exit(0);
	}
	close(fds[1]);
	return pid;
}

/* ---- the Nth call ---- */

static struct fs_ops ops;
static long until;
static int intruder = -1;
static unsigned calls;

static void step(void)
{
	char c = 'x';
	if (__atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED) != (unsigned)until)
		return;
	if (write(intruder, &c, 1) == 1)
		(void)!read(intruder, &c, 1);
}

static int s_openat(int dirfd, const char *path, int flags, mode_t mode)
{
	step();
	return fs_system_ops.openat(dirfd, path, flags, mode);
}
static int s_fsync(int fd)
{
	(void)fd;
	step();
	return 0;
}
static int s_ftruncate(int fd, off_t size)
{
	step();
	return fs_system_ops.ftruncate(fd, size);
}
static int s_renameat(int a, const char *from, int b, const char *to)
{
	step();
	return fs_system_ops.renameat(a, from, b, to);
}
static int s_renameat2(int a, const char *from, int b, const char *to, unsigned flags)
{
	step();
	return fs_system_ops.renameat2(a, from, b, to, flags);
}
static int s_linkat(int a, const char *from, int b, const char *to, int flags)
{
	step();
	return fs_system_ops.linkat(a, from, b, to, flags);
}
static int s_unlinkat(int dirfd, const char *path, int flags)
{
	step();
	return fs_system_ops.unlinkat(dirfd, path, flags);
}
static int s_mkdirat(int dirfd, const char *path, mode_t mode)
{
	step();
	return fs_system_ops.mkdirat(dirfd, path, mode);
}
static int s_fstatat(int dirfd, const char *path, struct stat *st, int flags)
{
	step();
	return fs_system_ops.fstatat(dirfd, path, st, flags);
}

static void arm(long at)
{
	ops = fs_system_ops;
	ops.openat = s_openat;
	ops.fsync = s_fsync;
	ops.ftruncate = s_ftruncate;
	ops.renameat = s_renameat;
	ops.renameat2 = s_renameat2;
	ops.linkat = s_linkat;
	ops.unlinkat = s_unlinkat;
	ops.mkdirat = s_mkdirat;
	ops.fstatat = s_fstatat;
	until = at;
	calls = 0;
	fs_set_ops(&ops);
}

/* ---- the two folders ---- */

static void put_in(const char *dir, const char *name, const char *text)
{
	put_text(in(dir, name), text);
}

static void give(const char *path)
{
	if (geteuid() == 0)
		assert_int_equal(lchown(path, OWNER, OWNER), 0);
}

static void make_home(bool with_state)
{
	static const char *const names[] = {"", "app.db", "app.db-wal", "app.db-shm"};
	fs_remove_tree(home);
	fs_remove_tree(gone);
	assert_int_equal(mkdir(home, 0755), 0);
	put_in(home, "app.db", "old database");
	put_in(home, "app.db-wal", "old wal");
	put_in(home, "app.db-shm", "old shm");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		give(in(home, names[i]));
	if (!with_state)
		return;
	assert_int_equal(mkdir(in(home, ".app.db-litestream"), 0700), 0);
	put_in(home, ".app.db-litestream/state.json", "{}");
	put_in(home, ".app.db-litestream/lock", "");
	give(in(home, ".app.db-litestream"));
	give(in(home, ".app.db-litestream/state.json"));
	give(in(home, ".app.db-litestream/lock"));
}

static void make_victim(void)
{
	assert_int_equal(fs_mkdirs(in(victim, ".app.db-litestream/ltx/0"), 0700), 0);
	put_in(victim, "secret", "another one's secret");
	put_in(victim, "app.db", "another one's database");
	put_in(victim, "app.db-wal", "another one's wal");
	put_in(victim, ".app.db.restoring", "another one's intent");
	put_in(victim, ".app.db-litestream/state.json", "another one's state");
	put_in(victim, ".app.db-litestream/pages", "another one's pages");
	put_in(victim, ".app.db-litestream/x.tmp-1", "half a file");
	put_in(victim, ".app.db-litestream/ltx/0/a", "a copy");
	assert_int_equal(chmod(in(victim, "secret"), 0600), 0);
}

/* All of it as text: what else there is, or what changed, shows. */
static char picture[8192];

static int add_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	char text[64] = "";
	size_t n = strlen(picture);
	(void)at;
	if (type == FTW_F) {
		FILE *f = fopen(path, "r");
		assert_non_null(f);
		text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
		fclose(f);
	}
	snprintf(picture + n, sizeof(picture) - n, "%s %o %u %u %s\n", path, st->st_mode,
		(unsigned)st->st_uid, (unsigned)st->st_gid, text);
	return 0;
}

static char *look(void)
{
	picture[0] = '\0';
	assert_int_equal(nftw(victim, add_one, 8, FTW_PHYS), 0);
	return picture;
}

/* ---- the restore, in a process of its own ---- */

static int confine(enum confine_kind kind, const struct stat *st)
{
	struct confine_folders f = {.roots = up};
	struct confine c = {kind, &f, NULL, geteuid(), getegid(), kind != CONFINE_NAMESPACE};
	struct err e = ERR_INIT;
	int ruleset = -1;
	int rc = confine_add_storage(&f, home, false, st->st_dev, st->st_ino, &e);
	if (!rc)
		rc = confine_enter(&c, &ruleset, &e);
	if (!rc && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		rc = ERR_IO;
	return rc ? rc : confine_restrict(ruleset, &e);
}

/* As a job asks its daemon. (Looking into every process of the machine takes its time.) */
static int nobody(void *ctx, struct err *e)
{
	(void)ctx, (void)e;
	return ERR_OK;
}

__attribute__((noreturn)) static void restore_confined(
	enum confine_kind kind, long at, int report, const struct stat *st)
{
	char path[340];
	const struct restore_folder judged = {st->st_dev, st->st_ino};
	struct restore_options o = {
		.output = path, .folder = &judged, .in_place = true, .in_use = nobody, .parallelism = 1};
	struct err e = ERR_INIT;
	log_set_level(LOG_ERROR + 1);
	alarm(PATIENCE_S);
	if (kind != CONFINE_NONE && confine(kind, st))
		_exit(EXIT_UNCONFINED);
	snprintf(path, sizeof(path), "%s/app.db", home);
	arm(at);
	int rc = restore_run(bed.store, &o, &bed.result, &e);
	(void)!write(report, &calls, sizeof(calls));
	_exit(rc ? EXIT_REFUSED : EXIT_RESTORED);
}

/* The exit code, and how many calls it made. */
static int restore(enum confine_kind kind, long at, int to_intruder, unsigned *made)
{
	struct stat st;
	int report[2], status;
	assert_int_equal(stat(home, &st), 0);
	assert_int_equal(pipe(report), 0);
	intruder = to_intruder;
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (kind != CONFINE_NAMESPACE)
			restore_confined(kind, at, report[1], &st);
		/* The first process of the new namespaces is this one's child. */
		if (unshare(confine_clone_flags(kind)))
			_exit(EXIT_UNCONFINED);
		pid_t inner = fork();
		if (inner == 0)
			restore_confined(kind, at, report[1], &st);
		if (waitpid(inner, &status, 0) != inner || !WIFEXITED(status))
			abort();
		_exit(WEXITSTATUS(status));
	}
	close(report[1]);
	*made = 0;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	(void)!read(report[0], made, sizeof(*made));
	close(report[0]);
	if (!WIFEXITED(status))
		fail_msg("call %ld: ended by signal %d", at, WTERMSIG(status));
	return WEXITSTATUS(status);
}

/* ---- the sweeps ---- */

struct seen {
	unsigned restored, refused;
};

/* False when the restore was over before its Nth call. */
static bool one(
	enum confine_kind kind, const struct exchange *x, long at, const char *was, struct seen *seen)
{
	int fds[2];
	unsigned made;
	make_home(at % 2 == 0);
	pid_t pid = start_intruder(x, fds);
	int code = restore(kind, at, fds[0], &made);
	close(fds[0]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	if (code == EXIT_UNCONFINED)
		return false;
	if (strcmp(was, look()) != 0)
		fail_msg("exchange %ld, call %ld (%s): what it led to was changed:\n%s",
			(long)(x - exchanges), at, confine_name(kind), picture);
	seen->restored += code == EXIT_RESTORED;
	seen->refused += code == EXIT_REFUSED;
	if (x->way == WAY_FOLDER && code == EXIT_RESTORED && made >= at)
		assert_true(replica_is_state(&bed.r, bed.r.txid, in(gone, "app.db")));
	return made >= (unsigned)at;
}

static void sweep(enum confine_kind kind, long stride)
{
	char *was = strdup(look());
	struct seen seen = {0};
	for (size_t i = 0; i < EXCHANGES; i++)
		for (long at = 1 + (long)i % stride; one(kind, &exchanges[i], at, was, &seen); at += stride)
			;
	free(was);
	if (kind != CONFINE_NONE && seen.restored + seen.refused == 0) {
		print_message("%s: not to be had here\n", confine_name(kind));
		skip();
	}
	/* Some exchanges are noticed, some come when all is done or concern nothing that is used. */
	if (!seen.restored || !seen.refused)
		fail_msg("%u restored, %u refused", seen.restored, seen.refused);
}

static void test_not_confined(void **state)
{
	(void)state;
	sweep(CONFINE_NONE, ROUNDS_STEP);
}

static void test_landlock(void **state)
{
	(void)state;
	sweep(CONFINE_LANDLOCK, 11 * ROUNDS_STEP);
}

static void test_namespace(void **state)
{
	(void)state;
	sweep(CONFINE_NAMESPACE, 23 * ROUNDS_STEP);
}

/* Nobody disturbs it: the same restore comes through. */
static void test_undisturbed(void **state)
{
	(void)state;
	for (int with_state = 0; with_state < 2; with_state++) {
		unsigned made;
		make_home(with_state);
		assert_int_equal(restore(CONFINE_NONE, 0, -1, &made), EXIT_RESTORED);
		assert_true(made > 30);
		assert_true(replica_is_state(&bed.r, bed.r.txid, in(home, "app.db")));
		assert_int_equal(access(in(home, ".app.db-litestream/pages"), F_OK), 0);
	}
}

/* What is no file of its own is told from a file, in both ways. */
static void test_only_regular_files(void **state)
{
	(void)state;
	struct folder f;
	struct err e = ERR_INIT;
	make_home(false);
	assert_int_equal(folder_open(&f, home, &e), ERR_OK);
	for (size_t i = 1; i < 5; i++) {
		do_exchange(&exchanges[i]);
		struct stat st;
		if (folder_stat(&f, "app.db", &st)) /* a device, without root */
			continue;
		int fd = folder_open_file(&f, "app.db", O_RDONLY);
		assert_int_equal(fd >= 0, exchanges[i].way == WAY_HARD_LINK);
		if (fd < 0)
			assert_int_equal(errno, ELOOP);
		fs_close(fd);
	}
	folder_close(&f);
}

static int begin(void **state)
{
	(void)state;
	bed_open(&bed, "mem://exchange", 1024, true);
	ship_history(&bed);
	char *real = realpath(bed.dir, NULL);
	snprintf(up, sizeof(up), "%.250s/up", real);
	snprintf(home, sizeof(home), "%s/home", up);
	snprintf(gone, sizeof(gone), "%s/gone", up);
	snprintf(victim, sizeof(victim), "%.250s/victim", real);
	free(real);
	/* Root's folders below /tmp are in the way of a user whose the target is: open them. */
	assert_int_equal(chmod(bed.dir, 0755), 0);
	assert_int_equal(mkdir(up, 0755) | mkdir(victim, 0755), 0);
	make_victim();
	return 0;
}

static int end(void **state)
{
	(void)state;
	bed_close(&bed);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_undisturbed),
		cmocka_unit_test(test_only_regular_files),
		cmocka_unit_test(test_not_confined),
		cmocka_unit_test(test_landlock),
		cmocka_unit_test(test_namespace),
	};
	return cmocka_run_group_tests(tests, begin, end);
}
