#include "restore/verify.h"

#include "base/fs.h"
#include "format/dbheader.h"

#include <errno.h>
#include <inttypes.h>

int verify_header(
	const struct ltx_header *h, const struct ltx_file *f, uint32_t page_size, struct err *e)
{
	if (h->min_txid != f->min_txid || h->max_txid != f->max_txid)
		return err_set(e, ERR_DAMAGED,
			"its header says TXID %016" PRIx64 " to %016" PRIx64 ", its name does not", h->min_txid,
			h->max_txid);
	if (page_size && h->page_size != page_size)
		return err_set(e, ERR_DAMAGED,
			"its pages have %" PRIu32 " bytes, those of the files after it %" PRIu32, h->page_size,
			page_size);
	if (h->commit == 0)
		return err_set(e, ERR_DAMAGED, "it says that the database has no pages");
	return ERR_OK;
}

bool verify_follows(const struct ltx_header *before, const struct ltx_header *after)
{
	if (!before->ours || !after->ours || after->min_txid != before->max_txid + 1)
		return true;
	return before->after_checksum == 0 || after->before_checksum == 0 ||
		   before->after_checksum == after->before_checksum;
}

int verify_checksum(const struct ltx_header *last, const char *last_name, uint64_t checksum,
	uint32_t holes, uint32_t first_hole, enum restore_proof *proof, struct err *e)
{
	bool recorded = last->ours && last->after_checksum;
	*proof = recorded ? RESTORE_PROVEN : RESTORE_NOT_PROVEN;
	if (recorded && last->after_checksum != checksum)
		return err_set(e, ERR_DAMAGED,
			"what was restored is not what was replicated: its database checksum is %016" PRIx64
			", but %s recorded %016" PRIx64,
			checksum, last_name, last->after_checksum);
	if (!recorded && holes)
		return err_set(e, ERR_DAMAGED,
			"page %" PRIu32 " and %" PRIu32 " more of the database are in no file up to %s",
			first_hole, holes - 1, last_name);
	return ERR_OK;
}

int verify_database(int fd, uint32_t page_size, struct err *e)
{
	uint8_t head[DB_HEADER_SIZE];
	struct db_header h;
	if (fs_pread_full(fd, head, sizeof(head), 0))
		return err_errno(e, ERR_IO, errno, "cannot read back what was restored");
	if (db_header_decode(head, &h, e)) {
		e->code = ERR_DAMAGED;
		return err_wrap(e, "what the replica holds is not a usable SQLite database");
	}
	if (h.page_size != page_size)
		return err_set(e, ERR_DAMAGED,
			"page 1 says that pages have %" PRIu32 " bytes, the LTX files say %" PRIu32,
			h.page_size, page_size);
	return ERR_OK;
}
