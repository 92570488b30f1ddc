/* The source as an actor: one turn, read from top to bottom. (Contract: source.h.) */
#include "source/internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "source/snapshot.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TURN_BYTES (UINT64_C(16) << 20)
#define BAD_HEADER_US 3000 /* publishing a header takes a microsecond; who is longer is dead */
#define RELEASE_AFTER_US 1000000
#define SCAN_LOOKS 20
#define APP_CHECKPOINTS_US 10000000
#define APP_CHECKPOINTS_PAUSE_US 500
#define RUNNING_FIRST_US 200
#define RUNNING_LAST_US 2000

int source_open(struct source **out, const struct source_config *cfg,
	const struct source_sink *sink, struct source_watch *watch, struct err *e)
{
	int rc = identity_check_path(cfg->path, cfg->any_filesystem, e);
	if (rc && rc != ERR_NOT_FOUND)
		return rc;
	struct source *s = calloc(1, sizeof(*s));
	if (!s)
		return err_nomem(e, "opening the database");
	s->cfg = *cfg;
	s->sink = *sink;
	s->release_after_us = cfg->release_after_us ? cfg->release_after_us : RELEASE_AFTER_US;
	rc = identity_paths_init(&s->paths, cfg->path, e);
	s->cfg.path = s->paths.db;
	if (!rc) {
		s->watch = watch_add(watch, s->paths.db, cfg->user);
		rc = s->watch ? ERR_OK : err_nomem(e, "opening the database");
	}
	if (rc) {
		source_close(s);
		return rc;
	}
	watch_refresh(s->watch);
	err_clear(e);
	*out = s;
	return ERR_OK;
}

void source_close(struct source *s)
{
	if (!s)
		return;
	source_detach(s);
	watch_remove(s->watch);
	identity_paths_free(&s->paths);
	free(s);
}

/* ---- the steps of a turn ---- */

static void tell(struct source_result *r, enum source_event event, const char *why)
{
	r->event = event;
	snprintf(r->reason, sizeof(r->reason), "%s", why);
	r->wait_us = 0;
}

/* Another file took a path's place: hands off, at once. True: detached. */
static bool files_changed(struct source *s, struct identity_stamp *db, struct source_result *r)
{
	char why[256];
	switch (identity_compare(&s->id, &s->paths, db, why, sizeof(why))) {
	case IDENTITY_SAME:
		return false;
	case IDENTITY_GONE:
		tell(r, SOURCE_GONE, why);
		break;
	case IDENTITY_REPLACED:
		tell(r, SOURCE_REPLACED, why);
		break;
	}
	source_detach(s);
	s->compare_next = true;
	return true;
}

/* I7: the position goes to the present end, all pages must be compared. */
static int lose(struct source *s, const char *why, struct source_result *r, struct err *e)
{
	struct shm_view v;
	char reason[sizeof(r->reason)];
	snprintf(reason, sizeof(reason), "%s", why);
	log_warn("%s: %s; comparing all pages", s->paths.db, reason);
	if (s->pin.held->mark > 0)
		pin_renew(&s->pin, s->chain.salt, NULL);
	int rc = ERR_AGAIN;
	for (int i = 0; i < SCAN_LOOKS && rc == ERR_AGAIN; i++) {
		if (shm_look(&s->shm, &v))
			rc = capture_at_end(s, &v, e);
		else
			clock_sleep_us(1000);
	}
	if (rc == ERR_AGAIN)
		err_set(e, ERR_AGAIN, "%s: %s, and its wal-index is invalid", s->paths.db, reason);
	if (rc) {
		source_detach(s);
		s->compare_next = true;
		return rc;
	}
	foreign_begin(s, &v);
	tell(r, SOURCE_LOST, reason);
	return ERR_OK;
}

/* I5: a header that stays invalid is ours to mend. */
static void mend_header(struct source *s, int64_t now_us)
{
	if (s->bad_since_us == 0)
		s->bad_since_us = now_us;
	wake_within(&s->wake, 1000);
	if (now_us - s->bad_since_us < BAD_HEADER_US)
		return;
	struct err why = ERR_INIT;
	if (pin_recover(&s->pin, s->chain.salt, &why)) {
		wake_within(&s->wake, 5000);
		return;
	}
	s->bad_since_us = 0;
	/* The new pin was granted without I3: where it fell on mark 0 it guards nothing unread. */
	s->strict = s->pin.held->mark == 0;
	log_warn(
		"%s: a writer died while it published a commit; its WAL index was recovered", s->paths.db);
}

/* I3: what the first pin did not guard was read; was it still the same WAL at the end? */
static bool strict_reading_held(struct source *s)
{
	struct shm_view v;
	if (!s->strict)
		return true;
	if (!shm_look(&s->shm, &v) || memcmp(v.h.salt, s->chain.salt, sizeof(v.h.salt)) != 0)
		return false;
	s->strict = false;
	return true;
}

/* Everything up to the header is captured: renew the pin, keep the WAL small, see who else is
 * there. */
static int caught_up(struct source *s, const struct shm_view *v, const struct identity_stamp *db,
	int64_t now_us, struct source_result *r, struct err *e)
{
	if (!strict_reading_held(s))
		return lose(s, "the WAL was restarted before its last frames could be read", r, e);
	r->caught_up = true;
	if (foreign_write_seen(s, v, db, now_us))
		return lose(s,
			"the database file was written by something that does not use its -wal (a single "
			"file mounted into a container? mount its folder; or a copy over it)",
			r, e);
	int rc = checkpoint_turn(s, v, now_us, &r->captured, e);
	if (rc)
		return rc;
	bool again = false;
	if (!r->captured && release_if_alone(s, v, now_us, &again)) {
		tell(r, SOURCE_RELEASED, "nobody else has it open");
		r->wait_us = again ? 0 : INT64_MAX;
	}
	return ERR_OK;
}

