/*
 * Puts a finished LTX file of level 1 to 9 into the replica. (An L0 has a way of its own, upload.c:
 * what refuses it is another node. What refuses these may be our own earlier attempt, or another
 * program's compaction.)
 */
#ifndef REPLICATE_PUTLTX_H
#define REPLICATE_PUTLTX_H

#include "base/err.h"
#include "replicate/freeze.h"
#include "store/store.h"

#include <stdbool.h>

struct put_ltx_how {
	bool weak;             /* F11: look before */
	bool unconditional;    /* the store can't do conditions; set when that shows: looked at before
							  instead, and not asked again */
	const char *state_dir; /* where an upload that was broken off is recorded (resume.h), because
							  the file stays at <state_dir>/ltx/<level>/; NULL = it begins anew */
};

/*
 * Puts the file at `path` as what its header says (F2). *out describes it. ERR_OK also when the
 * replica has it with these bytes already (F3); ERR_CONDITION, with the whole story, when something
 * else stands there: nothing was overwritten. ERR_NOT_FOUND, ERR_DAMAGED: there is no such file, or
 * it is none. The store's errors otherwise.
 */
int put_ltx(struct store *s, int level, const char *path, struct put_ltx_how *how,
	struct frozen *out, struct err *e);

/* Can a file of this size take more than one request? */
bool put_ltx_in_parts(uint64_t size);

#endif
