/*
 * A command of a program: what it is called, what it takes, what it does. One file per command,
 * one line in the table of commands.c.
 *
 *     litestream <command> [-flag value | -flag=value | --flag …] [arguments]
 *
 * Flags may stand before, between and behind the arguments; "--" ends them. Each may be written
 * with one dash or two. A program ends with the exit codes of docs/EXIT-CODES.md, an error being
 *
 *     Error: <sentence>
 *     Try: <what to type instead>        (where there is something)
 *
 * on stderr.
 */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct args;

enum flag_type {
	FLAG_BOOL,     /* -flag, -flag=true, -flag=false; takes no word of its own */
	FLAG_STRING,   /* any text, "" too */
	FLAG_INT,      /* decimal, may be negative */
	FLAG_DURATION, /* "1.5s", "1h30m", "200ms"; a bare number is seconds */
};

struct flag {
	const char *name; /* without dashes; NULL ends a table */
	enum flag_type type;
	const char *value; /* how help shows its value ("PATH"); NULL for FLAG_BOOL */
	const char *help;  /* one line, with the default where there is one */
};

struct command {
	const char *name;
	const char *arguments; /* as usage shows them: "[flags] URL" */
	const char *summary;   /* one line, begins with a capital, no full stop */
	const char *details;   /* more lines for -help, each ended by a newline; may be NULL */
	const char *examples;  /* lines to type, each ended by a newline; may be NULL */
	const struct flag *flags;
	size_t min_args, max_args; /* how many arguments besides flags */

	/*
	 * Does it. Returns ERR_OK or a code with the story in *e; command_run prints that and turns it
	 * into the exit code. What it prints on stdout is flushed, and checked, by command_run.
	 */
	int (*run)(struct args *args, struct err *e);
	bool hidden; /* not in the list of commands */
};

/*
 * Parses argv[first…] for `c` and runs it. -h and -help print help on stdout and give 0. Returns
 * the exit code. `program` is how usage names the program ("litestream restore", "litestreamd").
 * Of what we inherit SIGCHLD is set back, and closed standard descriptors are opened: first of all,
 * before there is any other descriptor.
 */
int command_run(const struct command *c, const char *program, int argc, char **argv, int first);

/*
 * The main of a program with commands: argv[1] names one of `table` (NULL at its end). No command:
 * usage on stderr, exit 2. Unknown: the nearest one is named, exit 2. "help [command]", -h: exit 0.
 * SIGPIPE and SIGXFSZ are ignored from here on, children inherit it: who starts one sets it back.
 */
int command_main(const struct command *const *table, const char *program, int argc, char **argv);

/* Those of litestream (commands.c), NULL at the end. */
extern const struct command *const litestream_commands[];

/* The limits that a command was started with: for the program that is started instead of us. May be
 * called between fork and exec. */
void command_limits_back(void);

#endif
