/*
 * Names of Litestream 0.3's objects, the same in every kind of store:
 *
 *     generations/<generation>/snapshots/<index>.snapshot.lz4
 *     generations/<generation>/wal/<index>_<offset>.wal.lz4
 *
 * generation: 16 hexadecimal digits, random; one unbroken line of WALs. A new one begins whenever
 * Litestream lost its place. index: 8 digits, one for each WAL between two restarts of the log.
 * offset: where the segment begins in that WAL, 8 digits, more past 4 GiB (0.3.13 itself reads 8).
 * All lower case. Other names are somebody else's.
 *
 * A snapshot with index N is the database file as it was while WAL N was current: with all of WAL N
 * and those that follow replayed over it, it is the database. Frames that the file had already got
 * are the same again.
 */
#include "format/v3.h"

#include "base/array.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GENERATION_DIGITS 16
#define INDEX_DIGITS 8
#define OFFSET_DIGITS_MAX 16

void v3_set_init(struct v3_set *s)
{
	*s = (struct v3_set){0};
}

void v3_set_free(struct v3_set *s)
{
	free(s->files);
	v3_set_init(s);
}

int v3_set_add(struct v3_set *s, const struct v3_file *f)
{
	struct v3_file *files = array_append(s->files, &s->count, &s->cap, sizeof(*f), f);
	if (files)
		s->files = files;
	return files ? ERR_OK : ERR_NOMEM;
}

static int compare_names(const void *x, const void *y)
{
	const struct v3_file *a = x, *b = y;
	int order = compare_u64(a->generation, b->generation);
	if (!order)
		order = b->snapshot - a->snapshot;
	if (!order)
		order = compare_u64(a->index, b->index);
	return order ? order : compare_u64(a->offset, b->offset);
}

/* Of two listings of one name the newer comes first. */
static int compare_files(const void *x, const void *y)
{
	const struct v3_file *a = x, *b = y;
	int order = compare_names(a, b);
	return order ? order : (a->modified_ms < b->modified_ms) - (a->modified_ms > b->modified_ms);
}

void v3_set_sort(struct v3_set *s)
{
	s->count =
		array_sort_distinct(s->files, s->count, sizeof(*s->files), compare_files, compare_names);
}

/* ---- names ---- */

/* Reads min to max lower-case hexadecimal digits at *p and moves it behind them. */
static bool take_hex(const char **p, size_t min, size_t max, uint64_t *v)
{
	size_t n = strspn(*p, "0123456789abcdef");
	if (n < min || n > max)
		return false;
	*v = strtoull(*p, NULL, 16);
	*p += n;
	return true;
}

static bool take_text(const char **p, const char *text)
{
	size_t n = strlen(text);
	if (strncmp(*p, text, n) != 0)
		return false;
	*p += n;
	return true;
}

bool v3_parse_name(const char *name, struct v3_file *f)
{
	uint64_t index;
	const char *p = name;
	f->offset = 0;
	if (!take_text(&p, V3_PREFIX) ||
		!take_hex(&p, GENERATION_DIGITS, GENERATION_DIGITS, &f->generation))
		return false;
	f->snapshot = take_text(&p, "/snapshots/");
	if ((!f->snapshot && !take_text(&p, "/wal/")) ||
		!take_hex(&p, INDEX_DIGITS, INDEX_DIGITS, &index) || index > V3_INDEX_MAX)
		return false;
	f->index = (uint32_t)index;
	if (f->snapshot)
		return strcmp(p, ".snapshot.lz4") == 0;
	return take_text(&p, "_") && take_hex(&p, INDEX_DIGITS, OFFSET_DIGITS_MAX, &f->offset) &&
		   strcmp(p, ".wal.lz4") == 0;
}

const char *v3_format_name(const struct v3_file *f, char out[V3_NAME_SIZE])
{
	int n = snprintf(out, V3_NAME_SIZE, V3_PREFIX "%016" PRIx64 "/%s/%08" PRIx32, f->generation,
		f->snapshot ? "snapshots" : "wal", f->index);
	if (f->snapshot)
		snprintf(out + n, V3_NAME_SIZE - (size_t)n, ".snapshot.lz4");
	else
		snprintf(out + n, V3_NAME_SIZE - (size_t)n, "_%08" PRIx64 ".wal.lz4", f->offset);
	return out;
}

bool v3_parse_generation(const char *text, uint64_t *generation)
{
	const char *p = text;
	return take_hex(&p, GENERATION_DIGITS, GENERATION_DIGITS, generation) && !*p;
}

bool v3_parse_index(const char *text, uint32_t *index)
{
	size_t n = strlen(text);
	if (n < 1 || n > INDEX_DIGITS || strspn(text, "0123456789abcdefABCDEF") != n)
		return false;
	unsigned long v = strtoul(text, NULL, 16);
	*index = (uint32_t)v;
	return v <= V3_INDEX_MAX;
}
