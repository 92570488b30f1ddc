/*
 * What is kept of an upload in parts, so that it goes on after a failure or a crash: a record for
 * each file that is on its way.
 *
 *   <state folder>/uploads/<level>-<name of the file>      {version, replica, size, tail, token}
 *
 * `tail` are the last bytes of the file (its checksum) in hex: with the size they say that it still
 * is the file of which parts are in the store. Replaced whole and durably, at most a few kilobytes
 * for a gigabyte. The file itself is at <state folder>/ltx/<level>/<name>; a record whose file is
 * gone tells of parts that nobody will ask for any more.
 */
#ifndef REPLICATE_RESUME_H
#define REPLICATE_RESUME_H

#include "base/err.h"
#include "replicate/freeze.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

struct resume {
	struct store_resume put; /* for store_put_opts */
	const char *replica;     /* borrowed */
	const struct frozen *file;
	char *folder, *path, *token;
};

/* For the put of `file` as a file of `level` into `s`. What is recorded of another replica, or of
 * other bytes, and what can't be read is as good as nothing. ERR_NOMEM, and nothing is to be
 * freed. `file` must live until resume_free. */
int resume_init(struct resume *r, const char *state_dir, struct store *s, int level,
	const struct frozen *file, struct err *e);
void resume_free(struct resume *r);

enum resume_kind {
	RESUME_NONE,   /* nothing is recorded of it */
	RESUME_WAITS,  /* its file is here: the upload goes on */
	RESUME_ORPHAN, /* its file is gone */
};

/* What is recorded of the upload of this file. */
enum resume_kind resume_look(
	const char *state_dir, int level, uint64_t min_txid, uint64_t max_txid);

/* Is there any record? */
bool resume_any(const char *state_dir);

/* Deletes records whose file is gone. What can't be deleted stays. */
void resume_drop_orphans(const char *state_dir);

#endif
