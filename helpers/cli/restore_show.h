/* What litestream restore prints: the result, or with -dry-run the plan; as text or as JSON. */
#ifndef CLI_RESTORE_SHOW_H
#define CLI_RESTORE_SHOW_H

#include "restore/restore.h"

struct restore_shown {
	const struct restore_options *options;
	const struct store *store;
	const struct restore_result *result;
	const char *source; /* as the command line has it, without secrets */
	int64_t duration_us;
	bool json;
};

/* "none", "quick" or "full", as -integrity-check takes them. */
const char *restore_integrity_name(enum integrity_mode mode);

/* Prints to stdout. ERR_NOMEM. */
int restore_show(const struct restore_shown *s, struct err *e);

#endif
