/* From the WAL into the sink: which frames, and where they end a transaction. */
#include "source/internal.h"

#include "base/log.h"
#include "format/ltx.h"
#include "source/snapshot.h"

#include <inttypes.h>
#include <string.h>

struct capture {
	struct source *s;
	uint32_t lock_page;
};

static void note_size(struct source_point *p, uint32_t n_page)
{
	p->n_page = n_page;
	if (n_page < p->min_n_page)
		p->min_n_page = n_page;
}

void capture_note_position(struct source *s)
{
	struct state_position *pos = &s->point.pos;
	pos->resumable = (s->chain.known || s->chain.frame == 0) && !s->chain.unverified;
	memcpy(pos->salt, s->chain.salt, sizeof(pos->salt));
	pos->frame = s->chain.frame;
	memcpy(pos->cksum, s->chain.cksum, sizeof(pos->cksum));
}

static int take_frame(void *ctx, const struct wal_frame_header *fh, const void *page, struct err *e)
{
	struct capture *c = ctx;
	struct source *s = c->s;
	s->counts.frames++;
	s->counts.bytes += WAL_FRAME_HEADER_SIZE + (uint64_t)s->page_size;
	int rc = ERR_OK;
	if (fh->pgno != c->lock_page)
		rc = s->sink.page(s->sink.ctx, fh->pgno, page, e);
	if (rc || fh->commit == 0)
		return rc;
	note_size(&s->point, fh->commit);
	capture_note_position(s);
	return s->sink.commit(s->sink.ctx, &s->point, e);
}

int capture_frames(
	struct source *s, const struct shm_view *v, uint64_t max_bytes, bool *captured, struct err *e)
{
	if (s->chain.frame >= v->h.mx_frame)
		return ERR_OK;
	struct capture c = {s, ltx_lock_page(s->page_size)};
	uint64_t most = max_bytes / (WAL_FRAME_HEADER_SIZE + (uint64_t)s->page_size);
	uint32_t to = v->h.mx_frame;
	if (to - s->chain.frame > most)
		to = s->chain.frame + (most ? (uint32_t)most : 1);
	uint64_t unverified = 0;
	int rc = walread_frames(&s->reader, &s->chain, &v->h, to, take_frame, &c, &unverified, e);
	if (unverified > 0)
		log_warn("%s: %" PRIu64
				 " committed frames of the WAL carry no checksum (an app with SQLite "
				 "3.11 to 3.49, ROLLBACK TO a savepoint): taken as the index names them",
			s->paths.db, unverified);
	s->counts.unverified += unverified;
	s->dirty = true;
	*captured = true;
	return rc;
}

/* A recovery that went back, and new frames up to the very same number: the checksum differs. */
static bool is_rewritten(const struct walread_chain *c, const struct wal_index_header *h)
{
	return c->known && c->frame > 0 && c->frame == h->mx_frame &&
		   memcmp(c->cksum, h->frame_cksum, sizeof(c->cksum)) != 0;
}

/* Was the WAL cut off since it ended at this frame? By a TRUNCATE: who starts it anew writes over
 * it. */
static bool was_truncated(const struct source *s, uint32_t frame)
{
	sqlite3_file *wal = connection_wal(s->pin.held);
	sqlite3_int64 size = 0;
	return wal && wal->pMethods->xFileSize(wal, &size) == SQLITE_OK &&
		   (uint64_t)size < wal_frame_offset(frame + 1, s->page_size);
}

bool capture_follow(struct source *s, const struct shm_view *v, int64_t now_us, const char **why)
{
	bool same = memcmp(v->h.salt, s->chain.salt, sizeof(s->chain.salt)) == 0;
	if (same && v->h.mx_frame >= s->chain.frame && !is_rewritten(&s->chain, &v->h))
		return true;
	if (same) {
		*why = "a recovery of the WAL went back behind what was captured";
		return false;
	}
	if (s->strict) {
		*why = "the WAL was restarted before its last frames could be read";
		return false;
	}
	if (s->pin.held->mark != 0 && s->chain.frame > 0) {
		*why = "the WAL was restarted although a read mark of ours was held";
		return false;
	}
	if (was_truncated(s, s->chain.frame)) {
		s->plan.emptied_us = now_us; /* even where there was nothing left to do for it */
		s->plan.app_us = s->plan.ours ? s->plan.app_us : now_us;
	}
	walread_at_start(&s->chain, &v->h);
	capture_note_position(s);
	s->counts.restarts++;
	s->plan.ours = false;
	s->plan.tried_at = 0;
	s->plan.gate_since_us = 0;
	s->plan.stopped = false;
	s->plan.began_us = now_us;
	s->plan.quick = 0;
	return true;
}

int capture_at_end(struct source *s, const struct shm_view *v, struct err *e)
{
	uint32_t n_page = 0;
	int rc = snapshot_size(&s->reader, v, &n_page, e);
	if (rc)
		return rc;
	walread_at_end(&s->chain, &v->h);
	note_size(&s->point, n_page);
	capture_note_position(s);
	s->strict = false;
	s->dirty = true;
	return ERR_OK;
}
