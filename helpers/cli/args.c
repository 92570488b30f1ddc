#include "cli/args.h"

#include "base/amount.h"
#include "base/words.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DURATION_MAX_MS (INT64_C(100) * 366 * 24 * 3600 * 1000)

static size_t flag_count(const struct command *c)
{
	size_t n = 0;
	while (c->flags && c->flags[n].name)
		n++;
	return n;
}

bool args_parse_duration(const char *text, int64_t *ms)
{
	size_t digits = strspn(text, "0123456789");
	if (digits && digits < 12 && !text[digits])
		*ms = strtoll(text, NULL, 10) * 1000;
	else if (!digits || !amount_duration_ms(text, ms))
		return false;
	return *ms <= DURATION_MAX_MS;
}

static int unknown_flag(struct args *a, const char *word, const char *name, struct err *e)
{
	size_t n = flag_count(a->command);
	const char **names = calloc(n + 1, sizeof(*names));
	if (!names)
		return err_nomem(e, "reading the command line");
	for (size_t i = 0; i < n; i++)
		names[i] = a->command->flags[i].name;
	const char *near = words_nearest(name, names, n);
	free(names);
	if (near)
		return err_set(e, ERR_USAGE, "unknown flag %s, did you mean -%s?", word, near);
	return err_set(e, ERR_USAGE, "unknown flag %s", word);
}

static int set_value(const struct flag *f, struct flag_value *v, const char *text, struct err *e)
{
	v->given = true;
	v->text = text;
	char *end = NULL;
	switch (f->type) {
	case FLAG_STRING:
		return ERR_OK;
	case FLAG_BOOL:
		v->number = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
		if (v->number || strcmp(text, "false") == 0 || strcmp(text, "0") == 0)
			return ERR_OK;
		return err_set(e, ERR_USAGE, "-%s is true or false, not \"%s\"", f->name, text);
	case FLAG_INT:
		errno = 0;
		v->number = strtoll(text, &end, 10);
		if (*text && !isspace((unsigned char)*text) && !*end && !errno)
			return ERR_OK;
		return err_set(e, ERR_USAGE, "-%s takes a number, not \"%s\"", f->name, text);
	case FLAG_DURATION:
		if (args_parse_duration(text, &v->number))
			return ERR_OK;
		return err_set(
			e, ERR_USAGE, "-%s takes a duration such as 30s or 5m, not \"%s\"", f->name, text);
	}
	return ERR_FAIL;
}

/* argv[*i] is a flag: finds it, takes its value from behind '=' or from the next word. */
static int parse_flag(struct args *a, int argc, char **argv, int *i, struct err *e)
{
	const char *word = argv[*i];
	const char *name = word + (word[1] == '-' ? 2 : 1);
	const char *equals = strchr(name, '=');
	size_t len = equals ? (size_t)(equals - name) : strlen(name);
	const struct flag *flags = a->command->flags;
	size_t n = flag_count(a->command);
	for (size_t k = 0; k < n; k++) {
		if (strlen(flags[k].name) != len || strncmp(flags[k].name, name, len) != 0)
			continue;
		if (equals)
			return set_value(&flags[k], &a->values[k], equals + 1, e);
		if (flags[k].type == FLAG_BOOL)
			return set_value(&flags[k], &a->values[k], "true", e);
		if (*i + 1 >= argc)
			return err_set(e, ERR_USAGE, "-%s needs a value: %s", flags[k].name, flags[k].value);
		return set_value(&flags[k], &a->values[k], argv[++*i], e);
	}
	if (strcmp(name, "h") == 0 || strcmp(name, "help") == 0) {
		a->help = true;
		return ERR_OK;
	}
	char bare[64];
	snprintf(bare, sizeof(bare), "%.*s", (int)len, name);
	return unknown_flag(a, word, bare, e);
}

static int check_count(const struct args *a, struct err *e)
{
	const struct command *c = a->command;
	if (a->argc > c->max_args)
		return err_set(e, ERR_USAGE, "too many arguments: \"%s\" is one more than %s takes",
			a->argv[c->max_args], c->name);
	if (a->argc < c->min_args)
		return err_set(e, ERR_USAGE, "too few arguments: %s takes %s", c->name, c->arguments);
	return ERR_OK;
}

int args_parse(
	struct args *a, const struct command *c, int argc, char **argv, int first, struct err *e)
{
	memset(a, 0, sizeof(*a));
	a->command = c;
	a->values = calloc(flag_count(c) + 1, sizeof(*a->values));
	a->argv = calloc((size_t)argc + 1, sizeof(*a->argv));
	if (!a->values || !a->argv)
		return err_nomem(e, "reading the command line");
	bool flags_over = false;
	for (int i = first; i < argc; i++) {
		if (!flags_over && strcmp(argv[i], "--") == 0) {
			flags_over = true;
		} else if (flags_over || argv[i][0] != '-' || !argv[i][1]) {
			a->argv[a->argc++] = argv[i];
		} else {
			int rc = parse_flag(a, argc, argv, &i, e);
			if (rc || a->help)
				return rc;
		}
	}
	return check_count(a, e);
}

void args_free(struct args *a)
{
	free(a->values);
	free(a->argv);
	a->values = NULL;
	a->argv = NULL;
}

static const struct flag_value *find(const struct args *a, const char *name, int type)
{
	const struct flag *flags = a->command->flags;
	for (size_t i = 0; flags && flags[i].name; i++)
		if (strcmp(flags[i].name, name) == 0 && (type < 0 || (int)flags[i].type == type))
			return &a->values[i];
	fprintf(stderr, "%s has no flag -%s of this type\n", a->command->name, name);
	abort();
}

bool args_given(const struct args *a, const char *name)
{
	return find(a, name, -1)->given;
}

const char *args_string(const struct args *a, const char *name, const char *otherwise)
{
	const struct flag_value *v = find(a, name, FLAG_STRING);
	return v->given ? v->text : otherwise;
}

int64_t args_int(const struct args *a, const char *name, int64_t otherwise)
{
	const struct flag_value *v = find(a, name, FLAG_INT);
	return v->given ? v->number : otherwise;
}

int64_t args_ms(const struct args *a, const char *name, int64_t otherwise)
{
	const struct flag_value *v = find(a, name, FLAG_DURATION);
	return v->given ? v->number : otherwise;
}

bool args_bool(const struct args *a, const char *name)
{
	return find(a, name, FLAG_BOOL)->number != 0;
}

int args_usage(struct args *a, struct err *e, const char *hint, const char *fmt, ...)
{
	snprintf(a->hint, sizeof(a->hint), "%s", hint ? hint : "");
	char text[ERR_TEXT_MAX];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_set(e, ERR_USAGE, "%s", text);
}
