#include "lib/faulty.h"

#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DISK_FULL \
	(FAULTY_CREATE | FAULTY_WRITE | FAULTY_SYNC | FAULTY_NAME | FAULTY_MKDIR | FAULTY_TRUNCATE)
#define CHANGES (DISK_FULL | FAULTY_OPEN_WRITE | FAULTY_UNLINK)
#define POISONED_MAX 256

const struct faulty_kind faulty_kinds[] = {
	{"disk full", ENOSPC, DISK_FULL, true},
	{"quota exceeded", EDQUOT, DISK_FULL, true},
	{"read-only", EROFS, CHANGES, false},
	{"no descriptors", EMFILE, FAULTY_OPEN, true},
	{"no descriptors in the system", ENFILE, FAULTY_OPEN, true},
	{"input/output error", EIO, ~0u, false},
	{"fsync", EIO, FAULTY_SYNC, true},
	{NULL, 0, 0, false},
};

/* Restores call from several threads. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const struct faulty_kind *kind;
static unsigned calls, fail_at;
static bool for_ever, nagging, hit;
static char struck_by[300], trusted[300];

#define INTERRUPTIBLE \
	(FAULTY_OPEN | FAULTY_READ | FAULTY_WRITE | FAULTY_SYNC | FAULTY_TRUNCATE | FAULTY_SPACE)
static __thread bool interrupted; /* the last call was: this one works */
static unsigned nags;

/* ---- what must not be trusted ---- */

static struct {
	dev_t dev;
	ino_t ino;
	bool changed; /* since: an fsync that succeeds now means something */
} poisoned[POISONED_MAX];
static unsigned n_poisoned;

static int find(const struct stat *st)
{
	for (unsigned i = 0; i < n_poisoned; i++)
		if (poisoned[i].ino == st->st_ino && poisoned[i].dev == st->st_dev)
			return (int)i;
	return -1;
}

static void poison(const struct stat *st)
{
	int i = find(st);
	if (i >= 0) {
		poisoned[i].changed = false;
		return;
	}
	if (n_poisoned == POISONED_MAX)
		abort();
	poisoned[n_poisoned].changed = false;
	poisoned[n_poisoned].dev = st->st_dev;
	poisoned[n_poisoned++].ino = st->st_ino;
}

static void cure(const struct stat *st)
{
	int i = find(st);
	if (i >= 0)
		poisoned[i] = poisoned[--n_poisoned];
}

/* Of a file that is open, or of one that has a name. */
static void copy_path(char out[300], int fd, const char *path)
{
	char link[40];
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = path ? -1 : readlink(link, out, 299);
	snprintf(out + (n > 0 ? n : 0), n > 0 ? 1 : 300, "%.299s", path ? path : "");
}

static void note_change(const struct stat *st)
{
	int i = find(st);
	if (i >= 0)
		poisoned[i].changed = true;
}

static bool is_unchanged(const struct stat *st)
{
	int i = find(st);
	return i >= 0 && !poisoned[i].changed;
}

static void blame(const char *how, int fd, const char *path)
{
	char name[300];
	copy_path(name, fd, path);
	if (!*trusted)
		snprintf(trusted, sizeof(trusted), "%s %.200s, whose fsync had failed", how, name);
}

static void changed_fd(int fd)
{
	struct stat st;
	if (!fstat(fd, &st))
		note_change(&st);
}

/* A new file or folder, perhaps with the number of one that is gone. */
static void made(int dirfd, const char *path)
{
	struct stat st;
	if (!fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW))
		cure(&st);
}

/* The folder that holds `path` has an entry more or less. */
static void changed_folder(int dirfd, const char *path)
{
	struct stat st;
	char *dir = fs_dirname(path);
	if (dir && !fstatat(dirfd, dir, &st, 0))
		note_change(&st);
	free(dir);
}

static void named(int dirfd, const char *path, int flags)
{
	struct stat st;
	if (!fstatat(dirfd, path, &st, flags & AT_SYMLINK_FOLLOW ? 0 : AT_SYMLINK_NOFOLLOW) &&
		is_unchanged(&st))
		blame("named:", -1, path);
}

/* ---- which call fails ---- */

