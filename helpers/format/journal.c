#include "format/journal.h"

#include "base/endian.h"

#include <string.h>

#define STEP 200

void journal_header_encode(const struct journal_header *h, uint8_t out[JOURNAL_SECTOR])
{
	static const uint8_t magic[8] = {0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7};
	memset(out, 0, JOURNAL_SECTOR);
	memcpy(out, magic, sizeof(magic));
	put_be32(out + 8, h->n_records);
	put_be32(out + 12, h->nonce);
	put_be32(out + 16, h->n_page);
	put_be32(out + 20, JOURNAL_SECTOR);
	put_be32(out + 24, h->page_size);
}

void journal_record_seal(uint32_t nonce, uint32_t pgno, uint32_t page_size, uint8_t *out)
{
	const uint8_t *page = out + 4;
	uint32_t sum = nonce;
	for (uint32_t i = page_size - STEP; i > 0 && i < page_size; i -= STEP)
		sum += page[i];
	put_be32(out, pgno);
	put_be32(out + 4 + page_size, sum);
}
