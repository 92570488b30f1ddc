/*
 * A process that ends at the Nth change that it makes to any file: for tests of what the next one
 * finds. The process dies, not the machine: what was written stays, fsynced or not.
 */
#ifndef TESTS_LIB_CRASH_H
#define TESTS_LIB_CRASH_H

#include "lib/ship.h"

#include <stddef.h>
#include <sys/types.h>

#define CRASH_EXIT 77

/* From now on; n <= 0: never. In the child that is to crash. */
void crash_arm(long n);

/*
 * The same at a named point: before the nth change of this kind to a file whose path fits `pattern`
 * (fnmatch; of a rename or link the new name). `call` is "create", "write", "fsync", "truncate",
 * "rename", "link", "unlink" or "mkdir".
 */
void crash_arm_at(const char *call, const char *pattern, int nth);

/* Here. */
void crash_now(void);

/* In the process that forks, before it does: what the child that crashed was about to do, as "call
 * path"; "" if none did since it was forgotten. Both are the same memory for all children. */
void crash_watch(void);
const char *crash_where(void);
void crash_forget(void);

/* After that: files are opened by this. */
void crash_openat(int (*openat)(int dirfd, const char *path, int flags, mode_t mode));

/* One life of a replicator, in a child: it is opened, lives, and is closed if that returned 0. The
 * child crashes at its change number crash_at (<= 0: never). Its exit code: 0, 1 with the reason on
 * stderr, CRASH_EXIT; -1 if it ended in another way. */
int crash_life(const struct replicator_config *cfg, long crash_at,
	int (*live)(struct ship *s, void *ctx), void *ctx);

/* Waits for a child of the caller's own: the same exit codes. */
int crash_code(pid_t pid);

#endif
