/*
 * The calls of base/fs.h, of which the Nth fails: once or from then on, with an errno that the
 * system gives in such a case. For sweeps: N = 1, 2, … until a run comes through without being
 * struck.
 *
 * Nothing is fsynced (the machine stays up), but what an fsync would mean is watched: Linux reports
 * a failed write-back once and then calls the pages clean, so a second fsync that succeeds proves
 * nothing. Who goes on with such a file or folder, without having written it anew, is found out.
 */
#ifndef TESTS_LIB_FAULTY_H
#define TESTS_LIB_FAULTY_H

#include <stdbool.h>

/* Kinds of calls, a bit each. */
enum {
	FAULTY_OPEN = 1,       /* any openat */
	FAULTY_CREATE = 2,     /* openat that may make a file */
	FAULTY_OPEN_WRITE = 4, /* openat for writing */
	FAULTY_READ = 8,       /* read, pread */
	FAULTY_WRITE = 16,     /* write, pwrite */
	FAULTY_SYNC = 32,      /* fsync, fdatasync */
	FAULTY_NAME = 64,      /* rename, link */
	FAULTY_UNLINK = 128,   /* unlink, rmdir */
	FAULTY_MKDIR = 256,    /* mkdir */
	FAULTY_TRUNCATE = 512, /* ftruncate, fallocate */
	FAULTY_LOOK = 1024,    /* fstatat */
	FAULTY_SPACE = 2048,   /* statvfs */
};

struct faulty_kind {
	const char *name;
	int error;
	unsigned calls; /* which of them */
	bool undo;      /* what was made can be taken away again while it lasts */
};

/* Disk full, quota, read-only, no descriptors (of the process, of the system), a disk that fails,
 * fsync alone. Ends with a name of NULL. */
extern const struct faulty_kind faulty_kinds[];

/* From now on the `at`th call of this kind fails, and those behind it if `for_ever`. at = 0: none.
 * The calls before it are forgotten. */
void faulty_arm(const struct faulty_kind *kind, unsigned at, bool for_ever);

/* From now on each call is interrupted by a signal before it works, and then reads or writes half
 * of what it was asked for. */
void faulty_nag(void);

/* No call fails any more. Was one struck since faulty_arm? */
bool faulty_heal(void);

/* How many calls of the kind there were since faulty_arm. */
unsigned faulty_calls(void);

/* "renameat state.json.tmp-…": the first call that was struck, for messages. */
const char *faulty_struck(void);

/* How many calls were interrupted since faulty_nag. */
unsigned faulty_nagged(void);

/* What was taken for durable although its fsync had failed, "" = nothing: a file or folder that was
 * fsynced again, or a file that was named, without a write in between. Also the folders from `dir`
 * down to `depth` below it (-1: none) whose last fsync failed, and that nobody has made durable
 * since. */
const char *faulty_trusted(const char *dir, int depth);

/* The system's calls again, and nothing remembered. */
void faulty_end(void);

#endif
