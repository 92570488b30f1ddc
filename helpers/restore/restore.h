/*
 * Brings a database back from a replica: plan → fetch → apply → verify → put in place.
 */
#ifndef RESTORE_RESTORE_H
#define RESTORE_RESTORE_H

#include "base/err.h"
#include "format/ltxset.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

/* ---- plan: a pure function of a listing and the target ---- */

struct restore_target {
	uint64_t txid;        /* 0 = not given */
	int64_t timestamp_ms; /* 0 = not given; both given is ERR_USAGE */
};

struct restore_plan {
	struct ltx_file *files; /* in the order in which they apply */
	size_t count;
	uint64_t txid; /* of the result */
};

/*
 * Chooses the files. `stamp` tells a file's timestamp (ms; from its header or metadata) and may
 * fail; it is called O(log n) times and only for a timestamp target. Files that are known not to
 * fit (F8) are in `banned`, which may be NULL.
 * ERR_NO_BACKUP for an empty set, or when nothing is as old as the timestamp (the text says what
 * the earliest is); a timestamp in the future of the last file is the latest state only when it is
 * not after `now_ms`, else ERR_USAGE; a TXID that isn't there is ERR_NO_BACKUP naming what is;
 * ERR_DAMAGED naming both sides of a gap.
 */
int restore_plan_make(const struct ltx_set *set, const struct restore_target *target,
	int64_t now_ms, int (*stamp)(void *ctx, const struct ltx_file *f, int64_t *ms, struct err *e),
	void *ctx, const struct ltx_set *banned, struct restore_plan *plan, struct err *e);
void restore_plan_free(struct restore_plan *p);

/* ---- the whole of it ---- */

struct restore_options {
	struct restore_target target;
	const char *output;    /* path of the database file */
	const char *state_dir; /* NULL = state_default_dir(output); "" = leave none behind */
	int parallelism;       /* 0 = 8 */
	bool dry_run;
	/* Called from one thread with what has been done of what is planned; may be NULL. */
	void (*progress)(void *ctx, uint64_t bytes_done, uint64_t bytes_total);
	void *progress_ctx;
};

enum restore_proof {
	RESTORE_PROVEN,     /* the database checksum is the one the replicator recorded */
	RESTORE_NOT_PROVEN, /* no checksum was recorded for this state (Litestream's files) */
};

struct restore_result {
	uint64_t txid;
	int64_t timestamp_ms; /* of the last file */
	uint64_t bytes;       /* of the database */
	uint32_t n_page, page_size;
	size_t files; /* that were read */
	enum restore_proof proof;
	struct restore_plan plan; /* for dry_run and reports; free with restore_plan_free */
};

/*
 * Restores into options->output. ERR_EXISTS with "cannot restore, output path already exists: PATH"
 * when it, or a -wal, -shm or -journal beside it, exists. The file appears whole, verified and
 * fsynced, with owner and mode of the folder (mode & 0666), or not at all.
 */
int restore_run(struct store *s, const struct restore_options *options,
	struct restore_result *result, struct err *e);

/* Lists all levels of a replica into *set (initialised by the caller), sorted. */
int restore_list(struct store *s, struct ltx_set *set, struct err *e);

#endif
