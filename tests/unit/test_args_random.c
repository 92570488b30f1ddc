/*
 * Random command lines for every command of litestream, of its own flags, flags that are none,
 * values that fit and don't, doubled and missing ones, "--", empty, endless and broken words. Each
 * word is accounted for: it is a flag of the table with its value, or an argument, or an error that
 * names it. The judge is a second reading, which knows of no value but those in `words` below.
 * SEED=n makes the command lines of an earlier run again.
 */
#include "cli/args.h"
#include "lib/chance.h"
#include "lib/rounds.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))
#define LINES ROUNDS(10000) /* of each command */
#define ARGC_MAX 10
#define ROOM 200000

/* What a word is as a value; NO: it is none of this kind. */
#define NO INT64_MIN

static const struct {
	const char *text;
	int64_t number, ms, truth;
} words[] = {
	{"1", 1, 1000, 1},
	{"0", 0, 0, 0},
	{"true", NO, NO, 1},
	{"false", NO, NO, 0},
	{"-1", -1, NO, NO},
	{"-5", -5, NO, NO},
	{"+7", 7, NO, NO},
	{"007", 7, 7000, NO},
	{"300", 300, 300000, NO},
	{"1.5s", NO, 1500, NO},
	{"250ms", NO, 250, NO},
	{"1h30m", NO, 5400000, NO},
	{"-3s", NO, NO, NO},
	{"9223372036854775807", INT64_MAX, NO, NO},
	{"9223372036854775808", NO, NO, NO},
	{"99999999999h", NO, NO, NO},
	{"TRUE", NO, NO, NO},
	{"yes", NO, NO, NO},
	{"1x", NO, NO, NO},
	{" 1", NO, NO, NO},
	{"", NO, NO, NO},
	{"-", NO, NO, NO},
	{"app.db", NO, NO, NO},
	{"s3://bucket/app", NO, NO, NO},
	{"file:///r?a=b", NO, NO, NO},
	{"a=b", NO, NO, NO},
	{"=", NO, NO, NO},
	{"\xff\xfe\x80", NO, NO, NO},
	{"\xc3", NO, NO, NO},
	{"\x1b[2J\n", NO, NO, NO},
	{"%s%n%999999d", NO, NO, NO},
	{"$HOME `true` *", NO, NO, NO},
};

static struct chance dice;
static uint64_t seed;
static char *line[ARGC_MAX + 1], room[ROOM];
static int argc;
static size_t used;

static size_t draw(size_t n)
{
	return (size_t)chance_below(&dice, (int64_t)n);
}

/* ---- command lines ---- */

static size_t flag_count(const struct command *c)
{
	size_t n = 0;
	while (c->flags && c->flags[n].name)
		n++;
	return n;
}

static void add(const char *dashes, const char *name, const char *equals, const char *value)
{
	size_t n = strlen(dashes) + strlen(name) + strlen(equals) + strlen(value) + 1;
	if (argc == ARGC_MAX || used + n > ROOM)
		return;
	line[argc++] = room + used;
	used += (size_t)snprintf(room + used, n, "%s%s%s%s", dashes, name, equals, value) + 1;
}

static const char *any_word(void)
{
	static char endless[9000];
	if (draw(40) == 0) {
		memset(endless, 'x', 100 + draw(sizeof(endless) - 101));
		endless[100 + draw(sizeof(endless) - 101)] = '\0';
		return endless;
	}
	return words[draw(COUNT(words))].text;
}

/* A value that fits, most of the time. */
static const char *value_for(enum flag_type type)
{
	for (size_t tries = draw(30) ? 200 : 0; tries > 0; tries--) {
		size_t w = draw(COUNT(words));
		if (type == FLAG_STRING || (type == FLAG_BOOL && words[w].truth != NO) ||
			(type == FLAG_INT && words[w].number != NO) ||
			(type == FLAG_DURATION && words[w].ms != NO))
			return words[w].text;
	}
	return any_word();
}

/* A name with one letter more, less, or another one. */
static void add_slip(const char *name)
{
	char slip[100];
	size_t n = (size_t)snprintf(slip, sizeof(slip) - 1, "%s", name), at = draw(n);
	if (draw(3) == 0)
		memmove(slip + at, slip + at + 1, n - at);
	else
		slip[draw(2) ? at : n] = (char)('a' + draw(26));
	slip[n + 1] = '\0';
	add(draw(2) ? "-" : "--", slip, draw(3) ? "" : "=", draw(3) ? "" : "1");
}

static void add_flag(const struct flag *f)
{
	const char *dashes = draw(2) ? "-" : "--";
	if (f->type == FLAG_BOOL && draw(3)) {
		add(dashes, f->name, "", "");
	} else if (draw(2)) {
		add(dashes, f->name, "=", value_for(f->type));
	} else {
		add(dashes, f->name, "", "");
		if (draw(20))
			add("", "", "", value_for(f->type));
	}
}

static void make_line(const struct command *c)
{
	static const char *const odd[] = {
		"--", "---", "-=", "--=x", "-h", "--help", "-help=1", "- ", "-\xff", "-1", "---o"};
	size_t n = flag_count(c), doubled = n ? draw(n) : 0;
	argc = 0;
	used = 0;
	memset(line, 0, sizeof(line));
	for (size_t left = draw(ARGC_MAX); left > 0; left--) {
		size_t kind = draw(100);
		if (n && kind < 55)
			add_flag(&c->flags[draw(4) ? draw(n) : doubled]);
		else if (n && kind < 58)
			add_slip(c->flags[draw(n)].name);
		else if (kind < 64)
			add("", odd[draw(draw(3) ? 1 : COUNT(odd))], "", "");
		else if (kind < 90)
			add("", "app.db", "", "");
		else
			add("", any_word(), "", "");
	}
}

