/*
 * Sending the frozen file: what may be put, when (F4, F11), and what an answer means (F2, F3).
 *
 * A process can be stopped, and a machine suspended, for hours between any two lines of this. So a
 * proof that the replica is ours counts from the moment before the store was asked for it, not from
 * the one at which its answer was read; and after a put whose proof has meanwhile grown too old the
 * tail is looked at once more. What was put by then stays where it is: it is one file under a name
 * that had become free, over which no way leads to what the other node wrote (F8).
 */
#include "replicate/internal.h"

#include "base/clock.h"
#include "base/fs.h"
#include "replicate/advice.h"
#include "replicate/fence.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>

#define STALE_MS (INT64_C(90) * 60 * 1000) /* F4 */
#define STALE_WEAK_MS (INT64_C(60) * 1000) /* F11 */
#define ONE_PUT_MAX (UINT64_C(5) << 30)    /* S3's largest PutObject */

/* ---- how old a proof is ---- */

struct moment moment_now(void)
{
	return (struct moment){.wall_ms = clock_wall_ms(), .boot_ms = clock_boot_ms()};
}

bool moment_within(int64_t wall_ms, int64_t boot_ms, int64_t limit_ms)
{
	struct moment now = moment_now();
	int64_t wall = now.wall_ms - wall_ms, boot = now.boot_ms - boot_ms;
	return wall >= 0 && boot >= 0 && wall <= limit_ms && boot <= limit_ms;
}

void confirm(struct replicator *r, const struct moment *asked)
{
	struct state *s = &r->work.state;
	s->confirmed_wall_ms = asked->wall_ms;
	s->confirmed_boot_ms = asked->boot_ms;
	pthread_mutex_lock(&r->lock);
	r->shared.confirmed_wall_ms = s->confirmed_wall_ms;
	r->shared.confirmed_boot_ms = s->confirmed_boot_ms;
	pthread_mutex_unlock(&r->lock);
}

static bool is_fresh(const struct replicator *r, int64_t limit_ms)
{
	const struct state *s = &r->work.state;
	return moment_within(s->confirmed_wall_ms, s->confirmed_boot_ms, limit_ms);
}

/* ---- put ---- */

static int put_body(struct replicator *r, bool only_if_absent, struct err *e)
{
	const struct frozen *f = &r->work.frozen;
	char name[FENCE_NAME_SIZE];
	fence_name(r->store, 0, f->txid, f->txid, name);
	char *path = frozen_path(r->work.folder, f->txid);
	if (!path)
		return err_nomem(e, "uploading");
	int fd = fs_open(path, O_RDONLY | O_NOFOLLOW, 0);
	int rc = fd < 0 ? err_errno(e, ERR_IO, errno, "cannot open %s", path) : ERR_OK;
	free(path);
	struct store_body body = {.fd = fd, .size = f->size};
	struct store_put_opts opts = {
		.only_if_absent = only_if_absent,
		.timestamp_ms = f->header.timestamp,
		.single = f->size <= ONE_PUT_MAX,
	};
	if (!rc)
		rc = store_put(r->store, name, &body, &opts, e);
	fs_close(fd);
	return rc;
}

static int refuse(uint64_t txid, struct err *e)
{
	return err_set(e, ERR_FENCED,
		"another node wrote TXID %016" PRIx64
		" of the replica or what follows it, with other bytes; nothing more is shipped from here: "
		"stop the other one "
		"and restore from the replica, or %s",
		txid, advice_takeover());
}

/* F3: is what stands there ours? */
static int look_at_it(struct replicator *r, struct err *e)
{
	bool same;
	uint64_t txid = r->work.frozen.txid;
	int rc = fence_same(r->store, &r->work.frozen, &same, e);
	if (rc == ERR_NOT_FOUND)
		return err_set(e, ERR_UNREACHABLE,
			"the store says that TXID %016" PRIx64 " is there and that it is not", txid);
	return rc ? rc : same ? ERR_OK : refuse(txid, e);
}

/* F4: behind what we settled there is nothing, or the frozen file. *found: there is something. */
static int look_behind(struct replicator *r, bool *found, struct err *e)
{
	const struct work *w = &r->work;
	uint64_t next;
	bool more;
	struct moment asked = moment_now();
	int rc = fence_tail(r->store, w->state.txid, &next, &more, e);
	*found = !rc && next != 0;
	if (!rc && *found)
		rc = more || next != w->frozen.txid ? refuse(next, e) : look_at_it(r, e);
	if (!rc)
		confirm(r, &asked);
	return rc;
}

int check_tail(struct replicator *r, int64_t limit_ms, struct err *e)
{
	bool found;
	return is_fresh(r, limit_ms) ? ERR_OK : look_behind(r, &found, e);
}

/* F11, weak fencing: look before. *there: it is the frozen file already. */
static int look_before(struct replicator *r, bool *there, struct err *e)
{
	char name[FENCE_NAME_SIZE];
	struct store_object o;
	fence_name(r->store, 0, r->work.frozen.txid, r->work.frozen.txid, name);
	int rc = store_head(r->store, name, &o, e);
	if (rc == ERR_NOT_FOUND) {
		err_clear(e);
		return ERR_OK;
	}
	*there = rc == ERR_OK;
	return rc ? rc : look_at_it(r, e);
}

static void no_conditions(struct replicator *r)
{
	r->work.unconditional = r->work.state.weak_fencing = true;
	pthread_mutex_lock(&r->lock);
	r->shared.unconditional = r->shared.weak = true;
	pthread_mutex_unlock(&r->lock);
}

/* ERR_OK: the replica has it. */
static int put_or_find(struct replicator *r, struct err *e)
{
	struct work *w = &r->work;
	bool there = false;
	int rc = w->state.weak_fencing ? look_before(r, &there, e) : ERR_OK;
	if (rc || there)
		return rc;
	rc = put_body(r, !w->unconditional, e);
	if (rc == ERR_CONDITION)
		return look_at_it(r, e);
	if (rc == ERR_UNSUPPORTED && !w->unconditional) {
		no_conditions(r);
		return put_or_find(r, e);
	}
	return rc;
}

/* It took so long that what was proven before is too old: a name that was free may only have become
 * so. A listing that lacks what was just put is asked by name. */
static int look_again(struct replicator *r, struct err *e)
{
	bool found;
	int rc = look_behind(r, &found, e);
	return rc || found ? rc : look_at_it(r, e);
}

int put_frozen(struct replicator *r, struct err *e)
{
	int64_t limit_ms = r->work.state.weak_fencing ? STALE_WEAK_MS : STALE_MS;
	int rc = check_tail(r, limit_ms, e);
	struct moment asked = moment_now();
	if (!rc)
		rc = put_or_find(r, e);
	if (rc)
		return rc;
	if (!is_fresh(r, limit_ms))
		return look_again(r, e);
	confirm(r, &asked);
	return ERR_OK;
}
