/*
 * A followed database: pages of an LTX file into it, in place, while others read it. Inner part of
 * restore.
 *
 * The database is in a rollback mode (bytes 18 and 19 of page 1 are 1), so that readers need no
 * -wal and no -shm, and it is changed as SQLite itself changes such a one:
 *
 *   SHARED, RESERVED   readers go on; who else would write waits
 *   X-journal          what the pages hold that will change, fsynced (format/journal.h)
 *   .X-follow          where the database is and where it will be, fsynced (follow_state.h)
 *   EXCLUSIVE          no reader is left; pages, page 1 with a new change counter; fsync
 *   X-journal removed  and its folder fsynced: that is the commit
 *   cut                what the database no longer has; its header says so since the commit
 *
 * A crash before the commit leaves a hot journal: whoever opens the database next, a reader or we,
 * rolls back. (A reader that may not write can't, and is told so by SQLite until we are back.) All
 * of a file is read, checked and compared with the database before the first lock is taken.
 */
#ifndef RESTORE_FOLLOW_FILE_H
#define RESTORE_FOLLOW_FILE_H

#include "base/folder.h"
#include "format/ltx.h"
#include "format/ltxset.h"
#include "restore/follow_state.h"

#include <stdbool.h>

/* Pages of one LTX file that differ from the database's. */
struct follow_staged {
	int fd;            /* scratch: their content, one behind the other; -1 = not opened */
	uint32_t *numbers; /* ascending */
	size_t count, cap;
	bool has_page1;            /* page 1 is among them */
	struct follow_point point; /* the database with them; counter not set yet */
	uint64_t sum;              /* running */
	uint64_t next;             /* page behind the last one that the file held, of new ones */
};

struct follow_file {
	const char *path; /* borrowed; for messages */
	struct folder folder;
	const char *name; /* borrowed from path */
	int fd;           /* -1: not open (a change failed halfway) */
	struct follow_state state;
	struct follow_staged staged;
	/* Waits so many ms; true: stop. */
	bool (*wait)(void *ctx, int64_t ms);
	void *wait_ctx;
	int64_t told_us; /* monotonic: when a reader that stays was told of; 0 = never */
};

/*
 * Opens the database at `path` (with its folder's real name) that an earlier follow left, after a
 * change that was interrupted was rolled back. follow_file_close in every case.
 *
 * ERR_EXISTS    it is nobody's follower: there is neither .X-follow nor X-txid. Litestream's X-txid
 *               alone is gone on from, its checksum unknown
 * ERR_DATABASE  somebody else has written to it, or follows it now; no SQLite; a -wal
 * ERR_IO, ERR_NOMEM
 */
int follow_file_open(struct follow_file *f, const char *path, const char *replica, struct err *e);
void follow_file_close(struct follow_file *f);

/* Page 1 of a database as its readers are to see it: no WAL, this change counter, this size. */
void follow_patch(uint8_t *page1, uint32_t counter, uint32_t n_page);

/* A counter other than `old`. */
uint32_t follow_counter(uint32_t old);

/*
 * Reads all of an LTX file and checks it: its own checksum, its header against its name, the
 * database checksums before and after it (where they are recorded) against what the database's
 * pages come to. ERR_DAMAGED. *contradicts: it was not written on top of what is here. Nothing is
 * written to the database.
 */
int follow_stage(struct follow_file *f, const struct ltx_file *file, struct ltx_decoder *dec,
	bool *contradicts, struct err *e);

/* What is staged into the database, which is then at staged.point. Waits for readers. ERR_CANCELLED
 * when `wait` said so, ERR_DATABASE as above, ERR_IO, ERR_FULL: the database is as it was. */
int follow_apply(struct follow_file *f, struct err *e);

/* Inner: takes what a killed change left back, opens the file and finds out where it is. */
int follow_reopen(struct follow_file *f, struct err *e);

/* Inner: is there a journal, of ours or of who else writes? One that is over is empty or begins
 * with a zero (TRUNCATE, PERSIST), as is one of ours that was killed early. */
bool follow_has_journal(const struct follow_file *f);

/* Inner: is the header that of the present point? ERR_DATABASE. */
int follow_check_header(const struct follow_file *f, struct err *e);

#endif
