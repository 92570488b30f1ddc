#include "source/shm.h"

#include <string.h>

#define LOOKS 4

static uint32_t load(const volatile uint8_t *p)
{
	return __atomic_load_n((const volatile uint32_t *)(const volatile void *)p, __ATOMIC_RELAXED);
}

static void copy_header(const volatile uint8_t *from, uint8_t out[WAL_INDEX_HEADER_SIZE])
{
	for (int i = 0; i < WAL_INDEX_HEADER_SIZE; i += 4) {
		uint32_t word = load(from + i);
		memcpy(out + i, &word, 4);
	}
	__sync_synchronize();
}

int shm_map(struct shm *m, sqlite3_file *file, struct err *e)
{
	void volatile *p = NULL;
	m->file = file;
	m->head = NULL;
	int rc = file->pMethods->xShmMap(file, 0, SHM_REGION_SIZE, 0, &p);
	if (rc != SQLITE_OK || !p)
		return err_set(e, rc == SQLITE_NOMEM ? ERR_NOMEM : ERR_DATABASE,
			"cannot map the wal-index (-shm): SQLite says %s [%d]", sqlite3_errstr(rc), rc);
	m->head = p;
	return ERR_OK;
}

/* Both copies equal and right. raw is copy 0. */
static bool read_header(
	const struct shm *m, uint8_t raw[WAL_INDEX_HEADER_SIZE], struct wal_index_header *h)
{
	uint8_t second[WAL_INDEX_HEADER_SIZE];
	copy_header(m->head, raw);
	copy_header(m->head + WAL_INDEX_HEADER_SIZE, second);
	return memcmp(raw, second, sizeof(second)) == 0 && wal_index_header_decode(raw, h);
}

bool shm_look(const struct shm *m, struct shm_view *v)
{
	uint8_t before[WAL_INDEX_HEADER_SIZE], after[WAL_INDEX_HEADER_SIZE];
	for (int i = 0; i < LOOKS; i++) {
		if (!read_header(m, before, &v->h))
			continue;
		v->backfill = shm_backfill(m);
		v->attempted = shm_attempted(m);
		__sync_synchronize();
		copy_header(m->head, after);
		if (memcmp(before, after, sizeof(after)) == 0)
			return true;
	}
	return false;
}

uint32_t shm_read_mark(const struct shm *m, int k)
{
	return load(m->head + WAL_INDEX_READ_MARK(k));
}

void shm_set_read_mark(const struct shm *m, int k, uint32_t frame)
{
	volatile uint32_t *at = (volatile uint32_t *)(uintptr_t)(m->head + WAL_INDEX_READ_MARK(k));
	__atomic_store_n(at, frame, __ATOMIC_SEQ_CST);
}

uint32_t shm_backfill(const struct shm *m)
{
	return load(m->head + WAL_INDEX_NBACKFILL);
}

uint32_t shm_attempted(const struct shm *m)
{
	return load(m->head + WAL_INDEX_NBACKFILL_ATTEMPTED);
}

int shm_pgnos(const struct shm *m, uint32_t first, uint32_t last, uint32_t *pgnos, struct err *e)
{
	uint32_t mapped = UINT32_MAX;
	const volatile uint8_t *p = NULL;
	for (uint32_t frame = first; frame <= last; frame++) {
		uint32_t region, offset;
		wal_index_pgno_slot(frame, &region, &offset);
		if (region != mapped) {
			void volatile *at = NULL;
			int rc = m->file->pMethods->xShmMap(m->file, (int)region, SHM_REGION_SIZE, 0, &at);
			if (rc != SQLITE_OK || !at)
				return err_set(e, ERR_DAMAGED, "the wal-index has no block %u for frame %u [%d]",
					region, frame, rc);
			p = at;
			mapped = region;
		}
		pgnos[frame - first] = load(p + offset);
	}
	return ERR_OK;
}
