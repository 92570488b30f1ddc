/*
 * The header of a database file, big-endian:
 *      0 16  "SQLite format 3" and a NUL
 *     16  2  page size; 1 stands for 65536
 *     18  1  write version   } 1 rollback journal, 2 WAL, 3 WAL2
 *     19  1  read version    }
 *     20  1  bytes reserved at the end of each page
 *     21  3  64, 32, 32: payload fractions, never anything else
 *     24  4  change counter
 *     28  4  size in pages, right only if bytes 92-95 equal the change counter
 *     92  4  change counter when the size was written
 */
#include "format/dbheader.h"

#include "base/endian.h"

#include <inttypes.h>
#include <string.h>

bool db_valid_page_size(uint32_t n)
{
	return n >= 512 && n <= 65536 && (n & (n - 1)) == 0;
}

/* SQLite's own encryption (SEE) leaves bytes 16 to 23 readable; SQLCipher leaves nothing. */
static int not_sqlite(const uint8_t *in, bool rest_fits, struct err *e)
{
	static const uint8_t zeros[DB_HEADER_SIZE];
	if (memcmp(in, zeros, DB_HEADER_SIZE) == 0)
		return err_set(e, ERR_DATABASE,
			"not a SQLite database: it begins with zeros (a lost or damaged file?)");
	if (rest_fits)
		return err_set(e, ERR_DATABASE,
			"an encrypted SQLite database: only databases that plain SQLite reads can be "
			"replicated");
	return err_set(e, ERR_DATABASE,
		"not a SQLite database, or an encrypted one: it doesn't begin with \"SQLite format 3\"");
}

int db_header_decode(const uint8_t in[DB_HEADER_SIZE], struct db_header *h, struct err *e)
{
	uint32_t page_size = get_be16(in + 16);
	page_size = page_size == 1 ? 65536 : page_size;
	bool fractions = in[21] == 64 && in[22] == 32 && in[23] == 32;
	if (memcmp(in, "SQLite format 3", 16) != 0)
		return not_sqlite(in, fractions && db_valid_page_size(page_size), e);
	if (!db_valid_page_size(page_size))
		return err_set(
			e, ERR_DATABASE, "damaged SQLite database: impossible page size %" PRIu32, page_size);
	if (!fractions)
		return err_set(e, ERR_DATABASE,
			"damaged SQLite database: payload fractions %u, %u, %u instead of 64, 32, 32", in[21],
			in[22], in[23]);
	*h = (struct db_header){
		.page_size = page_size,
		.write_version = in[18],
		.read_version = in[19],
		.change_counter = get_be32(in + 24),
		.n_page = get_be32(in + 28),
		.version_valid_for = get_be32(in + 92),
	};
	return ERR_OK;
}