static int follow(struct source *s, const struct shm_view *v, const struct identity_stamp *db,
	int64_t now_us, struct source_result *r, struct err *e)
{
	const char *why = NULL;
	if (!capture_follow(s, v, now_us, &why))
		return lose(s, why, r, e);
	int rc = capture_frames(s, v, TURN_BYTES, &r->captured, e);
	if (r->captured)
		wake_moved(&s->wake, now_us);
	if (!rc && s->chain.frame < v->h.mx_frame) {
		wake_within(&s->wake, 1);
		rc = checkpoint_outrun(s, v, now_us, &r->captured, e);
	} else if (!rc) {
		rc = caught_up(s, v, db, now_us, r, e);
	}
	return rc == ERR_DAMAGED ? lose(s, e->text, r, e) : rc;
}

/* Who checkpoints waits for us to leave when it is done, at first a millisecond at a time. */
static int64_t running_pause(int64_t since_us)
{
	int64_t pause = since_us / 8;
	return pause < RUNNING_FIRST_US ? RUNNING_FIRST_US
									: (pause > RUNNING_LAST_US ? RUNNING_LAST_US : pause);
}

/*
 * A writer that holds the lock has written its frames, which made an event, and may be at its
 * fsync, for as long as the disk takes; what publishes the commit then makes no event. Asked before
 * the header is read: if the lock was free then, what was written is published.
 */
static bool commit_under_way(const struct source *s, int64_t now_us)
{
	return wake_is_late(&s->wake, now_us) &&
		   dbfile_foreign_shm_lock(s->kept_shm, CONNECTION_LOCK_WRITE, NULL) != DBFILE_UNLOCKED;
}

int source_turn(struct source *s, struct source_result *r, struct err *e)
{
	memset(r, 0, sizeof(*r));
	r->wait_us = INT64_MAX;
	if (!s->attached)
		return err_set(e, ERR_FAIL, "%s is not attached", s->paths.db);
	struct identity_stamp db;
	if (files_changed(s, &db, r))
		return ERR_OK;
	int64_t now_us = clock_mono_us();
	bool event = watch_taken(s->watch);
	if (event)
		wake_moved(&s->wake, now_us);
	if (commit_under_way(s, now_us))
		wake_within(&s->wake, WAKE_WRITER_US);
	struct shm_view v;
	uint64_t frames = s->counts.frames;
	int rc = ERR_OK;
	if (shm_look(&s->shm, &v)) {
		s->bad_since_us = 0;
		if (foreign_checkpoint_runs(s, &v, now_us))
			wake_within(&s->wake, running_pause(now_us - s->foreign.running_since));
		rc = follow(s, &v, &db, now_us, r, e);
	} else {
		mend_header(s, now_us);
	}
	if (wake_heard(&s->wake, event, r->captured, now_us))
		log_warn("%s: inotify tells nothing of its changes: looking each second", s->paths.db);
	if (wake_commits(&s->wake, (uint32_t)(s->counts.frames - frames), now_us))
		watch_mute(s->watch, s->wake.steady);
	/* An app that calls for FULL or TRUNCATE waits for our pin; in growing steps. */
	if (s->wake.steady && s->plan.app_us != 0 && now_us - s->plan.app_us < APP_CHECKPOINTS_US)
		wake_within(&s->wake, APP_CHECKPOINTS_PAUSE_US);
	r->wal_bytes = wal_frame_offset(s->chain.frame + 1, s->page_size);
	if (!rc && r->event == SOURCE_OK)
		r->wait_us = wake_pause(&s->wake, now_us, watch_blind(s->watch));
	return rc;
}

/* ---- the rest of the contract ---- */

int source_scan(struct source *s, uint32_t first, uint32_t count,
	int (*fn)(void *ctx, uint32_t pgno, const void *page, struct err *e), void *ctx,
	uint32_t *n_page, struct err *e)
{
	if (!s->attached)
		return err_set(e, ERR_FAIL, "%s is not attached", s->paths.db);
	struct shm_view v;
	for (int i = 0; i < SCAN_LOOKS; i++) {
		if (!shm_look(&s->shm, &v)) {
			clock_sleep_us(1000);
			continue;
		}
		int rc = snapshot_size(&s->reader, &v, n_page, e);
		return rc ? rc : snapshot_read(&s->reader, &v, *n_page, first, count, fn, ctx, e);
	}
	return err_set(e, ERR_AGAIN, "the wal-index of %s is being written", s->paths.db);
}

bool source_attached(const struct source *s)
{
	return s->attached;
}

void source_set_settled(struct source *s, bool settled)
{
	s->settled = settled;
}

uint32_t source_page_size(const struct source *s)
{
	return s->page_size;
}

uint32_t source_n_page(const struct source *s)
{
	return s->point.n_page;
}

void source_get_point(const struct source *s, struct source_point *out)
{
	*out = s->point;
}

void source_point_taken(struct source *s)
{
	s->point.min_n_page = s->point.n_page;
}

void source_get_counts(const struct source *s, struct source_counts *out)
{
	*out = s->counts;
	out->renewals += s->pin.renewals;
	out->recoveries += s->pin.recoveries;
}

int source_foreign_connections(const char *path)
{
	switch (dbfile_foreign_lock_path(path, NULL)) {
	case DBFILE_UNLOCKED:
		return 0;
	case DBFILE_UNKNOWN:
		return -1;
	default:
		return 1;
	}
}
