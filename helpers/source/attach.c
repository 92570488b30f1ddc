/* Opening a database, taking the first pin, and finding out where to go on; and letting it all go.
 */
#include "source/internal.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "format/dbheader.h"

#include <errno.h>
#include <string.h>

#define PEERS_PAUSE_US 5000
#define EXCLUSIVE_WAL_US 2000000       /* so long nobody holds it for a last close */
#define EXCLUSIVE_ROLLBACK_US 10000000 /* a large commit may */
#define SWITCH_SPIN_US 100000
#define LOOK_TRIES 20
#define RELEASE_MAX_US (3600 * INT64_C(1000000))

static int read_db_header(struct source *s, struct db_header *h, struct err *e)
{
	uint8_t raw[DB_HEADER_SIZE];
	struct stat st;
	if (fstat(dbfile_fd(s->kept), &st))
		return err_errno(e, ERR_IO, errno, "cannot look at %s", s->paths.db);
	if (st.st_size == 0)
		return err_set(e, ERR_NOT_FOUND, "%s is empty: no database yet", s->paths.db);
	if (fs_pread_full(dbfile_fd(s->kept), raw, sizeof(raw), 0)) {
		if (errno == ENODATA)
			return err_set(
				e, ERR_DATABASE, "%s is not a SQLite database: it is too short", s->paths.db);
		return err_errno(e, ERR_IO, errno, "cannot read %s", s->paths.db);
	}
	int rc = db_header_decode(raw, h, e);
	if (rc)
		return err_wrap(e, "%s", s->paths.db);
	if (h->read_version > 2 || h->write_version > 2)
		return err_set(e, ERR_DATABASE,
			"%s uses journal mode WAL2, which this program can't follow: switch it to WAL "
			"(PRAGMA journal_mode=DELETE, then PRAGMA journal_mode=WAL)",
			s->paths.db);
	return ERR_OK;
}

/* Busy is either a moment or an app that never lets anybody in. */
static int explain_busy(struct source *s, const struct db_header *h, struct err *e)
{
	pid_t pid = 0;
	int64_t now_us = clock_mono_us();
	if (dbfile_foreign_lock(s->kept, &pid) != DBFILE_EXCLUSIVE) {
		s->busy_since_us = 0;
		return ERR_AGAIN;
	}
	if (s->busy_since_us == 0)
		s->busy_since_us = now_us;
	int64_t most = h->write_version == 2 ? EXCLUSIVE_WAL_US : EXCLUSIVE_ROLLBACK_US;
	if (now_us - s->busy_since_us < most)
		return ERR_AGAIN;
	return err_set(e, ERR_DATABASE,
		"process %ld keeps %s locked exclusively: an app with PRAGMA locking_mode=EXCLUSIVE can't "
		"be replicated; use locking_mode=NORMAL",
		(long)pid, s->paths.db);
}

static int set_wal(struct connection *c, struct err *e)
{
	/* The switch reads the schema; what of it our library does not understand must not matter. */
	sqlite3_db_config(c->db, SQLITE_DBCONFIG_WRITABLE_SCHEMA, 1, NULL);
	c->spin_until_us = clock_mono_us() + SWITCH_SPIN_US;
	int rc = sqlite3_exec(c->db, "PRAGMA journal_mode=WAL", NULL, NULL, NULL);
	return rc == SQLITE_OK ? ERR_OK : connection_error(c, rc, "cannot switch to WAL mode:", e);
}

static int switch_to_wal(struct source *s, struct db_header *h, struct err *e)
{
	struct connection c;
	int rc = connection_library_init(e);
	if (!rc)
		rc = connection_open(&c, s->paths.db, e);
	if (rc)
		return rc;
	rc = set_wal(&c, e);
	connection_close(&c);
	if (rc)
		return rc;
	rc = read_db_header(s, h, e);
	if (!rc && h->write_version != 2)
		rc = err_set(e, ERR_AGAIN, "%s could not be switched to WAL mode", s->paths.db);
	if (!rc)
		log_info("%s: switched from a rollback journal to WAL mode", s->paths.db);
	return rc;
}

static bool look_for_a_while(const struct shm *m, struct shm_view *v)
{
	for (int i = 0; i < LOOK_TRIES; i++) {
		if (shm_look(m, v))
			return true;
		clock_sleep_us(1000);
	}
	return false;
}

/*
 * A WAL without a header has no salts: a position before its first frame is the same as that of
 * every other WAL that was made, folded in and deleted since. It proves nothing.
 */
static bool names_incarnation(const struct state_position *at)
{
	static const uint8_t none[sizeof(at->salt)];
	return at->frame > 0 || memcmp(at->salt, none, sizeof(none)) != 0;
}

