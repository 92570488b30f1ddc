#include "format/ltxset.h"

#include "base/array.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TXID_DIGITS 16

void ltxset_init(struct ltx_set *s)
{
	*s = (struct ltx_set){0};
}

void ltxset_free(struct ltx_set *s)
{
	free(s->files);
	ltxset_init(s);
}

int ltxset_add(struct ltx_set *s, const struct ltx_file *f)
{
	struct ltx_file *files = array_append(s->files, &s->count, &s->cap, sizeof(*f), f);
	if (files)
		s->files = files;
	return files ? ERR_OK : ERR_NOMEM;
}

static int compare_names(const void *x, const void *y)
{
	const struct ltx_file *a = x, *b = y;
	if (a->level != b->level)
		return a->level < b->level ? -1 : 1;
	int order = compare_u64(a->min_txid, b->min_txid);
	return order ? order : compare_u64(a->max_txid, b->max_txid);
}

/* Of two listings of one name the newer comes first. */
static int compare_files(const void *x, const void *y)
{
	const struct ltx_file *a = x, *b = y;
	int order = compare_names(a, b);
	if (!order)
		order = (a->modified_ms < b->modified_ms) - (a->modified_ms > b->modified_ms);
	return order ? order : compare_u64(a->size, b->size);
}

void ltxset_sort(struct ltx_set *s)
{
	s->count =
		array_sort_distinct(s->files, s->count, sizeof(*s->files), compare_files, compare_names);
}

void ltx_format_name(uint64_t min_txid, uint64_t max_txid, char out[LTX_NAME_SIZE])
{
	snprintf(out, LTX_NAME_SIZE, "%016" PRIx64 "-%016" PRIx64 ".ltx", min_txid, max_txid);
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

static bool parse_hex16(const char *p, uint64_t *v)
{
	*v = 0;
	for (int i = 0; i < TXID_DIGITS; i++) {
		int digit = hex_value(p[i]);
		if (digit < 0)
			return false;
		*v = *v << 4 | (uint64_t)digit;
	}
	return true;
}

bool ltx_parse_name(const char *name, uint64_t *min_txid, uint64_t *max_txid)
{
	return strlen(name) == LTX_NAME_SIZE - 1 && parse_hex16(name, min_txid) &&
		   name[TXID_DIGITS] == '-' && parse_hex16(name + TXID_DIGITS + 1, max_txid) &&
		   strcmp(name + 2 * TXID_DIGITS + 1, ".ltx") == 0 && *min_txid > 0 &&
		   *min_txid <= *max_txid;
}

bool ltx_parse_txid(const char *text, uint64_t *txid)
{
	size_t n = strlen(text);
	uint64_t v = 0;
	if (n == 0 || n > TXID_DIGITS)
		return false;
	for (size_t i = 0; i < n; i++) {
		int digit = hex_value(text[i] >= 'A' && text[i] <= 'F' ? (char)(text[i] + 32) : text[i]);
		if (digit < 0)
			return false;
		v = v << 4 | (uint64_t)digit;
	}
	*txid = v;
	return true;
}

uint64_t ltxset_max_txid(const struct ltx_set *s)
{
	uint64_t max = 0;
	for (size_t i = 0; i < s->count; i++)
		if (s->files[i].max_txid > max)
			max = s->files[i].max_txid;
	return max;
}

const struct ltx_file *ltxset_last_l0(const struct ltx_set *s)
{
	const struct ltx_file *last = NULL;
	for (size_t i = 0; i < s->count; i++)
		if (s->files[i].level == 0 && (!last || s->files[i].max_txid > last->max_txid))
			last = &s->files[i];
	return last;
}

bool ltx_follows(uint64_t at, const struct ltx_file *next)
{
	return next->min_txid - 1 <= at && next->max_txid > at;
}
