/*
 * litestream.yml: what it says, with everything resolved. docs/CONFIG.md has all keys.
 *
 * Every key of the file has its effect, or is told in `notes` because it has none here, or is an
 * error that names file, line and, for a key that nobody knows, the nearest known one. Litestream
 * itself ignores what it doesn't know.
 */
#ifndef CONF_CONFIG_H
#define CONF_CONFIG_H

#include "base/err.h"
#include "conf/options.h"
#include "conf/tree.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_DEFAULT_PATH "/etc/litestream.yml"
#define CONFIG_SOCKET_DEFAULT "/var/run/litestream.sock"
#define CONFIG_SOCKET_MODE 0600

/* What may stand in a replica, and above it as the default for all below. */
struct config_settings {
	struct options options;
	const char *access_key_id, *secret_access_key, *session_token;
	const char *region, *endpoint, *bucket;
	const char *storage_class, *server_side_encryption, *sse_kms_key_id;
	const char *sse_algorithm, *sse_key, *sse_key_path;
	int force_path_style, sign_payload, require_content_md5, skip_verify; /* 0 = not said, 1, -1 */
	uint64_t part_size;                                                   /* 0 = not said */
	int64_t concurrency;                                                  /* 0 = not said */
};

struct config_replica {
	unsigned line;
	const char *name; /* what -replica takes: its own, else its type, told apart by a number */
	const char *type; /* "file" or "s3" … */
	const char *path; /* as the file has it; NULL, too */
	const char *url;  /* as the file has it; NULL, too */
	const char
		*target; /* a URL or an absolute path; of a folder of databases: what is before theirs */
	struct config_settings settings;
};

struct config_database {
	unsigned line;
	const char *path;          /* absolute; NULL: */
	const char *dir, *pattern; /* a folder of databases, absolute */
	bool recursive, watch;
	const char *meta_path; /* state folder, absolute; NULL = beside the database */
	const char *meta_dir;  /* of a folder of databases; NULL, too */
	bool restore_if_missing;
	struct config_settings settings;
	struct config_replica *replicas;
	size_t n_replicas;
};

/* Something to tell: a key without effect, a value that was changed, a variable that isn't set. */
struct config_note {
	unsigned line;
	size_t more; /* other lines of which the same is true */
	bool warn;   /* to be minded, not only known */
	const char *text;
};

struct config {
	const char *file; /* as it was named; NULL: it is the command line's */
	struct config_settings settings;
	struct config_database *databases;
	size_t n_databases;
	const char *exec;              /* the command to run beside; NULL or "" = none */
	const char *heartbeat_url;     /* NULL = none */
	int64_t heartbeat_interval_ms; /* at least a minute, default 5 */
	int64_t shutdown_timeout_ms;   /* default 30 s */
	const char *addr;              /* where metrics are served; NULL or "" = nowhere */
	bool socket_enabled;
	const char *socket_path;
	unsigned socket_mode;  /* of its file; 0600 if not said */
	const char *log_level; /* a level's name; NULL = not said */
	bool log_json;
	bool holds_secrets; /* written in the file itself, not taken from a variable */
	struct config_note *notes;
	size_t n_notes;
	struct tree_memory *memory;
};

/*
 * Reads a text; `file` is for messages, copied. `expand`: variables are replaced (conf/expand.h),
 * $PID by our process's id. Relative paths are taken from the working folder, "~/" is $HOME.
 * ERR_USAGE, ERR_NOMEM. Nothing of a secret is in an error or a note. config_free in every case.
 */
int config_read(
	struct config *c, const char *file, const char *text, size_t n, bool expand, struct err *e);
void config_free(struct config *c);

/* The defaults, and no database. */
void config_init(struct config *c);

/*
 * What stands on a command line: "DB URL URL …", a database and its replicas, once or more often. A
 * word with "://" in it is a URL, any other one a database; but where every second word is none,
 * they are pairs, "DB URL DB URL", and what is second in one may be a folder. ERR_USAGE, ERR_NOMEM.
 * config_free in every case.
 */
int config_from_words(struct config *c, char *const *words, size_t n, struct err *e);

/* The replica of a name; of NULL the first one. ERR_USAGE names those that there are. */
int config_find_replica(const struct config *c, const struct config_database *db, const char *name,
	const struct config_replica **out, struct err *e);

/* The target of the database at `relative` below a folder of databases. A new string (free), NULL
 * when out of memory. */
char *config_target_below(const char *target, const char *relative);

/* Makes a path absolute and takes "//" and "/./" out of it. A new string (free); NULL. */
char *config_absolute(const char *path);

/* ---- the one table of keys ---- */

enum config_level { CONFIG_TOP = 1, CONFIG_DATABASE = 2, CONFIG_REPLICA = 4 };

enum config_effect {
	CONFIG_WORKS,
	CONFIG_NO_EFFECT, /* told, with the reason in `text` */
	CONFIG_REFUSED,   /* an error, with the reason in `text` */
};

#define CONFIG_PASSES 3

struct config_key;
struct config_reading;
typedef int config_take(
	struct config_reading *r, const struct config_key *k, const struct tree_node *v);

struct config_key {
	const char *name; /* "snapshot.interval" is interval in the map snapshot */
	int levels;       /* where it may stand */
	enum config_effect effect;
	config_take *take; /* NULL without effect */
	size_t offset;     /* of the member that it sets, for those that set just one */
	const char *text;  /* why it has no effect, or is refused */
	bool secret;
	unsigned pass; /* 0 first, in which order a map's keys are read: the last ones are inner maps */
};

extern const struct config_key config_keys[]; /* ends with name NULL */

#endif
