/* What the parts of a job share: jobrun.c (talking, restore) and one file for each other kind. */
#ifndef DAEMON_JOBRUN_INTERNAL_H
#define DAEMON_JOBRUN_INTERNAL_H

#include "proto/line.h"
#include "proto/message.h"
#include "restore/restore.h"
#include "store/store.h"

#include <stdatomic.h>

struct jobrun {
	struct channel channel;
	struct message_job job;
	struct store *store;
	_Atomic(struct store *) second; /* another one that a job opened for itself, or NULL */
	int wake_fd;            /* ends the listener, a thread that waits for the word to stop … */
	unsigned long listener; /* … while nobody else reads the channel */
	bool listening;
	int64_t progress_us;
	int cancelled; /* set atomically by the listener */
};

/* Each does its kind, with the store open: *out is a new object that the daemon passes on, where
 * ERR_OK is returned. */
int jobrun_check(struct jobrun *r, json_t **out, struct err *e);
int jobrun_look(struct jobrun *r, json_t **out, struct err *e);
int jobrun_discover(struct jobrun *r, json_t **out, struct err *e);
int jobrun_legacy(struct jobrun *r, json_t **out, struct err *e);
int jobrun_verify(struct jobrun *r, json_t **out, struct err *e);
int jobrun_purge(struct jobrun *r, json_t **out, struct err *e);

/* A job's progress in bytes, on its way to the daemon; ctx is the job. */
void jobrun_on_progress(void *ctx, uint64_t done, uint64_t total);

/* What a restore found, or would. */
void jobrun_put_result(json_t *o, const struct restore_result *result, int *rc);

#endif
