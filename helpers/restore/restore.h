/*
 * Brings a database back from a replica: plan → fetch → apply → verify → put in place. Replicas of
 * Litestream 0.5 (LTX files, ours too) and of 0.3 (snapshots and WAL segments, format/v3.h).
 */
#ifndef RESTORE_RESTORE_H
#define RESTORE_RESTORE_H

#include "base/err.h"
#include "conf/inplace.h"
#include "format/ltxset.h"
#include "format/v3.h"
#include "restore/integrity.h"
#include "source/pagesums.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- plan: a pure function of a listing and the target ---- */

struct restore_target {
	uint64_t txid;        /* 0 = not given */
	int64_t timestamp_ms; /* 0 = not given */

	/* Of what Litestream 0.3 wrote, where either is given: */
	uint64_t generation; /* 0 = not given */
	bool by_index;
	uint32_t index; /* up to the end of this WAL */

	bool only_ltx; /* of what Litestream 0.3 wrote nothing is wanted */
};

/* ERR_USAGE for targets that exclude each other, and for a time after now_ms. */
int restore_target_check(const struct restore_target *t, int64_t now_ms, struct err *e);

struct restore_plan {
	struct ltx_file *files; /* in the order in which they apply */
	size_t count;
	uint64_t txid; /* of the result */

	/* Instead: files of Litestream 0.3, a snapshot, then segments of one generation in order. */
	struct v3_file *v3;
	size_t n_v3;
};

/* "`after` was not written on top of `before`": found out from their checksums (F8). */
struct restore_ban {
	struct ltx_file before, after;
};

/* Tells the timestamps of n files (1 to RESTORE_STAMPS) in ms, from their headers, all at once: a
 * round trip for all of them. May fail. */
#define RESTORE_STAMPS 16
typedef int (*restore_stamps_fn)(
	void *ctx, const struct ltx_file *const *files, size_t n, int64_t *ms, struct err *e);

struct restore_plan_input {
	const struct ltx_set *set; /* sorted */
	struct restore_target target;
	int64_t now_ms;
	restore_stamps_fn stamps; /* called O(log n) times, and only for a timestamp target */
	void *stamps_ctx;
	const struct restore_ban *bans; /* pairs that must not follow each other; n_bans may be 0 */
	size_t n_bans;
};

/*
 * Chooses the files: a full one, then such that each begins at most one TXID behind the end of the
 * one before, as few as possible. Nothing is left out silently: the latest state is the highest
 * TXID of any file, and what leads there must be whole.
 *
 * A timestamp means the last transaction at or before it that can still be had; one after the last
 * file is the latest state, one after now_ms ERR_USAGE. Timestamps ascend with TXIDs (F9).
 *
 * ERR_NO_BACKUP   no file at all; nothing as old as the timestamp (names the earliest); a TXID that
 *                 isn't there, or can't be rebuilt any more because retention has merged its
 *                 predecessors into larger files (names the nearest that can)
 * ERR_DAMAGED     a gap, both sides named; no plan without a banned pair, both files named
 * ERR_NOMEM, or what `stamps` returned
 */
int restore_plan_make(
	const struct restore_plan_input *in, struct restore_plan *plan, struct err *e);
void restore_plan_free(struct restore_plan *p); /* may be called twice */

/* "L0 0000000000000001-0000000000000005.ltx", as messages name a file. */
#define RESTORE_LABEL_SIZE 48
const char *restore_label(const struct ltx_file *f, char out[RESTORE_LABEL_SIZE]);

/* ---- the whole of it ---- */

#define RESTORE_SPARE (UINT64_C(64) << 20) /* a test leaves at least that to everybody else */

struct restore_result;

struct restore_folder {
	dev_t dev;
	ino_t ino;
};

