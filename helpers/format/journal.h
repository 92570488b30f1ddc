/*
 * SQLite's rollback journal, as bytes: what whoever opens the database next rolls back when a
 * change was interrupted. (fileformat2.html, section 3; pager.c: readJournalHdr, pager_playback.)
 *
 *   0   8  d9 d5 05 f9 20 a1 63 d7
 *   8   4  records that follow; 0 while they are being written: then nothing is rolled back
 *  12   4  nonce of the records' checksums
 *  16   4  size of the database before the change, in pages: it is cut to that
 *  20   4  sector size: the records begin there
 *  24   4  page size
 *
 * A record is the page's number, its content before the change, and a checksum: the nonce and each
 * 200th byte of the content, from the end. Integers are big-endian. Pages past the old size have no
 * record, nor has the lock page.
 */
#ifndef FORMAT_JOURNAL_H
#define FORMAT_JOURNAL_H

#include <stddef.h>
#include <stdint.h>

#define JOURNAL_SECTOR 512
#define JOURNAL_RECORD_EXTRA 8 /* bytes of a record besides the page */

struct journal_header {
	uint32_t n_records, nonce, n_page, page_size;
};

void journal_header_encode(const struct journal_header *h, uint8_t out[JOURNAL_SECTOR]);

/* A record of page_size + JOURNAL_RECORD_EXTRA bytes; the page is at out + 4 already. */
void journal_record_seal(uint32_t nonce, uint32_t pgno, uint32_t page_size, uint8_t *out);

#endif
