/* What the parts of reading litestream.yml share: config.c (resolving), config_walk.c (maps and
 * keys), config_take.c (values), config_idle.c (what has nothing to work on), config_keys.c (the
 * table). */
#ifndef CONF_CONFIG_INTERNAL_H
#define CONF_CONFIG_INTERNAL_H

#include "conf/config.h"

/* Where the reader stands. */
struct config_reading {
	struct config *c;
	struct err *e;
	enum config_level level;
	struct config_database *db;       /* in one, or NULL */
	struct config_replica *replica;   /* in one, or NULL */
	struct config_settings *settings; /* of this level */
	const char *key;                  /* as it is written, with what it is in */
	unsigned line;                    /* of the key */
};

/* "<file>:<line>: <key>: …" with ERR_USAGE. */
int config_bad(struct config_reading *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
int config_nomem(struct config_reading *r);
int config_note(struct config_reading *r, bool warn, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Reads a map of the present level; what is in it is called `inside` ("snapshot.", or ""). */
int config_walk(struct config_reading *r, const struct tree_node *map, const char *inside);

/* Checks databases and replicas once all is read, and fills in what follows from it. */
int config_resolve(struct config_reading *r);
int config_resolve_replica(struct config_reading *r, struct config_replica *replica);

/* The key of a name that may stand in one of these levels, or NULL. */
const struct config_key *config_find_key(const char *name, int levels);

/* Two names of one thing in one map are an error. */
int config_refuse_twins(struct config_reading *r, const struct tree_node *map);

/* Tells of keys that work, but not with what this file has else. For when all is resolved. */
int config_tell_idle(struct config_reading *r, const struct tree_node *root);

/* Values. Each is for members of the type that its name says. */
config_take take_text;     /* const char *, in the settings */
config_take take_top_text; /* const char *, in struct config */
config_take take_db_text;  /* const char *, in struct config_database */
config_take take_db_flag;  /* bool, there */
config_take take_rep_text; /* const char *, in struct config_replica */
config_take take_choice;   /* int: 1 or -1, in the settings */
config_take take_part_size;
config_take take_concurrency;
config_take take_option; /* the option of the key's name (conf/options.h) */
config_take take_sync_interval;
config_take take_frames;
config_take take_l0_retention;
config_take take_retention;      /* 0.5's map, 0.3's duration, our own flag */
config_take take_retention_flag; /* retention.enabled */
config_take take_keep;           /* snapshot.retention */
config_take take_snapshot_interval;
config_take take_map; /* a map of keys with this one's name before theirs */
config_take take_levels;
config_take take_heartbeat_url;
config_take take_heartbeat_interval;
config_take take_shutdown_timeout;
config_take take_addr;
config_take take_socket_enabled;
config_take take_socket_mode;
config_take take_log_level;
config_take take_log_type;
config_take take_log_stderr;
config_take take_databases;
config_take take_replicas;
config_take take_replica;

#endif
