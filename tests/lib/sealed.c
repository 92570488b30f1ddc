#include "lib/sealed.h"

#include "base/digest.h"

#include <string.h>

static uint64_t seal_of(const uint8_t *body, size_t n, const struct sealed_row *row)
{
	uint64_t crc = crc64_iso(0, row, sizeof(*row));
	return crc64_iso(crc, body + SEALED_MIN, n - SEALED_MIN);
}

void sealed_fill(uint8_t *body, size_t n, const struct sealed_row *row, struct chance *c)
{
	for (size_t i = SEALED_MIN; i < n; i += 8) {
		uint64_t r = chance_next(c);
		memcpy(body + i, &r, sizeof(r));
	}
	uint64_t seal = seal_of(body, n, row);
	memcpy(body, &row->last, sizeof(row->last));
	memcpy(body + 8, &seal, sizeof(seal));
}

bool sealed_is_whole(const uint8_t *body, size_t n, struct sealed_row *row)
{
	uint64_t seal;
	if (n < SEALED_MIN)
		return false;
	memcpy(&row->last, body, sizeof(row->last));
	memcpy(&seal, body + 8, sizeof(seal));
	return seal == seal_of(body, n, row);
}
