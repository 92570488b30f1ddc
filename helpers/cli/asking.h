/* What the commands that ask a running `litestream replicate` over its control socket share. */
#ifndef CLI_ASKING_H
#define CLI_ASKING_H

#include "cli/args.h"
#include "conf/config.h"

#include <jansson.h>
#include <stdio.h>

/* Flags of each of them; `seconds` is the default of -timeout, as text. */
#define ASKING_FLAGS(seconds)                                                              \
	{"socket", FLAG_STRING, "PATH", "control socket (default " CONFIG_SOCKET_DEFAULT ")"}, \
		{"timeout", FLAG_DURATION, "TIME", "how long to wait (default " seconds "s)"},     \
	{                                                                                      \
		"json", FLAG_BOOL, NULL, "print the answer as JSON"                                \
	}

#define ASKING_LOOK_S "10"
#define ASKING_CHANGE_S "30"

const char *asking_socket(const struct args *a);

/* -timeout in ms. ERR_USAGE: it is 0. */
int asking_timeout(struct args *a, int64_t otherwise_ms, int64_t *ms, struct err *e);

/* GET. *out is the caller's. */
int asking_look(struct args *a, const char *path, json_t **out, struct err *e);

/*
 * POST about the database of the first argument: {path, timeout} and what `more` has, an object
 * that is taken (NULL = nothing; out of memory is noticed by the caller). *took_ms: how long the
 * answer took; may be NULL.
 */
int asking_change(
	struct args *a, const char *path, json_t *more, json_t **out, int64_t *took_ms, struct err *e);

/* As a person typed it, with the folder's real name: the other side has another working folder. A
 * new string (free); NULL with ERR_NOMEM in *e. */
char *asking_path(const char *word, struct err *e);

#endif
