/*
 * Keeps a restored database up to date: a read replica. What comes into the replica is applied to
 * it in place, transaction by transaction, while others read it (follow_file.h says how).
 *
 * Each interval one LIST asks for the L0 files from the present TXID on. What adjoins is applied,
 * at most FOLLOW_FILES of them; when there is more, or a gap, all levels are listed and as few
 * files as lead on are taken (follow_plan.h). The newest L0 is never deleted, by Litestream
 * neither: a listing without the present one or a newer one has more behind it, at most once a
 * minute.
 *
 * A store that can't be reached is asked again for ever, after pauses that double up to
 * FOLLOW_PAUSE_MS. What time doesn't mend (a gap, a file that is damaged or contradicts what was
 * followed, a disk that is full) is tried FOLLOW_TRIES times, and then an error. What is wrong with
 * the database is one at once.
 */
#ifndef RESTORE_FOLLOW_H
#define RESTORE_FOLLOW_H

#include "restore/restore.h"

#define FOLLOW_INTERVAL_MS 1000
#define FOLLOW_PAUSE_MS 30000
#define FOLLOW_TRIES 8
#define FOLLOW_FILES 16

struct follow_options {
	const char *output; /* path of the database */
	int64_t interval_ms;
	int parallelism; /* as for a restore */
	/* Waits so many ms; true: stop. */
	bool (*wait)(void *ctx, int64_t ms);
	void *wait_ctx;
};

/*
 * What a restore needs so that its database can be followed: options->ready_ctx = a struct
 * follow_begin, and target.only_ltx, state_dir "". The file gets the form of follow_file.h.
 */
struct follow_begin {
	const char *output, *replica;
};
int follow_ready(
	void *ctx, int fd, uint64_t checksum, const struct restore_result *result, struct err *e);

/*
 * Follows until `wait` says to stop: ERR_OK. The database is there already, from a restore or from
 * an earlier follow: ERR_EXISTS if it is nobody's follower. ERR_DATABASE: somebody else has written
 * to it or follows it. ERR_DAMAGED, ERR_NO_BACKUP, ERR_IO, ERR_FULL, ERR_NOMEM as above.
 */
int follow_run(struct store *s, const struct follow_options *o, struct err *e);

#endif
