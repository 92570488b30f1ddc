/* What the parts of state share: state.c (the folder, its lock, whose it is), state_json.c (the
 * file), state_restored.c (what a restore is about to leave). */
#ifndef CONF_STATE_INTERNAL_H
#define CONF_STATE_INTERNAL_H

#include "base/buf.h"
#include "base/folder.h"
#include "conf/state.h"

#define STATE_FILE "state.json"

struct state_dir {
	struct folder folder; /* at rest it has a path only */
	int lock_fd;
};

/* ERR_DAMAGED naming `file`, ERR_NOMEM. *s is zeroed by the caller. */
int state_json_decode(const char *file, const struct buf *b, struct state *s, struct err *e);
/* Appends to *out: whole, or an error (ERR_NOMEM). */
int state_json_encode(const struct state *s, struct buf *out);

/* A state file of this name. As state_peek; as state_save. */
int state_load_file(const struct folder *f, const char *name, struct state *s, struct err *e);
int state_save_file(struct state_dir *d, const char *name, struct state *s, struct err *e);

#endif
