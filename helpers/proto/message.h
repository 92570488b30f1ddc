/*
 * The messages between the daemon and its children: workers (one per app and owner) and jobs
 * (enum job_kind). Each is one JSON object with "type"; the format is in docs/CONTROL.md.
 *
 * Every decoder takes a parsed object, frees nothing of it, fills a struct that its _free empties
 * (in every case, failure too), and returns ERR_OK, ERR_USAGE with what is wrong, or ERR_NOMEM.
 * Every encoder returns a new object, or NULL when out of memory.
 */
#ifndef PROTO_MESSAGE_H
#define PROTO_MESSAGE_H

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROTO_VERSION 1
#define PROTO_DATABASES_MAX 1000

enum message_type {
	MESSAGE_HELLO,    /* child → daemon, first: protected against being looked into, ready */
	MESSAGE_CONFIG,   /* daemon → worker, once */
	MESSAGE_SYNC,     /* daemon → worker */
	MESSAGE_DECIDE,   /* daemon → worker */
	MESSAGE_STOP,     /* daemon → worker */
	MESSAGE_STATUS,   /* worker → daemon, when something changed */
	MESSAGE_ALIVE,    /* worker → daemon, when there was nothing else to say for some time */
	MESSAGE_SYNCED,   /* worker → daemon */
	MESSAGE_DECIDED,  /* worker → daemon */
	MESSAGE_BYE,      /* worker → daemon, last */
	MESSAGE_JOB,      /* daemon → job, once */
	MESSAGE_PROGRESS, /* job → daemon */
	MESSAGE_HOLDERS,  /* job → daemon: who has its database open? */
	MESSAGE_HELD,     /* daemon → job, the answer: code 0 = nobody */
	MESSAGE_RESULT,   /* job → daemon, last */
};

/* Which one it is: ERR_USAGE for another, or none. */
int message_type(const json_t *message, enum message_type *type, struct err *e);

/* A message of nothing but its type: MESSAGE_STOP, MESSAGE_HOLDERS. */
json_t *message_plain(enum message_type type);

/* ---- hello ---- */

struct message_hello {
	uint64_t protocol;
	char *version;
};
json_t *message_hello_encode(const char *version);
int message_hello_decode(struct message_hello *m, const json_t *message, struct err *e);
void message_hello_free(struct message_hello *m);

/* ---- credentials, as the secrets file has them; NULL = not given ---- */

struct message_credentials {
	char *access_key_id, *secret_access_key, *session_token, *region, *endpoint;
	char *sse_customer_key;
	bool use_iam; /* those of the machine's IAM role, which the child asks for */
};

/* ---- config ---- */

struct message_database {
	char *id, *path, *replica, *state_dir;
	char *storage_name;   /* the last part of the storage folder; NULL = not said */
	char *container_path; /* NULL = none */
	int64_t sync_interval_ms;
	uint64_t staging_max, copies_max, checkpoint_frames, barrier_bytes;
	int64_t l0_retention_ms, l1_retention_ms, l2_retention_ms, l3_retention_ms;
	int64_t snapshot_interval_ms, snapshot_renew_ms;
	bool no_barrier, any_filesystem, no_retention;
};

struct message_config {
	char *app;
	int64_t shutdown_timeout_ms;
	struct message_credentials credentials;
	struct message_database *databases;
	size_t n_databases;
};
json_t *message_config_encode(const struct message_config *m);
int message_config_decode(struct message_config *m, const json_t *message, struct err *e);
void message_config_free(struct message_config *m); /* credentials are wiped */

/* ---- sync ---- */

struct message_sync {
	uint64_t id;
	int64_t timeout_ms;
	char *database; /* path or id of one; NULL = all of them */
	bool if_there;  /* one that the app has not made yet holds up nobody, as with all of them */
};
json_t *message_sync_encode(const struct message_sync *m);
int message_sync_decode(struct message_sync *m, const json_t *message, struct err *e);
void message_sync_free(struct message_sync *m);

/* ---- decide, decided: a person's word for a database that is replaced or fenced ---- */

struct message_decide {
	uint64_t id;
	char *database; /* path or id */
	bool takeover;  /* of a fenced one (F7); else: accept what took the database's place */
	char *seen;     /* only if that file stands there (daemon/seen.h); NULL: whatever does */
};
json_t *message_decide_encode(const struct message_decide *m);
int message_decide_decode(struct message_decide *m, const json_t *message, struct err *e);
void message_decide_free(struct message_decide *m);

/* ---- the answers to both: `type` is MESSAGE_SYNCED or MESSAGE_DECIDED ---- */

