/*
 * The parsed command line of one command.
 *
 * Values are asked for by the flag's name; asking for a name or a type that the command's table
 * doesn't have is a mistake of the program and ends it (abort), so that the first test finds it.
 * Where a flag was given twice the last one counts. Strings are borrowed from argv.
 */
#ifndef CLI_ARGS_H
#define CLI_ARGS_H

#include "cli/command.h"

#include <stdint.h>

struct flag_value {
	bool given;
	const char *text;
	int64_t number; /* int; duration in ms; bool 0 or 1 */
};

struct args {
	const struct command *command;
	struct flag_value *values; /* parallel to command->flags */
	char **argv;               /* arguments that are no flags */
	size_t argc;
	bool help;      /* -h or -help was given: nothing else was checked after it */
	int exit_code;  /* what the program ends with where nothing failed: another program's status */
	char hint[512]; /* what "Try:" shows with an error; "" = nothing */
};

/*
 * Parses argv[first…argc-1]. ERR_USAGE with a sentence (and the nearest flag, for an unknown one),
 * ERR_NOMEM. args_free in every case.
 */
int args_parse(
	struct args *a, const struct command *c, int argc, char **argv, int first, struct err *e);
void args_free(struct args *a);

bool args_given(const struct args *a, const char *name);

/* The value, or `otherwise` where the flag was not given. */
const char *args_string(const struct args *a, const char *name, const char *otherwise);
int64_t args_int(const struct args *a, const char *name, int64_t otherwise);
int64_t args_ms(const struct args *a, const char *name, int64_t otherwise);
bool args_bool(const struct args *a, const char *name);

/* Sets what "Try:" shows, then as err_set with ERR_USAGE. */
int args_usage(struct args *a, struct err *e, const char *hint, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Reads a duration ("1h30m", "1.5s", "250ms", "10" for seconds) into *ms: false when it is not one,
 * is negative or over 100 years. */
bool args_parse_duration(const char *text, int64_t *ms);

#endif
