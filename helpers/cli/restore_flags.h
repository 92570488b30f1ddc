/* The flags that restore and verify have in common. */
#ifndef CLI_RESTORE_FLAGS_H
#define CLI_RESTORE_FLAGS_H

#include "cli/args.h"
#include "restore/restore.h"

#define RESTORE_FIRST_ANSWER_MS                                      \
	28000 /* less than what one hanging request takes to be given up \
		   */

/* -txid and -timestamp. ERR_USAGE. */
int restore_flags_target(struct args *a, struct restore_target *t, struct err *e);

#endif