static bool strikes(unsigned what, const char *call, int fd, const char *path)
{
	if (nagging) {
		interrupted = !interrupted && (what & INTERRUPTIBLE);
		nags += interrupted;
		errno = EINTR;
		return interrupted;
	}
	if (!kind || !(kind->calls & what) || fail_at == 0)
		return false;
	calls++;
	if (calls < fail_at || (calls > fail_at && !for_ever))
		return false;
	if (!hit) {
		char name[300];
		copy_path(name, fd, path);
		snprintf(struck_by, sizeof(struck_by), "%s %.280s", call, name);
	}
	hit = true;
	errno = kind->error;
	return true;
}

static bool fails(unsigned what, const char *call, int fd, const char *path)
{
	pthread_mutex_lock(&lock);
	bool rc = strikes(what, call, fd, path);
	pthread_mutex_unlock(&lock);
	return rc;
}

static size_t some(size_t n)
{
	return nagging && n > 1 ? n / 2 : n;
}

/* ---- the calls ---- */

static int f_openat(int dir, const char *path, int flags, mode_t mode)
{
	unsigned what = FAULTY_OPEN;
	if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE)
		what |= FAULTY_CREATE;
	if ((flags & O_ACCMODE) != O_RDONLY)
		what |= FAULTY_OPEN_WRITE;
	/* What is there already can be opened on a full disk. */
	if (what & FAULTY_CREATE && !(flags & O_EXCL) && (flags & O_TMPFILE) != O_TMPFILE &&
		!faccessat(dir, path, F_OK, 0))
		what &= ~(unsigned)FAULTY_CREATE;
	if (fails(what, "openat", -1, path))
		return -1;
	int fd = openat(dir, path, flags, mode);
	pthread_mutex_lock(&lock);
	if (fd >= 0 && what & FAULTY_CREATE) {
		if ((flags & O_TMPFILE) != O_TMPFILE)
			made(dir, path);
		changed_folder(dir, path);
	}
	pthread_mutex_unlock(&lock);
	return fd;
}

static ssize_t f_read(int fd, void *p, size_t n)
{
	return fails(FAULTY_READ, "read", fd, NULL) ? -1 : read(fd, p, some(n));
}

static ssize_t f_pread(int fd, void *p, size_t n, off_t off)
{
	return fails(FAULTY_READ, "pread", fd, NULL) ? -1 : pread(fd, p, some(n), off);
}

static void wrote(int fd)
{
	pthread_mutex_lock(&lock);
	changed_fd(fd);
	pthread_mutex_unlock(&lock);
}

static ssize_t f_write(int fd, const void *p, size_t n)
{
	if (fails(FAULTY_WRITE, "write", fd, NULL))
		return -1;
	wrote(fd);
	return write(fd, p, some(n));
}

static ssize_t f_pwrite(int fd, const void *p, size_t n, off_t off)
{
	if (fails(FAULTY_WRITE, "pwrite", fd, NULL))
		return -1;
	wrote(fd);
	return pwrite(fd, p, some(n), off);
}

static int f_fsync(int fd)
{
	struct stat st;
	bool failed = fails(FAULTY_SYNC, "fsync", fd, NULL);
	int why = errno;
	pthread_mutex_lock(&lock);
	if (!fstat(fd, &st)) {
		if (failed && why != EINTR)
			poison(&st);
		else if (!failed && is_unchanged(&st))
			blame("fsynced again:", fd, NULL);
		else if (!failed)
			cure(&st);
	}
	pthread_mutex_unlock(&lock);
	errno = why;
	return failed ? -1 : 0;
}

static int f_ftruncate(int fd, off_t size)
{
	return fails(FAULTY_TRUNCATE, "ftruncate", fd, NULL) ? -1 : ftruncate(fd, size);
}

static int f_fallocate(int fd, int mode, off_t off, off_t n)
{
	return fails(FAULTY_TRUNCATE, "fallocate", fd, NULL) ? -1 : fallocate(fd, mode, off, n);
}

static int after_name(int rc, int a, const char *from, int b, const char *to)
{
	int saved = errno;
	pthread_mutex_lock(&lock);
	if (!rc) {
		changed_folder(a, from);
		changed_folder(b, to);
	}
	pthread_mutex_unlock(&lock);
	errno = saved;
	return rc;
}