struct restore_options {
	struct restore_target target;
	const char *output; /* path of the database file */
	/* Which folder that is in, as somebody has judged it: another one is ERR_DATABASE. NULL: the
	 * one that is found there, links followed. */
	const struct restore_folder *folder;
	const char *state_dir; /* NULL = state_default_dir(output); "" = leave none behind */
	bool in_place;         /* what is at `output` is renamed aside, with its -wal, -shm, -journal */
	bool only_missing;     /* in_place, and only of nothing or of an empty file: else ERR_EXISTS */
	bool leftovers; /* a -wal, -shm or -journal whose database is gone is renamed aside as in_place
					 */
	mode_t mode;    /* of a file that replaces none, with 0600; 0 = as the folder has it */
	/* Asked before anything is renamed: ERR_DATABASE with who has `output` open. For a caller who
	 * sees more processes than we do; NULL = we look ourselves. */
	int (*in_use)(void *ctx, struct err *e);
	void *in_use_ctx;
	int parallelism; /* requests under way at once; 0 = 48, 4 for a folder */
	bool dry_run;
	/* Called from one thread with what has been done of what is planned; may be NULL. */
	void (*progress)(void *ctx, uint64_t bytes_done, uint64_t bytes_total);
	void *progress_ctx;
	/*
	 * A test: the restored file, whole and checked, is handed over instead of being put in place,
	 * and gone after the call. Beside it RESTORE_SPARE bytes stay free: ERR_FULL otherwise, before
	 * anything is written. The code that this returns becomes the restore's. NULL: no test.
	 */
	int (*examine)(
		void *ctx, int fd, uint64_t checksum, const struct restore_result *result, struct err *e);
	void *examine_ctx;
	enum integrity_mode integrity; /* SQLite's own look at the file before it is in place */
	/* Given the file, whole and checked, with all its pages' checksum, before it is fsynced and put
	 * in place; may change it. Not ERR_OK: it isn't. May be NULL. */
	int (*ready)(
		void *ctx, int fd, uint64_t checksum, const struct restore_result *result, struct err *e);
	void *ready_ctx;
	/* A comparison: the checksums of all pages are handed over, and of LTX files no page but the
	 * first is written anywhere. The code that this returns becomes the restore's. NULL: none. */
	int (*sums)(void *ctx, const struct pagesums *sums, struct err *e);
	void *sums_ctx;
	const int *cancelled; /* set to 1 by anyone to stop before the file is in place; may be NULL */
};

enum restore_proof {
	RESTORE_PROVEN,     /* the database checksum is the one the replicator recorded */
	RESTORE_NOT_PROVEN, /* no checksum was recorded for this state (Litestream's files) */
};

struct restore_result {
	uint64_t txid;        /* 0: Litestream 0.3 had none */
	int64_t timestamp_ms; /* of the last file */
	uint64_t bytes;       /* of the database */
	uint32_t n_page, page_size;
	size_t files; /* that were read */
	enum restore_proof proof;
	char before[INPLACE_STAMP_SIZE]; /* what was there is <output>.before-<this>; "" = nothing */
	int64_t legacy_ms;  /* when Litestream 0.3 wrote there last, by the store's clock; 0 = never */
	bool empty_replica; /* the ERR_NO_BACKUP is because there is nothing at all */
	struct restore_plan plan; /* for dry_run and reports; free with restore_plan_free */
};

/*
 * Restores into options->output. ERR_EXISTS with "cannot restore, output path already exists: PATH"
 * when it, or a -wal, -shm or -journal beside it, exists. The file appears whole, verified and
 * fsynced, with owner and mode of the folder (mode & 0666), or not at all; a state folder that was
 * made for it neither. in_place: what is there is replaced (conf/inplace.h), and owner and mode are
 * its; ERR_DATABASE names a process that has it open. ERR_DAMAGED names the file at fault;
 * ERR_AGAIN: a replicator has the state folder. dry_run plans, reads the last file's header, and
 * changes nothing. restore_plan_free
 * (&result->plan) in every case. Memory: about 64 MB at most whatever the sizes.
 */
int restore_run(struct store *s, const struct restore_options *options,
	struct restore_result *result, struct err *e);

/*
 * The checksum of each page of the replica's latest state, whoever wrote it: LTX files or, where
 * that is newer, what Litestream 0.3 left. *sums is initialised here, and the caller's to free when
 * it is ERR_OK; its txid is 0 for what has none. `scratch`, an absolute path, is a folder for a
 * file without a name: the whole database of 0.3's, next to nothing of the others. Memory as
 * restore_run's, and the table's; its errors.
 */
int restore_sums(struct store *s, const char *scratch, struct pagesums *sums,
	struct restore_result *result, struct err *e);

/* A file a second for more than a year, of which none was ever deleted (retention may be off). Who
 * lists more is no replica, and memory has an end: this is 1.3 GB, of which retention leaves some
 * kilobytes. */
#define RESTORE_FILES_MAX ((size_t)1 << 25)

/* Lists all levels of a replica into *set (initialised by the caller), sorted. ERR_DAMAGED for more
 * than RESTORE_FILES_MAX, and for a listing that doesn't end. */
int restore_list(struct store *s, struct ltx_set *set, struct err *e);

#endif
