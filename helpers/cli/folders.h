/* The folders of databases of litestream.yml: scanned at the start, and watched where it says so.
 */
#ifndef CLI_FOLDERS_H
#define CLI_FOLDERS_H

#include "conf/config.h"
#include "daemon/schedule.h"
#include "source/matching.h"

struct folders;

/* Scans the folder of the configuration's database number `folder` with folders_scan. */
typedef int folders_fn(void *ctx, size_t folder, size_t *undecided, struct err *e);

int folders_new(
	struct folders **out, const struct config *c, folders_fn *fn, void *ctx, struct err *e);
void folders_free(struct folders *f, struct schedule *s); /* NULL is fine, both */

/* As matching_scan, and watches what was looked into. m->folder is set here. */
int folders_scan(struct folders *f, size_t folder, struct matching *m, struct err *e);

/* The first scan. A folder that is to be watched may be missing yet. */
int folders_start(struct folders *f, size_t folder, struct schedule *s, struct err *e);

/* Scans what is due. Returns when something is due next (monotonic us). */
int64_t folders_look(struct folders *f, int64_t now_us);

#endif
