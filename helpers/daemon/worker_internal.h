/* What the parts of a worker share: worker.c (databases, statuses, beginning and end) and
 * worker_told.c (messages of the daemon, signals). All of it is the waiting thread's. */
#ifndef DAEMON_WORKER_INTERNAL_H
#define DAEMON_WORKER_INTERNAL_H

#include "daemon/schedule.h"
#include "proto/line.h"
#include "proto/message.h"

/* A database that schedule_add refused. */
struct refused {
	bool is;
	int code;
	char reason[512];
};

/* Statuses that go out in one message. */
struct batch {
	struct message_status_database *list; /* texts are borrowed from `of` */
	struct replicator_status *of;
	uint64_t **told;  /* where what was said is noted … */
	uint64_t *digest; /* … this */
	size_t n, cap;
};

/* A person's word on a database: good for one opening of it, and gone with this process. */
enum decision { DECISION_NONE, DECISION_ACCEPT, DECISION_TAKEOVER };

/* One that is being carried out: the database is let go, and then opened with it. */
struct decided {
	enum decision what;
	uint64_t id;       /* of the message that waits for an answer */
	uint64_t dev, ino; /* of the file that it is about */
};

struct worker {
	struct channel channel;
	int signal_fd;
	struct message_config config;
	struct refused *refused; /* by the index of config.databases */
	size_t n_refused;
	uint64_t *told;          /* by the same: digest of the status that was told last, 0 = none */
	size_t *index;           /* the same, of each database of the schedule */
	struct decided *decided; /* by the index of config.databases */
	struct schedule *schedule;
	struct batch batch;
	bool any_told, unsaid; /* unsaid: something could not be sent */
	bool told_hanging;     /* in the log */
	/* When it says that it is alive, may tell a status, tries the refused ones again; when it was
	 * last seen that anything ran. Monotonic us. */
	int64_t alive_us, status_us, retry_us, active_us;
};

/* ---- worker.c ---- */

/* Takes the message; NULL = out of memory. False: it could not be said. */
bool worker_say(struct worker *w, json_t *message);

/* Adds database i of the configuration to the schedule, by a person's word or NULL; failing that it
 * is noted as refused, and tried again from time to time, then without the decision. */
void worker_add(struct worker *w, size_t i, const struct decided *decided);

/* Says what changed since it was told last. */
void worker_tell_changes(struct worker *w, int64_t now);

/* ---- worker_told.c: called when the descriptors of these are readable; ctx is the worker ---- */

void worker_on_channel(void *ctx);
void worker_on_signal(void *ctx);

#endif