static bool name_fails(const char *call, int a, const char *from, const char *to, int flags)
{
	pthread_mutex_lock(&lock);
	bool failed = strikes(FAULTY_NAME, call, -1, to);
	int saved = errno;
	if (!failed)
		named(a, from, flags);
	pthread_mutex_unlock(&lock);
	errno = saved;
	return failed;
}

static int f_renameat(int a, const char *from, int b, const char *to)
{
	if (name_fails("renameat", a, from, to, 0))
		return -1;
	return after_name(renameat(a, from, b, to), a, from, b, to);
}

static int f_renameat2(int a, const char *from, int b, const char *to, unsigned flags)
{
	if (name_fails("renameat2", a, from, to, 0))
		return -1;
	return after_name(renameat2(a, from, b, to, flags), a, from, b, to);
}

static int f_linkat(int a, const char *from, int b, const char *to, int flags)
{
	if (name_fails("linkat", a, from, to, flags))
		return -1;
	return after_name(linkat(a, from, b, to, flags), b, to, b, to);
}

static int f_unlinkat(int dir, const char *path, int flags)
{
	if (fails(FAULTY_UNLINK, "unlinkat", -1, path))
		return -1;
	return after_name(unlinkat(dir, path, flags), dir, path, dir, path);
}

static int f_mkdirat(int dir, const char *path, mode_t mode)
{
	if (fails(FAULTY_MKDIR, "mkdirat", -1, path))
		return -1;
	int rc = after_name(mkdirat(dir, path, mode), dir, path, dir, path);
	pthread_mutex_lock(&lock);
	if (!rc)
		made(dir, path);
	pthread_mutex_unlock(&lock);
	return rc;
}

static int f_statvfs(const char *path, struct statvfs *st)
{
	return fails(FAULTY_SPACE, "statvfs", -1, path) ? -1 : statvfs(path, st);
}

static int f_fstatat(int dir, const char *path, struct stat *st, int flags)
{
	return fails(FAULTY_LOOK, "fstatat", -1, path) ? -1 : fstatat(dir, path, st, flags);
}

/* ---- from the outside ---- */

static void install(void)
{
	static struct fs_ops ops;
	ops = (struct fs_ops){
		.openat = f_openat,
		.read = f_read,
		.write = f_write,
		.pread = f_pread,
		.pwrite = f_pwrite,
		.fsync = f_fsync,
		.fdatasync = f_fsync,
		.ftruncate = f_ftruncate,
		.renameat = f_renameat,
		.renameat2 = f_renameat2,
		.linkat = f_linkat,
		.unlinkat = f_unlinkat,
		.mkdirat = f_mkdirat,
		.fallocate = f_fallocate,
		.statvfs = f_statvfs,
		.fstatat = f_fstatat,
	};
	fs_set_ops(&ops);
}

void faulty_arm(const struct faulty_kind *k, unsigned at, bool ever)
{
	kind = k;
	fail_at = at;
	for_ever = ever;
	calls = 0;
	nagging = hit = false;
	struck_by[0] = '\0';
	install();
}

void faulty_nag(void)
{
	faulty_arm(NULL, 0, false);
	nags = 0;
	nagging = true;
}

bool faulty_heal(void)
{
	kind = NULL;
	nagging = false;
	return hit;
}

unsigned faulty_calls(void)
{
	return calls;
}

const char *faulty_struck(void)
{
	return struck_by;
}

unsigned faulty_nagged(void)
{
	return nags;
}

static int look_depth;

static int look_at(const char *path, const struct stat *st, int type, struct FTW *at)
{
	if (type == FTW_D && at->level <= look_depth && find(st) >= 0)
		blame("not made durable:", -1, path);
	return 0;
}

const char *faulty_trusted(const char *dir, int depth)
{
	look_depth = depth;
	nftw(dir, look_at, 16, FTW_PHYS);
	return trusted;
}

void faulty_end(void)
{
	faulty_arm(NULL, 0, false);
	n_poisoned = 0;
	trusted[0] = '\0';
	fs_set_ops(NULL);
}
