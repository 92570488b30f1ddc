#include "cli/command.h"

#include "base/log.h"
#include "base/words.h"
#include "cli/args.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define COMMANDS_MAX 64

static void print_help(const struct command *c, const char *program, FILE *out)
{
	fprintf(out, "%s\n\nUsage:\n\n    %s %s\n", c->summary, program, c->arguments);
	if (c->details)
		fprintf(out, "\n%s", c->details);
	if (c->flags && c->flags[0].name)
		fprintf(out, "\nFlags:\n\n");
	for (size_t i = 0; c->flags && c->flags[i].name; i++) {
		char left[64];
		snprintf(left, sizeof(left), "-%s %s", c->flags[i].name,
			c->flags[i].value ? c->flags[i].value : "");
		fprintf(out, "    %-26s %s\n", left, c->flags[i].help);
	}
	if (c->examples)
		fprintf(out, "\nExamples:\n\n%s", c->examples);
}

/* What a user sees of an error. Registered secrets are taken out, whoever put them in. */
static void print_error(const struct err *e, int code, const char *hint)
{
	char text[ERR_TEXT_MAX];
	snprintf(text, sizeof(text), "%s", e->text[0] ? e->text : err_name(code));
	log_redact(text);
	fprintf(stderr, "Error: %s\n", text);
	if (hint[0])
		fprintf(stderr, "Try: %s\n", hint);
}

/* A full disk behind a redirected stdout must not pass for success. */
static int flush_stdout(struct err *e)
{
	if (fflush(stdout) || ferror(stdout))
		return err_errno(e, ERR_IO, errno, "cannot write to standard output");
	return ERR_OK;
}

static struct rlimit core_before, files_before;

/*
 * Keys are in the environment and in memory, and a core would have them. The kernel writes no file
 * of one byte, and takes that limit also as "none" where cores are handed to a program, of which a
 * limit of 0 is not asked (fs/coredump.c). Where less is allowed already it stays at that. Who
 * starts a program of somebody else gives it back, so the hard limit stays.
 */
static void leave_no_core(void)
{
	getrlimit(RLIMIT_NOFILE, &files_before);
	if (getrlimit(RLIMIT_CORE, &core_before) != 0)
		return;
	struct rlimit core = {1, core_before.rlim_max};
	setrlimit(RLIMIT_CORE, &core);
}

void command_limits_back(void)
{
	setrlimit(RLIMIT_CORE, &core_before);
	setrlimit(RLIMIT_NOFILE, &files_before);
}

/*
 * What whoever started us may have left. A standard descriptor that is closed would be the next
 * file that we open, and what is printed would go into it; now reading it ends, and writing it
 * fails as before. Where SIGCHLD is ignored nobody hears how a child ended, nor that it did.
 */
static void mend_what_is_inherited(void)
{
	signal(SIGCHLD, SIG_DFL);
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) != fd)
			return;
}

int command_run(const struct command *c, const char *program, int argc, char **argv, int first)
{
	struct err e = ERR_INIT;
	struct args a;
	mend_what_is_inherited();
	leave_no_core();
	int rc = args_parse(&a, c, argc, argv, first, &e);
	if (rc == ERR_USAGE)
		snprintf(a.hint, sizeof(a.hint), "%s -help", program);
	else if (!rc && a.help)
		print_help(c, program, stdout);
	else if (!rc)
		rc = c->run(&a, &e);
	if (!rc)
		rc = flush_stdout(&e);
	else
		fflush(stdout);
	if (rc)
		print_error(&e, rc, a.hint);
	int code = rc ? err_exit_code(rc) : a.exit_code;
	args_free(&a);
	return code;
}

static void print_usage(const struct command *const *table, const char *program, FILE *out)
{
	fprintf(out, "Usage:\n\n    %s <command> [flags] [arguments]\n\nCommands:\n\n", program);
	for (size_t i = 0; table[i]; i++)
		if (!table[i]->hidden)
			fprintf(out, "    %-14s %s\n", table[i]->name, table[i]->summary);
	fprintf(out, "\n\"%s <command> -help\" tells more about a command.\n", program);
}

static const struct command *find_command(const struct command *const *table, const char *name)
{
	for (size_t i = 0; table[i]; i++)
		if (strcmp(table[i]->name, name) == 0)
			return table[i];
	return NULL;
}

static int unknown_command(
	const struct command *const *table, const char *program, const char *name)
{
	const char *names[COMMANDS_MAX];
	size_t n = 0;
	for (size_t i = 0; table[i] && n < COMMANDS_MAX; i++)
		if (!table[i]->hidden)
			names[n++] = table[i]->name;
	const char *near = words_nearest(name, names, n);
	fprintf(stderr, "Error: unknown command \"%s\"", name);
	if (near)
		fprintf(stderr, ", did you mean \"%s\"?", near);
	fprintf(stderr, "\nTry: %s -help\n", program);
	return ERR_USAGE;
}

static bool is_help(const char *word)
{
	return strcmp(word, "help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "-help") == 0 ||
		   strcmp(word, "--help") == 0;
}

int command_main(const struct command *const *table, const char *program, int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error like a full disk */
	if (argc < 2) {
		print_usage(table, program, stderr);
		return ERR_USAGE;
	}
	bool help = is_help(argv[1]);
	if (help && argc == 2) {
		print_usage(table, program, stdout);
		return fflush(stdout) ? ERR_FAIL : ERR_OK;
	}
	const char *name = help ? argv[2] : argv[1];
	if (strcmp(name, "-version") == 0 || strcmp(name, "--version") == 0)
		name = "version";
	const struct command *c = find_command(table, name);
	if (!c)
		return unknown_command(table, program, name);
	char full[64];
	snprintf(full, sizeof(full), "%s %s", program, name);
	char help_word[] = "-help";
	char *help_argv[] = {help_word};
	return help ? command_run(c, full, 1, help_argv, 0) : command_run(c, full, argc, argv, 2);
}
