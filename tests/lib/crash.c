#include "lib/crash.h"

#include "base/fs.h"

#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static long until_crash = -1;
static struct fs_ops ops;

static void count(void)
{
	/* Nothing of the process's own runs at a crash, nor a sanitizer's look at what it left. */
	if (until_crash > 0 && --until_crash == 0)
		syscall(SYS_exit_group, CRASH_EXIT);
}

static ssize_t crash_write(int fd, const void *p, size_t n)
{
	count();
	return write(fd, p, n);
}

/* A crash in the middle of a large write leaves half of it. */
static ssize_t crash_pwrite(int fd, const void *p, size_t n, off_t off)
{
	if (until_crash == 1 && n > 1)
		(void)!pwrite(fd, p, n / 2, off);
	count();
	return pwrite(fd, p, n, off);
}

static int crash_fsync(int fd)
{
	(void)fd;
	count();
	return 0;
}

static int crash_renameat(int od, const char *o, int nd, const char *n)
{
	count();
	return renameat(od, o, nd, n);
}

static int crash_renameat2(int od, const char *o, int nd, const char *n, unsigned flags)
{
	count();
	return renameat2(od, o, nd, n, flags);
}

static int crash_linkat(int od, const char *o, int nd, const char *n, int flags)
{
	count();
	return linkat(od, o, nd, n, flags);
}

static int crash_unlinkat(int dir, const char *path, int flags)
{
	count();
	return unlinkat(dir, path, flags);
}

static int crash_mkdirat(int dir, const char *path, mode_t mode)
{
	count();
	return mkdirat(dir, path, mode);
}

void crash_arm(long n)
{
	ops = fs_system_ops;
	ops.write = crash_write;
	ops.pwrite = crash_pwrite;
	ops.fsync = ops.fdatasync = crash_fsync;
	ops.renameat = crash_renameat;
	ops.renameat2 = crash_renameat2;
	ops.linkat = crash_linkat;
	ops.unlinkat = crash_unlinkat;
	ops.mkdirat = crash_mkdirat;
	until_crash = n;
	fs_set_ops(&ops);
}

void crash_openat(int (*call)(int dirfd, const char *path, int flags, mode_t mode))
{
	ops.openat = call;
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
	int status;
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}
