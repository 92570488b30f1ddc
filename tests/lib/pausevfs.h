/*
 * A SQLite VFS over "unix" that stops, dies or dawdles at a named point inside SQLite, so that
 * stalls which happen once in a million runs are certain in a test.
 */
#ifndef TESTS_LIB_PAUSEVFS_H
#define TESTS_LIB_PAUSEVFS_H

#include <stdbool.h>
#include <stdint.h>

enum pause_point {
	PAUSE_NOWHERE,
	/* In a COMMIT, between the two copies of the wal-index header: the barrier that follows a
	 * write to the WAL. */
	PAUSE_PUBLISH,
	/* In a checkpoint, after it has read the header and before it looks at anything else (xUnfetch
	 * with the CKPT lock held; only when the header is news to this connection). */
	PAUSE_CKPT_HEADER,
	/* In a checkpoint, after nBackfill was stored and before READ_LOCK(0) is released. */
	PAUSE_CKPT_STORED,
	/* In a checkpoint, before its first write to the database file. */
	PAUSE_DB_WRITE,
	/* In a COMMIT with synchronous=FULL, when the WAL is to be synced. */
	PAUSE_WAL_SYNC,
	/* When a writer has published the header of a restarted WAL and is about to write its first
	 * byte. */
	PAUSE_WAL_WRITE,
};

/* Makes it the default VFS of this process; `reached` is called at an armed point, once. */
void pausevfs_install(void (*reached)(enum pause_point at));
void pausevfs_arm(enum pause_point at);

/*
 * `step` is called before each of SQLite's calls that changes a file or a lock, with what it is:
 * "write db", "sync wal", "lock READ1 shared", "unlock CKPT exclusive", "delete wal", … NULL = no
 * more. Names live as long as the program.
 */
void pausevfs_steps(void (*step)(const char *what));

/* Every sync takes this much longer from now on. */
void pausevfs_slow_sync(int64_t us);

/* "publish", "ckpt-header", … ; PAUSE_NOWHERE for anything else. */
enum pause_point pausevfs_point(const char *name);

#endif