/* Right behind where an earlier life, or we before letting go, stopped? */
static bool resume(struct source *s, const struct state_position *at, const struct shm_view *v)
{
	struct walread_chain *c = &s->chain;
	if (s->compare_next)
		return false;
	if (release_untouched(s, v)) {
		walread_at_start(c, &v->h);
		return true;
	}
	if (!at || !at->resumable || !names_incarnation(at) ||
		memcmp(at->salt, v->h.salt, sizeof(at->salt)) != 0 || at->frame > v->h.mx_frame)
		return false;
	if (at->frame > 0 && !walread_holds(&s->reader, at->salt, at->frame, at->cksum))
		return false;
	walread_at_start(c, &v->h);
	c->frame = at->frame;
	memcpy(c->cksum, at->cksum, sizeof(c->cksum));
	c->known = at->frame > 0;
	return true;
}

static int first_position(
	struct source *s, const struct state_position *at, bool *resumed, struct err *e)
{
	struct shm_view v;
	if (!look_for_a_while(&s->shm, &v))
		return err_set(e, ERR_AGAIN, "the wal-index of %s is being written", s->paths.db);
	bool was_left = s->left.valid;
	s->point.min_n_page = UINT32_MAX;
	int rc = capture_at_end(s, &v, e);
	if (rc)
		return rc;
	*resumed = resume(s, at, &v);
	/* I3: the first pin on mark 0 guards no frame that we have not read yet. */
	s->strict = *resumed && s->pin.held->mark == 0 && s->chain.frame < v.h.mx_frame;
	capture_note_position(s);
	foreign_begin(s, &v);
	s->compare_next = false;
	s->left.valid = false;
	if (was_left && !*resumed) {
		/* Letting go cost a comparison of all pages: an app of short processes. Wait longer. */
		int64_t after = s->release_after_us * 8;
		s->release_after_us = after < RELEASE_MAX_US ? after : RELEASE_MAX_US;
	}
	return ERR_OK;
}

static int open_files(struct source *s, struct err *e)
{
	struct db_header h;
	int rc = identity_check_path(s->paths.db, s->cfg.any_filesystem, e);
	if (!rc)
		rc = dbfile_open(&s->kept, s->paths.db, e);
	if (!rc)
		rc = read_db_header(s, &h, e);
	if (!rc && h.write_version != 2)
		rc = switch_to_wal(s, &h, e);
	if (!rc)
		rc = pin_open(&s->pin, s->paths.db, e);
	if (rc == ERR_AGAIN && s->kept)
		return explain_busy(s, &h, e);
	if (rc)
		return rc;
	s->busy_since_us = 0;
	s->page_size = h.page_size;
	return ERR_OK;
}

static int know_files(struct source *s, struct err *e)
{
	int rc = shm_map(&s->shm, s->pin.con[0].file, e);
	if (!rc)
		rc = dbfile_open(&s->kept_shm, s->paths.shm, e);
	if (!rc)
		rc = identity_take(&s->id, &s->paths, e);
	struct stat st;
	if (!rc &&
		(fstat(dbfile_fd(s->kept), &st) || st.st_ino != s->id.db.ino || st.st_dev != s->id.db.dev))
		rc = err_set(e, ERR_AGAIN, "%s is being replaced", s->paths.db);
	s->reader = (struct walread){&s->pin.con[0], &s->shm, s->page_size};
	return rc;
}

int source_attach(struct source *s, const struct state_position *at, bool *resumed, struct err *e)
{
	*resumed = false;
	if (s->attached)
		return err_set(e, ERR_FAIL, "%s is attached already", s->paths.db);
	watch_refresh(s->watch);
	int rc = open_files(s, e);
	if (!rc)
		rc = know_files(s, e);
	if (!rc)
		rc = first_position(s, at, resumed, e);
	if (rc) {
		source_detach(s);
		return rc;
	}
	s->attached = true;
	memset(&s->plan, 0, sizeof(s->plan));
	s->plan.began_us = clock_mono_us();
	memset(&s->wake, 0, sizeof(s->wake));
	s->wake.most_us = s->cfg.peers ? PEERS_PAUSE_US : 0; /* they wait for us (barrier.c) */
	watch_mute(s->watch, false);
	s->bad_since_us = s->alone_since_us = 0;
	wake_moved(&s->wake, clock_mono_us());
	watch_refresh(s->watch);
	return ERR_OK;
}

void source_detach(struct source *s)
{
	s->counts.renewals += s->pin.renewals;
	s->counts.recoveries += s->pin.recoveries;
	s->pin.renewals = s->pin.recoveries = 0;
	pin_close(&s->pin);
	dbfile_close(s->kept_shm);
	dbfile_close(s->kept);
	s->kept = s->kept_shm = NULL;
	s->attached = false;
}
