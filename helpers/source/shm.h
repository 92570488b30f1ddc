/*
 * The wal-index header, read where SQLite keeps it: in the shared memory, through SQLite's own
 * mapping of it (sqlite3_io_methods.xShmMap).
 *
 * One process has one mapping for an inode; its regions never move, and they are unmapped when the
 * last connection of the process to that file closes. So a struct shm lives as long as the
 * connection that it was made from, and not longer.
 *
 * A header is believed only when both copies are equal, is_init is set, the checksum is right and
 * the version is that of a WAL (src/wal.c, walIndexTryHdr): all-zero copies are equal too. Copy 0
 * is read before copy 1; a writer writes copy 1 first.
 */
#ifndef SOURCE_SHM_H
#define SOURCE_SHM_H

#include "base/err.h"
#include "format/wal.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#define SHM_REGION_SIZE 32768
#define SHM_NO_MARK UINT32_C(0xffffffff) /* an unused read mark */

struct shm {
	sqlite3_file *file;
	const volatile uint8_t *head; /* region 0 */
};

/* What the header said at one moment. */
struct shm_view {
	struct wal_index_header h;
	uint32_t backfill;  /* nBackfill: frames that are in the database file */
	uint32_t attempted; /* nBackfillAttempted: more than backfill while a checkpoint runs */
};

/* Maps region 0 through a connection that has read once. ERR_DATABASE when there is no shared
 * memory to be had (read-only, heap index), ERR_NOMEM, ERR_IO. */
int shm_map(struct shm *m, sqlite3_file *file, struct err *e);

/* Header and checkpoint information that belong together: the header was the same before and after
 * the latter was read. False while the header is invalid or changes all the time. What was
 * published before the call is in it. */
bool shm_look(const struct shm *m, struct shm_view *v);

uint32_t shm_read_mark(const struct shm *m, int k);
uint32_t shm_backfill(const struct shm *m);

/* Sets read mark k, as a reader's begin does (src/wal.c, walTryBeginRead): only while that mark's
 * lock is held exclusively, only to a frame that is committed and guarded by a pin of ours. */
void shm_set_read_mark(const struct shm *m, int k, uint32_t frame);

uint32_t shm_attempted(const struct shm *m);

/*
 * The page numbers of frames first to last (from 1) out of the hash blocks, into pgnos[0 ..]. Only
 * for frames that are committed and guarded by a pin. ERR_DAMAGED when the index does not reach so
 * far.
 */
int shm_pgnos(const struct shm *m, uint32_t first, uint32_t last, uint32_t *pgnos, struct err *e);

#endif
