/* The first 100 bytes of a SQLite database file (fileformat2.html, section 1.3). */
#ifndef FORMAT_DBHEADER_H
#define FORMAT_DBHEADER_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define DB_HEADER_SIZE 100

/* A power of two from 512 to 65536. */
bool db_valid_page_size(uint32_t n);

struct db_header {
	uint32_t page_size;
	uint8_t write_version, read_version; /* 1 rollback journal, 2 WAL, 3 WAL2 */
	uint32_t change_counter;
	uint32_t n_page; /* in the header; 0 or stale when the file was written by old versions */
	uint32_t version_valid_for;
};

/* ERR_DATABASE, with a reason a user understands, when it is not SQLite (or encrypted) or the page
 * size is impossible. */
int db_header_decode(const uint8_t in[DB_HEADER_SIZE], struct db_header *h, struct err *e);

#endif
