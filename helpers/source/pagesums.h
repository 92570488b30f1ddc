/*
 * The page table: LTX's checksum of each page of a database at one TXID, 8 bytes a page. The XOR of
 * them is the database checksum; comparing an image with it finds what changed.
 *
 * (The file's layout is explained in pagesums.c and docs/FORMATS.md.)
 */
#ifndef SOURCE_PAGESUMS_H
#define SOURCE_PAGESUMS_H

#include "base/err.h"
#include "base/folder.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pagesums {
	uint64_t *sums; /* sums[pgno - 1]; 0 for the lock page */
	uint32_t n_page, cap;
	uint32_t page_size;
	uint64_t txid;     /* the state that it describes; 0 = nothing */
	uint64_t checksum; /* of that state, LTX_CHECKSUM_FLAG set once a page is in */
	bool mapped;       /* sums is a file of its maker's, mapped shared: pagesums_save gives memory
						  back as it goes */
};

void pagesums_init(struct pagesums *p, uint32_t page_size);
void pagesums_free(struct pagesums *p);

/* Sets one page's sum (growing the table; pages between become 0 = "unknown") and keeps checksum
 * right. ERR_OK or ERR_NOMEM. */
int pagesums_set(struct pagesums *p, uint32_t pgno, uint64_t sum);

/* Room for n_page pages: what sets them, and pagesums_resize up to there, can't fail. Changes
 * nothing else. ERR_OK or ERR_NOMEM. */
int pagesums_reserve(struct pagesums *p, uint32_t n_page);

/* Drops pages past n_page, or grows with unknown ones. ERR_OK or ERR_NOMEM. */
int pagesums_resize(struct pagesums *p, uint32_t n_page);

uint64_t pagesums_get(const struct pagesums *p, uint32_t pgno); /* 0 = past the end or unknown */

/* Written aside, fsynced, renamed, folder fsynced. */
int pagesums_save(const struct pagesums *p, const char *path, struct err *e);
int pagesums_save_in(
	const struct pagesums *p, const struct folder *f, const char *name, struct err *e);

/* ERR_NOT_FOUND, ERR_DAMAGED (bad checksum, impossible), ERR_NOMEM, ERR_IO. */
int pagesums_load(struct pagesums *p, const char *path, struct err *e);

#endif
