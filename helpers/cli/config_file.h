/* litestream.yml for commands: where it is, what it needs from disk, what of it is told. */
#ifndef CLI_CONFIG_FILE_H
#define CLI_CONFIG_FILE_H

#include "cli/args.h"
#include "conf/config.h"
#include "store/store.h"

/* Flags of every command that reads it. */
#define CONFIG_FLAGS                                                                      \
	{"config", FLAG_STRING, "PATH",                                                       \
		"configuration file (default $LITESTREAM_CONFIG, or " CONFIG_DEFAULT_PATH ")"},   \
	{                                                                                     \
		"no-expand-env", FLAG_BOOL, NULL, "leave $VAR in the configuration file as it is" \
	}

/*
 * Reads the file of -config, $LITESTREAM_CONFIG or the default place. *there = false and ERR_OK:
 * there is none and nobody named one. ERR_USAGE for what is wrong in it and for a named one that is
 * missing, ERR_DENIED, ERR_IO, ERR_NOMEM. config_free in every case.
 */
int config_file_load(struct args *a, struct config *c, bool *there, struct err *e);

/* As config_file_load, but a missing one is an error, too. */
int config_file_need(struct args *a, struct config *c, struct err *e);

/* Says in the log what has no effect, and whether everybody can read its secrets. */
void config_file_tell(const struct config *c);

/* The log as the file (NULL: there is none), $LOG_LEVEL and -log-level want it, each coming before
 * the one named before it. ERR_USAGE. */
int config_file_log(struct args *a, const struct config *c, struct err *e);

/* What a store needs from a replica's settings; strings are borrowed from it and from `key`, which
 * gets the key of sse-customer-key-path (64 bytes). */
#define CONFIG_KEY_SIZE 64
int config_store_options(const struct config *c, const struct config_replica *replica,
	struct store_options *out, char key[CONFIG_KEY_SIZE], struct err *e);

#endif
