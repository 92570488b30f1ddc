#include "lib/crash.h"

#include "base/fs.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define WHERE_MAX 1200

static long until_crash = -1;
static const char *named_call, *named_pattern;
static struct fs_ops ops;
static char *where; /* shared with the parent */

void crash_watch(void)
{
	if (where)
		return;
	where = mmap(NULL, WHERE_MAX, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (where == MAP_FAILED)
		abort();
}

const char *crash_where(void)
{
	return where ? where : "";
}

void crash_forget(void)
{
	if (where)
		where[0] = '\0';
}

/* The path of an open file, or of a name in an open folder. */
static void path_of(int fd, const char *name, char out[WHERE_MAX - 16])
{
	char link[40], at[512] = "";
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = fd < 0 || (name && name[0] == '/') ? 0 : readlink(link, at, sizeof(at) - 1);
	at[n > 0 ? n : 0] = '\0';
	snprintf(out, WHERE_MAX - 16, "%s%s%.600s", at, *at && name ? "/" : "", name ? name : "");
}

/* Is this the change that doesn't happen any more? */
static bool strikes(const char *call, int fd, const char *name)
{
	char path[WHERE_MAX - 16];
	if (until_crash <= 0)
		return false;
	if (named_call || (where && until_crash == 1))
		path_of(fd, name, path);
	if (named_call && (strcmp(call, named_call) != 0 || fnmatch(named_pattern, path, 0) != 0))
		return false;
	if (--until_crash > 0)
		return false;
	if (where)
		snprintf(where, WHERE_MAX, "%s %s", call, path);
	return true;
}

/* Nothing of the process's own runs at a crash, nor a sanitizer's look at what it left. */
void crash_now(void)
{
	syscall(SYS_exit_group, CRASH_EXIT);
}

static void count(const char *call, int fd, const char *name)
{
	if (strikes(call, fd, name))
		crash_now();
}

static int crash_create(int dirfd, const char *path, int flags, mode_t mode)
{
	if (flags & (O_CREAT | O_TRUNC))
		count("create", dirfd, path);
	return openat(dirfd, path, flags, mode);
}

static ssize_t crash_write(int fd, const void *p, size_t n)
{
	count("write", fd, NULL);
	return write(fd, p, n);
}

/* A crash in the middle of a large write leaves half of it. */
static ssize_t crash_pwrite(int fd, const void *p, size_t n, off_t off)
{
	if (strikes("write", fd, NULL)) {
		if (n > 1)
			(void)!pwrite(fd, p, n / 2, off);
		crash_now();
	}
	return pwrite(fd, p, n, off);
}

static int crash_fsync(int fd)
{
	count("fsync", fd, NULL);
	return 0;
}

static int crash_ftruncate(int fd, off_t size)
{
	count("truncate", fd, NULL);
	return ftruncate(fd, size);
}

static int crash_renameat(int od, const char *o, int nd, const char *n)
{
	count("rename", nd, n);
	return renameat(od, o, nd, n);
}

static int crash_renameat2(int od, const char *o, int nd, const char *n, unsigned flags)
{
	count("rename", nd, n);
	return renameat2(od, o, nd, n, flags);
}

static int crash_linkat(int od, const char *o, int nd, const char *n, int flags)
{
	count("link", nd, n);
	return linkat(od, o, nd, n, flags);
}

static int crash_unlinkat(int dir, const char *path, int flags)
{
	count("unlink", dir, path);
	return unlinkat(dir, path, flags);
}

static int crash_mkdirat(int dir, const char *path, mode_t mode)
{
	count("mkdir", dir, path);
	return mkdirat(dir, path, mode);
}

void crash_arm(long n)
{
	ops = fs_system_ops;
	ops.openat = crash_create;
	ops.write = crash_write;
	ops.pwrite = crash_pwrite;
	ops.fsync = ops.fdatasync = crash_fsync;
	ops.ftruncate = crash_ftruncate;
	ops.renameat = crash_renameat;
	ops.renameat2 = crash_renameat2;
	ops.linkat = crash_linkat;
	ops.unlinkat = crash_unlinkat;
	ops.mkdirat = crash_mkdirat;
	named_call = named_pattern = NULL;
	until_crash = n;
	fs_set_ops(&ops);
}

void crash_arm_at(const char *call, const char *pattern, int nth)
{
	crash_arm(nth);
	named_call = call;
	named_pattern = pattern;
}

void crash_openat(int (*call)(int dirfd, const char *path, int flags, mode_t mode))
{
	ops.openat = call;
}

int crash_code(pid_t pid)
{
	int status;
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

int crash_life(const struct replicator_config *cfg, long crash_at,
	int (*live)(struct ship *s, void *ctx), void *ctx)
{
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		struct ship s;
		crash_arm(crash_at);
		int rc = ship_open(&s, cfg);
		if (!rc)
			rc = live(&s, ctx);
		if (rc)
			fprintf(stderr, "life: %d %s\n", rc, ship_status(&s).reason);
		else
			ship_close(&s);
		_exit(rc ? 1 : 0);
	}
	return crash_code(pid);
}
