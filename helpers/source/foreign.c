/*
 * Writes to the database file that our WAL does not explain.
 *
 * In WAL mode only checkpoints write the database file, and each shows in the wal-index: SQLite
 * from 3.10 on sets nBackfillAttempted before it writes and nBackfill after, older ones only the
 * latter. So a change of the file's time or size with neither of them moving, while nobody holds
 * the CKPT lock, is somebody who does not share our -shm: a single file mounted into a container
 * (which then has its own -wal and -shm), cp over the file, an overlay's upper layer, a virtual
 * machine's share, an app that turned locking off.
 *
 * The stamp is read before the progress: whatever a checkpoint wrote until then, it announced
 * before. Where the progress moved, the stamp is read anew after it.
 */
#include "source/internal.h"

#include <string.h>
#include <sys/stat.h>

#define RUNNING_MAX_US 60000000  /* a checkpointer that is stopped holds its lock for ever */
#define REPORT_EVERY_US 60000000 /* comparing all pages has a price; so has every report */

static void note_progress(struct foreign_watch *f, const struct shm_view *v)
{
	memcpy(f->salt, v->h.salt, sizeof(f->salt));
	f->backfill = v->backfill;
	f->attempted = v->attempted;
}

static bool progressed(const struct foreign_watch *f, const struct shm_view *v)
{
	return f->backfill != v->backfill || f->attempted != v->attempted ||
		   memcmp(f->salt, v->h.salt, sizeof(f->salt)) != 0;
}

static void take_stamp(struct source *s)
{
	struct stat st;
	if (fstat(dbfile_fd(s->kept), &st) == 0)
		identity_stamp_of(&st, &s->foreign.stamp);
}

void foreign_begin(struct source *s, const struct shm_view *v)
{
	note_progress(&s->foreign, v);
	s->foreign.running_since = 0;
	s->foreign.owed = false;
	take_stamp(s);
}

bool foreign_checkpoint_lock(const struct source *s)
{
	return dbfile_foreign_shm_lock(s->kept_shm, CONNECTION_LOCK_CHECKPOINT, NULL) !=
		   DBFILE_UNLOCKED;
}

/* The wal-index alone does not tell: whoever recovers it sets nBackfillAttempted to its end, and
 * who dies while checkpointing leaves it there. */
bool foreign_checkpoint_runs(struct source *s, const struct shm_view *v, int64_t now_us)
{
	struct foreign_watch *f = &s->foreign;
	if (v->attempted <= v->backfill || !foreign_checkpoint_lock(s)) {
		f->running_since = 0;
		return false;
	}
	if (f->running_since == 0)
		f->running_since = now_us;
	return now_us - f->running_since < RUNNING_MAX_US;
}

/* Holding CKPT: no checkpoint is under way, so what it wrote it has announced. */
static bool unexplained_for_sure(struct source *s)
{
	struct connection *c = s->pin.helper;
	if (!connection_try_lock(c, CONNECTION_LOCK_CHECKPOINT)) {
		wake_within(&s->wake, 2000);
		return false;
	}
	struct shm_view v;
	bool valid = shm_look(&s->shm, &v);
	bool moved = valid && progressed(&s->foreign, &v);
	if (moved)
		foreign_begin(s, &v);
	connection_unlock(c, CONNECTION_LOCK_CHECKPOINT);
	return valid && !moved;
}

bool foreign_write_seen(
	struct source *s, const struct shm_view *v, const struct identity_stamp *stamp, int64_t now_us)
{
	struct foreign_watch *f = &s->foreign;
	bool still_running = foreign_checkpoint_runs(s, v, now_us);
	bool too_soon = f->reported_us != 0 && now_us - f->reported_us < REPORT_EVERY_US;
	if (f->owed && !too_soon) {
		f->reported_us = now_us;
		return true;
	}
	if (f->owed)
		wake_within(&s->wake, f->reported_us + REPORT_EVERY_US - now_us);
	if (progressed(f, v)) {
		note_progress(f, v);
		take_stamp(s);
		f->running_since = still_running ? now_us : 0;
		return false;
	}
	if (identity_stamp_equal(&f->stamp, stamp, false))
		return false;
	if (still_running) {
		f->stamp = *stamp;
		return false;
	}
	if (too_soon) {
		/* Progress from here on would explain it away. */
		f->owed = true;
		wake_within(&s->wake, f->reported_us + REPORT_EVERY_US - now_us);
		return false;
	}
	if (!unexplained_for_sure(s))
		return false;
	f->reported_us = now_us;
	return true;
}