/* ---- the judge ---- */

struct reading {
	bool help;
	const char *wrong; /* the word at fault, which an error names; NULL */
	bool too_few;      /* the error is that there is nothing to name */
	const char *value[100], *positional[ARGC_MAX];
	int64_t number[100];
	size_t n;
};

static int64_t meaning(enum flag_type type, const char *text)
{
	for (size_t w = 0; w < COUNT(words); w++)
		if (strcmp(words[w].text, text) == 0)
			return type == FLAG_INT    ? words[w].number
				   : type == FLAG_BOOL ? words[w].truth
									   : words[w].ms;
	return NO;
}

/* The flag that is meant: the name up to a '=' must be the whole of it. -1: none. */
static int flag_of(const struct command *c, const char *name, size_t len)
{
	char whole[len + 1];
	memcpy(whole, name, len);
	whole[len] = '\0';
	for (size_t i = 0; i < flag_count(c); i++)
		if (strcmp(c->flags[i].name, whole) == 0)
			return (int)i;
	return -1;
}

/* One word that begins with a dash; *i moves on where the next one is its value. */
static void judge_flag(const struct command *c, struct reading *r, int *i)
{
	const char *word = line[*i], *name = word + (word[1] == '-' ? 2 : 1), *value = "true";
	const char *equals = strchr(name, '=');
	int at = flag_of(c, name, equals ? (size_t)(equals - name) : strlen(name));
	if (at < 0) {
		r->help = strcmp(name, "help") == 0 || strcmp(name, "h") == 0;
		r->wrong = r->help ? NULL : word;
		return;
	}
	enum flag_type type = c->flags[at].type;
	if (equals)
		value = equals + 1;
	else if (type != FLAG_BOOL)
		value = line[++*i];
	r->value[at] = value;
	r->number[at] = value && type != FLAG_STRING ? meaning(type, value) : 0;
	if (!value || r->number[at] == NO)
		r->wrong = c->flags[at].name;
}

static void judge(const struct command *c, struct reading *r)
{
	bool over = false;
	*r = (struct reading){0};
	for (int i = 0; i < argc && !r->wrong && !r->help; i++) {
		bool dash = line[i][0] == '-' && line[i][1] != '\0';
		if (over || !dash)
			r->positional[r->n++] = line[i];
		else if (line[i][1] == '-' && line[i][2] == '\0')
			over = true;
		else
			judge_flag(c, r, &i);
	}
	if (r->wrong || r->help)
		return;
	if (r->n > c->max_args)
		r->wrong = r->positional[c->max_args];
	r->too_few = r->n < c->min_args;
}

/* ---- both ---- */

static void different(const struct command *c, const char *what)
{
	char text[2000] = "";
	for (int i = 0; i < argc; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), " \"%.100s\"", line[i]);
	fail_msg("SEED=%" PRIu64 ": litestream %s%s: %s", seed, c->name, text, what);
}

static void compare_flag(
	const struct command *c, const struct args *a, const struct reading *r, size_t i)
{
	const struct flag *f = &c->flags[i];
	bool same = args_given(a, f->name) == (r->value[i] != NULL);
	if (f->type == FLAG_STRING)
		same = same && args_string(a, f->name, NULL) == r->value[i];
	else if (f->type == FLAG_INT)
		same = same && args_int(a, f->name, 0) == r->number[i];
	else if (f->type == FLAG_DURATION)
		same = same && args_ms(a, f->name, 0) == r->number[i];
	else
		same = same && args_bool(a, f->name) == (r->number[i] == 1);
	if (!same)
		different(c, f->name);
}

static void compare(const struct command *c)
{
	struct reading r;
	struct args a;
	struct err e = ERR_INIT;
	judge(c, &r);
	int rc = args_parse(&a, c, argc, line, 0, &e);
	bool wrong = r.wrong || r.too_few;
	if (rc != (wrong ? ERR_USAGE : ERR_OK) || a.help != r.help)
		different(c, rc ? e.text : "taken, or help");
	char named[100] = "";
	if (r.wrong)
		snprintf(named, sizeof(named), "%s", r.wrong);
	if (wrong && (!strstr(e.text, named) || (r.too_few && !strstr(e.text, "too few"))))
		different(c, e.text);
	if (!wrong && !r.help) {
		for (size_t i = 0; i < flag_count(c); i++)
			compare_flag(c, &a, &r, i);
		if (a.argc != r.n || memcmp(a.argv, r.positional, r.n * sizeof(*a.argv)) != 0)
			different(c, "other arguments");
	}
	args_free(&a);
}

static void test_each_word_is_accounted_for(void **state)
{
	(void)state;
	const char *given = getenv("SEED");
	uint64_t first = given ? strtoull(given, NULL, 10) : 1;
	size_t taken = 0, all = 0;
	for (const struct command *const *c = litestream_commands; *c; c++) {
		for (seed = first; seed < first + LINES; seed++, all++) {
			struct reading r;
			dice = chance_of(seed, (uint64_t)(c - litestream_commands));
			make_line(*c);
			compare(*c);
			judge(*c, &r);
			taken += !r.wrong && !r.too_few;
		}
	}
	print_message("SEED=%" PRIu64 ": %zu of %zu command lines taken\n", first, taken, all);
	assert_in_range(taken, all / 10, all - all / 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_word_is_accounted_for),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
