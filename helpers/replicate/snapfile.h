/*
 * The file of a snapshot: every page at one TXID, encoded from a spool, then uploaded.
 *
 *   <folder>/<1-m>.ltx.tmp   being encoded; deleted by the next look into the folder
 *   <folder>/<1-m>.ltx       complete and durable: it is uploaded, after a restart too, then
 * deleted
 *
 * Because the file stays, nothing is copied, proven and encoded again; and where the store takes it
 * in parts, those that were up are not sent again (resume.h).
 */
#ifndef REPLICATE_SNAPFILE_H
#define REPLICATE_SNAPFILE_H

#include "base/err.h"
#include "format/ltx.h"
#include "replicate/freeze.h"
#include "replicate/inventory.h"
#include "replicate/putltx.h"
#include "replicate/spool.h"
#include "store/store.h"

#include <stdatomic.h>

/* "<folder>/<name of the snapshot 1-txid>" as a new string (free), NULL when out of memory. */
char *snapfile_path(const char *folder, uint64_t txid);

/*
 * Encodes what the spool holds as the snapshot that ends at of->max_txid: commit, page_size,
 * timestamp, node_id and after_checksum are `of`'s. The folder is created. Memory: 200 KiB and the
 * encoder's 3 bytes a page.
 *
 * The XOR of the pages' checksums must be after_checksum: else ERR_DAMAGED, and there is no file.
 * ERR_FULL, ERR_IO, ERR_NOMEM; ERR_CANCELLED once *cancelled is true. The spool is used up whatever
 * comes out (the caller drops it).
 */
int snapfile_encode(struct spool *s, const struct ltx_header *of, const char *folder,
	const atomic_bool *cancelled, struct frozen *out, struct err *e);

/*
 * What an earlier life left: the newest complete snapshot, read through to its file checksum;
 * out->txid = 0 when there is none. Everything else in the folder is deleted. ERR_IO, ERR_NOMEM,
 * ERR_CANCELLED.
 */
int snapfile_find(
	const char *folder, const atomic_bool *cancelled, struct frozen *out, struct err *e);

/*
 * Uploads the file at `path`; *out describes it (`how`: put_ltx). What is there
 * instead may be the same state in other bytes, by its header: success too. The state of another
 * database under our TXID is ERR_FENCED; what doesn't say, or is no LTX file, ERR_CONDITION. Else
 * as put_ltx.
 *
 * The caller has proven just before that the replica is ours (F4, F5).
 */
int snapfile_put(
	struct store *s, const char *path, struct put_ltx_how *how, struct frozen *out, struct err *e);

/* What the inventory notes of it, uploaded now. */
struct replica_file snapfile_record(const struct frozen *f);

/* Deletes the file. What goes wrong is found by the next snapfile_find. */
void snapfile_delete(const char *folder, uint64_t txid);

#endif
