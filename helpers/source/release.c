/*
 * Letting go of a database that nobody else has open.
 *
 * While we are connected an app's last close leaves -wal and -shm behind, and whoever then copies
 * another database over the file gets a corrupt one. So when nobody else is connected we do what
 * the app's last close would have done without us: backfill, close, and let -wal and -shm vanish.
 *
 * What the file looked like then is remembered. If it looks the same at the next attach, and
 * nothing of the new WAL was backfilled, then nobody wrote it in between: the new WAL holds all
 * that happened. File times are as coarse as the kernel's tick, so the file must have been quiet
 * for STAMP_AGE_MS before its stamp counts. A stamp that no checkpoint explains (foreign.c) does
 * not count either: what it stands for was not compared yet.
 */
#include "source/internal.h"

#include "base/clock.h"
#include "base/log.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STAMP_AGE_MS 100
#define RELEASE_AFTER_US 1000000

static bool is_alone(struct source *s, int64_t now_us)
{
	int64_t after = s->release_after_us ? s->release_after_us : RELEASE_AFTER_US;
	if (dbfile_foreign_lock(s->kept, NULL) != DBFILE_UNLOCKED || dbfile_shared(s->kept)) {
		s->alone_since_us = 0;
		return false;
	}
	if (s->alone_since_us == 0)
		s->alone_since_us = now_us;
	if (now_us - s->alone_since_us >= after)
		return true;
	wake_within(&s->wake, s->alone_since_us + after - now_us);
	return false;
}

static bool old_enough(const struct stat *st)
{
	int64_t written_ms = (int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000;
	return clock_wall_ms() - written_ms >= STAMP_AGE_MS;
}

static void remember(struct source *s, const struct stat *before)
{
	struct stat after;
	struct left_behind *l = &s->left;
	memset(l, 0, sizeof(*l));
	if (fstat(dbfile_fd(s->kept), &after))
		return;
	identity_stamp_of(&after, &l->stamp);
	struct identity_stamp was;
	identity_stamp_of(before, &was);
	l->file = s->id.db;
	l->valid = old_enough(before) && identity_stamp_equal(&was, &l->stamp, true) &&
			   identity_stamp_equal(&was, &s->foreign.stamp, false) && !s->foreign.owed &&
			   access(s->paths.wal, F_OK) != 0;
}

/* Is the file that stands there as we left it, and no -wal beside it? */
static bool nobody_came(const struct source *s)
{
	struct stat st;
	if (!s->left.valid || stat(s->paths.db, &st))
		return false;
	struct identity_stamp now;
	identity_stamp_of(&st, &now);
	return identity_stamp_equal(&s->left.stamp, &now, true) && access(s->paths.wal, F_OK) != 0;
}

static void let_go(struct source *s, const struct stat *before, bool *again)
{
	/* Our own close must not wake us. */
	watch_deafen(s->watch);
	pin_close_clean(&s->pin);
	remember(s, before);
	source_detach(s);
	s->alone_since_us = 0;
	watch_hear(s->watch);
	/* Whoever came and went while we were deaf left the file changed, if anything. */
	*again = !nobody_came(s);
}

/* The last thing done is to look: whatever is committed after that is found at the next start, in
 * the WAL or, where our close checkpointed it, by comparing pages. */
static bool may_close_clean(struct source *s)
{
	struct shm_view v;
	char why[256];
	return s->attached && s->settled && !s->strict && shm_look(&s->shm, &v) &&
		   s->chain.frame == v.h.mx_frame &&
		   memcmp(s->chain.salt, v.h.salt, sizeof(v.h.salt)) == 0 &&
		   identity_compare(&s->id, &s->paths, NULL, why, sizeof(why)) == IDENTITY_SAME;
}

void source_leave(struct source *s)
{
	if (may_close_clean(s))
		pin_close_clean(&s->pin);
	source_detach(s);
}

bool release_if_alone(struct source *s, const struct shm_view *v, int64_t now_us, bool *again)
{
	/* Who sees nothing could not come back in time. */
	bool blind = watch_blind(s->watch) || wake_is_deaf(&s->wake);
	if (!s->settled || s->chain.frame != v->h.mx_frame || s->strict || blind) {
		s->alone_since_us = 0;
		return false;
	}
	if (!is_alone(s, now_us))
		return false;
	struct stat st;
	if (fstat(dbfile_fd(s->kept), &st))
		return false;
	if (v->backfill < v->h.mx_frame) {
		checkpoint_passive(s, s->pin.helper);
		s->counts.checkpoints++;
		wake_within(&s->wake, 10000);
		return false;
	}
	if (!old_enough(&st) && st.st_mtim.tv_sec <= clock_wall_ms() / 1000) {
		wake_within(&s->wake, STAMP_AGE_MS * 1000);
		return false;
	}
	let_go(s, &st, again);
	return true;
}

bool release_untouched(const struct source *s, const struct shm_view *v)
{
	struct stat st;
	if (!s->left.valid || v->backfill != 0 || fstat(dbfile_fd(s->kept), &st))
		return false;
	struct identity_stamp now;
	identity_stamp_of(&st, &now);
	return st.st_dev == s->left.file.dev && st.st_ino == s->left.file.ino &&
		   identity_stamp_equal(&s->left.stamp, &now, true);
}
