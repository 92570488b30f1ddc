/*
 * Words that people and files give: command lines, durations, sizes, times, TXIDs, names. Each is
 * understood or refused, and what was understood is within its bounds.
 *
 *   words, each ended by a NUL; all of them together are a command line
 */
#include "base/clock.h"
#include "cli/args.h"
#include "conf/names.h"
#include "conf/options.h"
#include "daemon/clean.h"
#include "format/ltxset.h"
#include "format/v3.h"
#include "proto/request.h"
#include "replicate/fence.h"
#include "store/mem.h"
#include "store/s3.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define WORDS 12
#define CENTURY_MS (INT64_C(36525) * 24 * 3600 * 1000)

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void try_line(char **words, int n)
{
	for (const struct command *const *c = litestream_commands; *c; c++) {
		struct err e = ERR_INIT;
		struct args a;
		int rc = args_parse(&a, *c, n, words, 0, &e);
		must(rc == ERR_OK || (rc == ERR_USAGE && *e.text));
		must(rc || a.help || (a.argc >= (*c)->min_args && a.argc <= (*c)->max_args));
		args_free(&a);
	}
}

static void try_times(const char *word)
{
	int64_t ms, again;
	char text[32];
	if (args_parse_duration(word, &ms))
		must(ms >= 0 && ms <= CENTURY_MS);
	if (clock_parse_rfc3339(word, &ms) == 0) {
		clock_format_rfc3339(ms, text);
		/* Years 0 to 9999 are what can be written, offsets reach beyond. */
		must(clock_parse_rfc3339(text, &again) == 0);
		must(again == ms || again < ms + 86400000);
	}
	s3_parse_http_date(word);
}

static void try_options(const char *word)
{
	for (const struct option_entry *o = option_table; o->name; o++) {
		struct options options = OPTIONS_DEFAULT;
		struct err e = ERR_INIT;
		int rc = options_set(&options, o->name, word, &e);
		must(rc == ERR_OK || (rc == ERR_USAGE && *e.text));
		must(rc || options.sync_interval_ms >= 10);
	}
	struct options options = OPTIONS_DEFAULT;
	must(options_set(&options, word, word, NULL) != ERR_OK);
}

static void try_numbers(const char *word)
{
	uint64_t a, b;
	uint32_t index;
	char again[LTX_NAME_SIZE];
	if (ltx_parse_txid(word, &a))
		must(strlen(word) <= 16);
	if (request_parse_txid(word, &a))
		must(a != 0 && ltx_parse_txid(word, &b) && a == b);
	if (ltx_parse_name(word, &a, &b)) {
		ltx_format_name(a, b, again);
		must(a > 0 && a <= b && strcmp(again, word) == 0);
	}
	v3_parse_generation(word, &a);
	v3_parse_index(word, &index);
}

static bool is_safe_part(const char *word)
{
	return *word && !strchr(word, '/') && strcmp(word, ".") != 0 && strcmp(word, "..") != 0 &&
		   strlen(word) <= 128 && *word != '.' && *word != '-';
}

static void try_names(const struct store *s, const char *word)
{
	struct ltx_file f;
	if (name_is_app(word) || name_is_id(word) || name_is_file(word))
		must(is_safe_part(word));
	if (name_is_storage(word))
		must(*word && strlen(word) <= 45 && !strpbrk(word, "./"));
	if (name_is_folder(word))
		must(*word == '/' && word[1] && !strstr(word, "/../") && !strstr(word, "//"));
	if (fence_parse_name(s, word, &f)) {
		char name[FENCE_NAME_SIZE];
		fence_name(s, f.level, f.min_txid, f.max_txid, name);
		must(strcmp(name, word) == 0);
	}
}

static void try_text(char *word)
{
	size_t n = strlen(word);
	clean_text(word);
	must(strlen(word) == n);
	for (const char *p = word; *p; p++)
		must((unsigned char)*p >= 0x20 && *p != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *words[WORDS];
	struct store *s;
	int n = 0;
	must(text && store_open(&s, "mem://words", NULL, NULL) == ERR_OK);
	memcpy(text, data, size);
	text[size] = '\0';
	for (char *p = text; p < text + size && n < WORDS; p += strlen(p) + 1)
		words[n++] = p;
	try_line(words, n);
	for (int i = 0; i < n; i++) {
		try_times(words[i]);
		try_options(words[i]);
		try_numbers(words[i]);
		try_names(s, words[i]);
		try_text(words[i]);
	}
	store_close(s);
	free(text);
	return 0;
}
