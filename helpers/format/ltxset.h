/*
 * Names, TXID ranges and order of a replica's LTX files. Pure: no files, no network.
 *
 * A file's name is "%016x-%016x.ltx" (lowest and highest TXID, lowercase). L0 files hold one TXID,
 * L1 to L8 a range, L9 is a snapshot from 1.
 */
#ifndef FORMAT_LTXSET_H
#define FORMAT_LTXSET_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LTX_LEVELS 10
#define LTX_SNAPSHOT_LEVEL 9
#define LTX_NAME_SIZE 38 /* with the NUL */

struct ltx_file {
	int level;
	uint64_t min_txid, max_txid;
	uint64_t size;       /* bytes */
	int64_t modified_ms; /* as the store listed it; 0 = unknown */
};

struct ltx_set {
	struct ltx_file *files; /* sorted by level, then min_txid, then max_txid */
	size_t count, cap;
};

void ltxset_init(struct ltx_set *s);
void ltxset_free(struct ltx_set *s);
int ltxset_add(struct ltx_set *s, const struct ltx_file *f); /* ERR_OK or ERR_NOMEM; unsorted */
void ltxset_sort(struct ltx_set *s);                         /* sorts and drops exact doubles */

/* "0000000000000001-0000000000000005.ltx" */
void ltx_format_name(uint64_t min_txid, uint64_t max_txid, char out[LTX_NAME_SIZE]);

/* Reads a bare file name; false when it is not one (also upper case, min > max, min = 0). */
bool ltx_parse_name(const char *name, uint64_t *min_txid, uint64_t *max_txid);

/* A TXID in Litestream's 16 digit form, or any hexadecimal number of 1 to 16 digits. */
bool ltx_parse_txid(const char *text, uint64_t *txid);

/* Highest TXID over all levels, 0 for an empty set. */
uint64_t ltxset_max_txid(const struct ltx_set *s);

/* The last L0, NULL when there is none. Borrowed. */
const struct ltx_file *ltxset_last_l0(const struct ltx_set *s);

/* May `next` be applied to a database at TXID `at`? next.min <= at + 1 and next.max > at. */
bool ltx_follows(uint64_t at, const struct ltx_file *next);

#endif
