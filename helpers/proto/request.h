/*
 * The bodies of control requests (docs/CONTROL.md), decoded. As with messages: a struct is emptied
 * by its _free in every case; ERR_USAGE names what is wrong. Names are bounded here and judged by
 * whoever makes paths of them.
 */
#ifndef PROTO_REQUEST_H
#define PROTO_REQUEST_H

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define REQUEST_TIMEOUT_DEFAULT 30
#define REQUEST_TIMEOUT_MAX 3600
#define REQUEST_DATABASE_TIMEOUT_MAX 86400

struct request_reload {
	char *app;
};
int request_reload_decode(struct request_reload *r, const json_t *body, struct err *e);
void request_reload_free(struct request_reload *r);

struct request_forget {
	char *id;
};
int request_forget_decode(struct request_forget *r, const json_t *body, struct err *e);
void request_forget_free(struct request_forget *r);

struct request_sync {
	char *app;        /* NULL: the one that `database` belongs to, or all */
	char *database;   /* path or id; NULL = all */
	uint64_t timeout; /* seconds */
};
int request_sync_decode(struct request_sync *r, const json_t *body, struct err *e);
void request_sync_free(struct request_sync *r);

/* Of a stand-alone replicate, as Litestream's clients send them: each is about one database. */
struct request_database {
	char *path;
	char *replica_url; /* register; NULL for the others */
	bool wait;         /* sync */
	uint64_t timeout;  /* seconds; 0 says the default */
};

enum request_verb { REQUEST_START_STOP, REQUEST_SYNC, REQUEST_REGISTER };

int request_database_decode(
	struct request_database *r, enum request_verb verb, const json_t *body, struct err *e);
void request_database_free(struct request_database *r);

struct request_decide {
	char *app, *database; /* path or id */
	bool takeover;        /* "takeover"; false: "accept" */
	char *seen;           /* of the answer to /look: about that file only; NULL: about any */
};
int request_decide_decode(struct request_decide *r, const json_t *body, struct err *e);
void request_decide_free(struct request_decide *r);

/* Of check and of restore. */
struct request_target {
	char *app; /* whose credentials; NULL = the global ones */
	char *storage_dir, *file, *replica;
	bool mount;
	bool own_keys;        /* only with keys of the app's own; the global ones won't do */
	bool force;           /* restore: in place of what is there */
	bool only_missing;    /* restore: in place of nothing, or of an empty file; implies force */
	uint64_t txid;        /* restore; 0 = not given */
	int64_t timestamp_ms; /* restore; 0 = not given */
	char *generation;     /* restore, of Litestream 0.3's backups; NULL = not given */
	char *index;          /* the same; hexadecimal */
	uint64_t mode;        /* restore: of a new file, of 0666; 0 = as the folder has it */
};
int request_check_decode(struct request_target *r, const json_t *body, struct err *e);
int request_restore_decode(struct request_target *r, const json_t *body, struct err *e);
void request_target_free(struct request_target *r);

struct request_discover {
	char *app; /* whose credentials; NULL = the global ones */
	char *url;
};
int request_discover_decode(struct request_discover *r, const json_t *body, struct err *e);
void request_discover_free(struct request_discover *r);

/* "000000000000001f": 1 to 16 hex digits, not 0. */
bool request_parse_txid(const char *text, uint64_t *txid);

#endif
