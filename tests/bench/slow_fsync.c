/*
 * slow_fsync.so - a slow disk for the programs that it is preloaded into: every fsync and fdatasync
 * takes SLOW_FSYNC_US microseconds more. A program that is linked statically doesn't notice it.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

static void wait_as_told(void)
{
	const char *text = getenv("SLOW_FSYNC_US");
	long us = text ? atol(text) : 0;
	struct timespec t = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
	while (nanosleep(&t, &t) != 0 && errno == EINTR)
		;
}

static int call(const char *name, int fd)
{
	int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
	wait_as_told();
	if (!real) {
		errno = ENOSYS;
		return -1;
	}
	return real(fd);
}

int fsync(int fd)
{
	return call("fsync", fd);
}

int fdatasync(int fd)
{
	return call("fdatasync", fd);
}
