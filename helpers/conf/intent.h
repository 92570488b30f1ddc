/*
 * What is written down before a database is exchanged for a restored one (conf/inplace.h): one JSON
 * object, inodes as hexadecimal numbers.
 *
 *   {"version":1,"time":"20261121T153000Z","new_file":".app.db.restored-20261121T153000Z",
 *    "new":"1a2b","database":"1a2c","wal":"1a2d","shm":"0","journal":"0"}
 */
#ifndef CONF_INTENT_H
#define CONF_INTENT_H

#include "base/buf.h"
#include "base/err.h"
#include "conf/inplace.h"

#include <stdint.h>

#define INTENT_PARTS 4 /* the database, -wal, -shm, -journal */

struct intent {
	char stamp[INPLACE_STAMP_SIZE];          /* the old set becomes <database>.before-<stamp> */
	char file[256];                          /* the new file's bare name */
	uint64_t new_ino, old_ino[INTENT_PARTS]; /* 0 = there is none */
};

/* Into *out, which is initialised. ERR_NOMEM. */
int intent_encode(const struct intent *i, struct buf *out, struct err *e);

/*
 * ERR_DAMAGED for what is none, and for names that lead out of the folder or belong to another
 * database than `name`: whoever may write in the folder can write an intent. ERR_NOMEM.
 */
int intent_decode(struct intent *i, const struct buf *text, const char *name, struct err *e);

#endif