struct message_answer {
	uint64_t id, code; /* an err_code up to 9 */
	char *text; /* why not; of a sync with code 0 which databases are not there yet; or NULL */
};
json_t *message_answer_encode(enum message_type type, const struct message_answer *m);
int message_answer_decode(
	enum message_type type, struct message_answer *m, const json_t *message, struct err *e);
void message_answer_free(struct message_answer *m);

/* ---- alive: it is heard of again within next_ms ---- */

#define ALIVE_NEXT_MAX_MS 600000

struct message_alive {
	uint64_t next_ms;
};
json_t *message_alive_encode(const struct message_alive *m);
int message_alive_decode(struct message_alive *m, const json_t *message, struct err *e);

/* ---- status ---- */

struct message_status_database {
	char *id;
	char *state; /* a word: "replicating" */
	uint64_t code;
	char *reason, *last_error;
	uint64_t txid, pending_bytes, pending_transactions;
	int64_t lag_since_ms, last_upload_ms, last_error_ms; /* wall time; 0 = none */
	uint64_t wal_bytes, db_bytes, uploads;
	bool weak_fencing;
	uint64_t earliest_txid, latest_txid; /* of the replica, as in replicator_status */
	int64_t earliest_ms, latest_ms, snapshot_ms, next_snapshot_ms;
	uint64_t replica_files, replica_bytes;
	char *upkeep_error;
	int64_t upkeep_error_ms;
	uint64_t puts, gets, heads, lists, deletes, bytes_out, bytes_in, retries; /* requests */
};

/* Of those that changed; of the others, what was said last stays true. */
struct message_status {
	struct message_status_database *databases;
	size_t n_databases;
};
json_t *message_status_encode(const struct message_status *m);
int message_status_decode(struct message_status *m, const json_t *message, struct err *e);
void message_status_free(struct message_status *m);
/* Puts what `news` says into *m, by id, and what it replaced there into `news`: free that in either
 * case. ERR_USAGE for more than PROTO_DATABASES_MAX of them, ERR_NOMEM. */
int message_status_merge(struct message_status *m, struct message_status *news, struct err *e);

/* ---- bye: paths of databases with something unshipped ---- */

struct message_bye {
	char **unshipped;
	size_t n_unshipped;
};
json_t *message_bye_encode(const struct message_bye *m);
int message_bye_decode(struct message_bye *m, const json_t *message, struct err *e);
void message_bye_free(struct message_bye *m);

/* ---- jobs ---- */

enum job_kind {
	JOB_CHECK,          /* the database and the store, before it is replicated there */
	JOB_RESTORE,        /* of a database into its place */
	JOB_LOOK,           /* what the replica holds; writes nothing */
	JOB_DISCOVER,       /* which replicas are below the URL; writes nothing, has no path */
	JOB_COUNT_LEGACY,   /* what Litestream 0.3 left in the replica, beside our own files */
	JOB_CLEANUP_LEGACY, /* the same, and deletes it */
	JOB_VERIFY,         /* a test restore, of which nothing stays */
	JOB_PURGE,          /* delete the replica that the state folder shows to be ours */
};

struct message_job {
	enum job_kind kind;
	char *path;        /* of the database */
	char *replica;     /* URL */
	char *state_dir;   /* restore: "" or NULL = leave none behind; verify: its place is below it;
						  purge: whose the replica is */
	bool live;         /* verify: `path` is followed, compare with it too */
	bool in_place;     /* restore: what is at path is renamed aside */
	bool only_missing; /* in_place, and only where nothing is or an empty file */
	uint64_t mode;     /* restore: of a new file; 0 = as the folder has it */
	uint64_t txid;     /* restore: 0 = latest */
	int64_t timestamp_ms;
	int64_t folder_dev, folder_ino; /* restore: of the folder that `path` is in, as it was judged */
	char *generation, *index; /* restore, of Litestream 0.3's backups; as texts, may be NULL */
	struct message_credentials credentials;
};
json_t *message_job_encode(const struct message_job *m);
int message_job_decode(struct message_job *m, const json_t *message, struct err *e);
void message_job_free(struct message_job *m);

struct message_progress {
	uint64_t done, total; /* bytes */
};
json_t *message_progress_encode(const struct message_progress *m);
int message_progress_decode(struct message_progress *m, const json_t *message, struct err *e);

/* The end of a job. `result` is an object that the daemon passes on as it is, or NULL. */
struct message_result {
	uint64_t exit;
	char *error; /* NULL when exit is 0 */
	json_t *result;
};
json_t *message_result_encode(const struct message_result *m);
int message_result_decode(struct message_result *m, const json_t *message, struct err *e);
void message_result_free(struct message_result *m);

#endif
