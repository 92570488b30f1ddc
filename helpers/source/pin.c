#include "source/pin.h"

#include <string.h>

static int read_once(struct connection *c, struct err *e)
{
	int rc = connection_begin_read(c, e);
	if (!rc)
		connection_end_read(c);
	return rc;
}

int pin_open(struct pin *p, const char *path, struct err *e)
{
	memset(p, 0, sizeof(*p));
	p->held = &p->con[0];
	p->spare = &p->con[1];
	p->helper = &p->con[2];
	p->open = true;
	int rc = connection_library_init(e);
	for (int i = 0; i < 3 && !rc; i++)
		rc = connection_open(&p->con[i], path, e);
	if (!rc)
		rc = connection_begin_read(p->held, e);
	if (!rc)
		rc = read_once(p->spare, e);
	if (!rc)
		rc = read_once(p->helper, e);
	if (rc)
		pin_close(p);
	return rc;
}

void pin_close(struct pin *p)
{
	for (int i = 0; i < 3 && p->open; i++)
		connection_close(&p->con[i]);
	p->open = false;
}

void pin_close_clean(struct pin *p)
{
	connection_clean_on_close(p->held);
	connection_close(p->spare);
	connection_close(p->helper);
	connection_close(p->held);
	p->open = false;
}

int pin_renew(struct pin *p, const uint8_t salt[8], struct err *e)
{
	int rc = connection_begin_read(p->spare, e);
	if (rc)
		return rc;
	struct connection *old = p->held;
	p->held = p->spare;
	p->spare = old;
	connection_end_read(old);
	memcpy(p->salt, salt, sizeof(p->salt));
	p->renewals++;
	return ERR_OK;
}

unsigned pin_foreign_marks(const struct dbfile *shm)
{
	unsigned held = 0;
	for (int k = 1; k < WAL_INDEX_READ_MARKS; k++)
		if (dbfile_foreign_shm_lock(shm, CONNECTION_LOCK_READ + k, NULL) != DBFILE_UNLOCKED)
			held |= 1u << k;
	return held;
}

bool pin_sidestep(struct pin *p, const struct shm *m, uint32_t frame, unsigned avoid)
{
	for (int k = 1; k < WAL_INDEX_READ_MARKS; k++) {
		if (k == p->held->mark || (avoid & 1u << k))
			continue;
		int lock = CONNECTION_LOCK_READ + k;
		if (shm_read_mark(m, k) != frame && connection_try_lock(p->spare, lock)) {
			shm_set_read_mark(m, k, frame);
			connection_unlock(p->spare, lock);
		}
		if (connection_move_to(p->held, m, k, frame))
			return true;
	}
	return false;
}

static bool lock_free(struct pin *p, int lock)
{
	if (!connection_try_lock(p->helper, lock))
		return false;
	connection_unlock(p->helper, lock);
	return true;
}

bool pin_is_waited_for(const struct dbfile *shm)
{
	pid_t checkpointer = 0, writer = 0;
	if (dbfile_foreign_shm_lock(shm, CONNECTION_LOCK_CHECKPOINT, &checkpointer) ==
			DBFILE_UNLOCKED ||
		dbfile_foreign_shm_lock(shm, CONNECTION_LOCK_WRITE, &writer) == DBFILE_UNLOCKED)
		return false;
	/* 0 = a process that is not visible from here: perhaps the same. */
	return checkpointer == writer || checkpointer == 0 || writer == 0;
}

static bool guard(struct pin *p, const struct dbfile *shm, int64_t now_us)
{
	if (lock_free(p, CONNECTION_LOCK_CHECKPOINT))
		return true;
	if (!pin_is_waited_for(shm)) {
		p->guard_since = 0;
		return false;
	}
	if (p->guard_since == 0)
		p->guard_since = now_us;
	return now_us - p->guard_since >= PIN_GUARD_US;
}

bool pin_may_renew(struct pin *p, const struct dbfile *shm, const uint8_t salt[8], int64_t now_us)
{
	if (p->held->mark != 0)
		return true;
	if (p->guard_passed && memcmp(p->guarded, salt, sizeof(p->guarded)) == 0)
		return true;
	if (!guard(p, shm, now_us))
		return false;
	memcpy(p->guarded, salt, sizeof(p->guarded));
	p->guard_passed = true;
	p->guard_since = 0;
	return true;
}

int pin_recover(struct pin *p, const uint8_t salt[8], struct err *e)
{
	if (!lock_free(p, CONNECTION_LOCK_WRITE))
		return err_set(e, ERR_AGAIN, "a writer holds the WAL's write lock");
	int rc = pin_renew(p, salt, e);
	if (!rc)
		p->recoveries++;
	return rc;
}
