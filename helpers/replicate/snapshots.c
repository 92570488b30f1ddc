#include "replicate/snapshots.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "replicate/advice.h"
#include "replicate/snapfile.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND_US INT64_C(1000000)
#define OTHERS_US (10 * SECOND_US) /* other databases of this process are being copied */
#define WANTED_US (60 * SECOND_US) /* a turn that does not begin by then may take long */
#define DELAY_FIRST_US (60 * SECOND_US)
#define DELAY_MAX_US (3600 * SECOND_US)
#define FULL_US (6 * 3600 * SECOND_US) /* somebody must make room first */
#define SPARE_BYTES (UINT64_C(64) << 20)

static char *folder_of(struct replicator *r)
{
	return fs_join(state_dir_path(r->dir), "ltx/9");
}

static enum spool_phase phase_of(struct replicator *r)
{
	pthread_mutex_lock(&r->lock);
	enum spool_phase phase = r->shared.spool;
	pthread_mutex_unlock(&r->lock);
	return phase;
}

/* ---- when it comes to nothing ---- */

static void pause_for(struct making *m, int64_t us)
{
	m->next_us = clock_mono_us() + us;
}

/* A growing pause. Being dropped is no fault: it happens to whatever is staged. */
static void put_off(struct replicator *r, int code, const char *why)
{
	struct making *m = &r->making;
	m->delay_us = m->delay_us ? m->delay_us * 2 : DELAY_FIRST_US;
	if (m->delay_us > DELAY_MAX_US)
		m->delay_us = DELAY_MAX_US;
	pause_for(m, code == ERR_FULL ? FULL_US : m->delay_us);
	m->failures++;
	if (why) {
		snprintf(m->fault, sizeof(m->fault), "no snapshot: %.480s", why);
		m->code = code;
	}
}

/* The spool is upkeep's: away with it. */
static void drop_spool(struct replicator *r)
{
	spool_drop(r->spool);
	spool_release(r);
	pthread_mutex_lock(&r->lock);
	r->shared.spool = SPOOL_NONE;
	pthread_mutex_unlock(&r->lock);
}

static void take_failure(struct replicator *r)
{
	char why[sizeof(r->shared.spool_why)];
	pthread_mutex_lock(&r->lock);
	copy_text(why, sizeof(why), r->shared.spool_why);
	int code = r->shared.spool_code;
	pthread_mutex_unlock(&r->lock);
	drop_spool(r);
	put_off(r, code, code ? why : NULL);
}

/* Asked long ago, and no turn has begun: takes the question back. */
static void take_back(struct replicator *r)
{
	pthread_mutex_lock(&r->lock);
	bool still = r->shared.spool == SPOOL_WANTED;
	if (still)
		r->shared.spool = SPOOL_NONE;
	pthread_mutex_unlock(&r->lock);
	if (!still)
		return;
	spool_release(r);
	put_off(r, ERR_AGAIN, NULL);
}

/* ---- asking for a copy ---- */

/* Copy and file together take the database's size, because the copy goes while the file comes. An
 * incompressible file is a little larger. */
static bool is_room(struct replicator *r, uint64_t db_bytes)
{
	uint64_t need = db_bytes + db_bytes / 8 + SPARE_BYTES, have;
	char why[480];
	if (fs_free_bytes(state_dir_path(r->dir), &have))
		snprintf(
			why, sizeof(why), "cannot look at %s: %s", state_dir_path(r->dir), strerror(errno));
	else if (have < need)
		snprintf(why, sizeof(why),
			"it needs %" PRIu64 " MiB of free space at %s, %" PRIu64 " MiB are there: free some%s",
			need >> 20, state_dir_path(r->dir), have >> 20, advice_space());
	else
		return true;
	put_off(r, ERR_FULL, why);
	return false;
}

static void ask(struct replicator *r, int64_t *wait_us)
{
	struct making *m = &r->making;
	int64_t now = clock_mono_us();
	if (now < m->next_us) {
		*wait_us = m->next_us - now;
		return;
	}
	pthread_mutex_lock(&r->lock);
	const struct shared *s = &r->shared;
	bool can = (s->phase == PHASE_RUN || s->phase == PHASE_RELEASED) && s->order == ORDER_NONE &&
			   s->txid_checksum != 0;
	uint64_t db_bytes = s->db_bytes;
	pthread_mutex_unlock(&r->lock);
	if (!can || !is_room(r, db_bytes)) {
		*wait_us = can ? m->next_us - now : DELAY_FIRST_US;
		return;
	}
	if (!spool_reserve(r, db_bytes)) {
		*wait_us = OTHERS_US;
		return;
	}
	pthread_mutex_lock(&r->lock);
	r->shared.spool = SPOOL_WANTED;
	pthread_mutex_unlock(&r->lock);
	m->wanted_us = now;
	*wait_us = WANTED_US;
}

/* ---- the file ---- */

static void forget_file(struct replicator *r, const char *folder)
{
	snapfile_delete(folder, r->making.file.txid);
	r->making.file.txid = 0;
}

/* A full file that leads as far or further is there: the answer to an earlier put was lost, or this
 * one has become too old. */
static int is_needless(struct replicator *r, uint64_t txid, bool *needless, struct err *e)
{
	struct replica_file *files;
	size_t n;
	*needless = false;
	int rc = inventory_copy(&r->inventory, &files, &n, e);
	for (size_t i = 0; !rc && i < n; i++)
		*needless = *needless || (files[i].min_txid == 1 && files[i].max_txid >= txid);
	if (!rc)
		free(files);
	return rc;
}

/* What an earlier life finished and did not upload. */
static int look_for_file(struct replicator *r, const char *folder, struct err *e)
{
	struct making *m = &r->making;
	if (m->looked)
		return ERR_OK;
	bool needless = false;
	int rc = snapfile_find(folder, &r->cancelled, &m->file, e);
	if (!rc && m->file.txid)
		rc = is_needless(r, m->file.txid, &needless, e);
	if (rc) {
		m->file.txid = 0;
		return rc;
	}
	m->looked = true;
	pthread_mutex_lock(&r->lock);
	uint64_t txid = r->shared.txid;
	pthread_mutex_unlock(&r->lock);
	if (needless || m->file.txid > txid) /* above: an older state was put back */
		forget_file(r, folder);
	if (m->file.txid)
		log_info("%s: the snapshot of TXID %016" PRIx64 " is finished and waits for its upload",
			r->cfg.database, m->file.txid);
	return ERR_OK;
}

/* Not what was recorded: perhaps the database has pages that no frame told of. They are shipped,
 * and then the next copy is right. */
static void ask_for_audit(struct replicator *r)
{
	r->making.mismatches++;
	pthread_mutex_lock(&r->lock);
	r->shared.audit_due = true;
	pthread_mutex_unlock(&r->lock);
}

static int encode(struct replicator *r, const char *folder, struct err *e)
{
	struct making *m = &r->making;
	struct err why = ERR_INIT;
	pthread_mutex_lock(&r->lock);
	struct ltx_header of = r->shared.spool_of;
	pthread_mutex_unlock(&r->lock);
	int rc = snapfile_encode(r->spool, &of, folder, &r->cancelled, &m->file, &why);
	drop_spool(r);
	if (!rc)
		return ERR_OK;
	m->file.txid = 0;
	if (rc == ERR_CANCELLED) {
		*e = why;
		return rc;
	}
	if (rc == ERR_DAMAGED)
		ask_for_audit(r);
	put_off(r, rc, why.text);
	return ERR_OK;
}

static int put_file(struct replicator *r, const char *folder, struct err *e)
{
	struct making *m = &r->making;
	char *path = snapfile_path(folder, m->file.txid);
	if (!path)
		return err_nomem(e, "uploading a snapshot");
	struct put_ltx_how how = {.state_dir = state_dir_path(r->dir)};
	pthread_mutex_lock(&r->lock);
	how.weak = r->shared.weak;
	how.unconditional = r->shared.unconditional;
	pthread_mutex_unlock(&r->lock);
	int rc = snapfile_put(r->store, path, &how, &m->file, e);
	pthread_mutex_lock(&r->lock);
	r->shared.unconditional = r->shared.unconditional || how.unconditional;
	pthread_mutex_unlock(&r->lock);
	free(path);
	return rc;
}

static int upload_file(struct replicator *r, const char *folder,
	int (*may_put)(struct replicator *, struct err *), struct replica_file *made, struct err *e)
{
	struct making *m = &r->making;
	int rc = may_put(r, e);
	if (!rc)
		rc = put_file(r, folder, e);
	if (rc == ERR_CONDITION || rc == ERR_NOT_FOUND || rc == ERR_DAMAGED) {
		/* Another program's, or the file is gone: a later TXID will do. */
		forget_file(r, folder);
		put_off(r, rc, e->text);
		return ERR_OK;
	}
	if (rc)
		return rc;
	*made = snapfile_record(&m->file);
	log_info("%s: snapshot of TXID %016" PRIx64 " uploaded, %" PRIu64 " bytes", r->cfg.database,
		m->file.txid, m->file.size);
	forget_file(r, folder);
	m->delay_us = m->next_us = 0;
	m->fault[0] = '\0';
	m->uploaded++;
	return ERR_OK;
}

/* ---- a step ---- */

static int step(struct replicator *r, const char *folder, bool due,
	int (*may_put)(struct replicator *, struct err *), struct replica_file *made, int64_t *wait_us,
	struct err *e)
{
	struct making *m = &r->making;
	int rc = look_for_file(r, folder, e);
	if (rc)
		return rc;
	switch (phase_of(r)) {
	case SPOOL_FAILED:
		take_failure(r);
		break;
	case SPOOL_READY:
		rc = m->file.txid ? ERR_OK : encode(r, folder, e);
		break;
	case SPOOL_WANTED:
		if (clock_mono_us() - m->wanted_us >= WANTED_US)
			take_back(r);
		else
			*wait_us = WANTED_US;
		break;
	case SPOOL_NONE:
	case SPOOL_COPYING:
	case SPOOL_CUT:
		break;
	}
	if (!rc && m->file.txid)
		return upload_file(r, folder, may_put, made, e);
	if (!rc && due && phase_of(r) == SPOOL_NONE)
		ask(r, wait_us);
	return rc;
}

int snapshot_step(struct replicator *r, bool due, int (*may_put)(struct replicator *, struct err *),
	struct replica_file *made, int64_t *wait_us, struct err *e)
{
	*wait_us = INT64_MAX;
	memset(made, 0, sizeof(*made));
	char *folder = folder_of(r);
	if (!folder)
		return err_nomem(e, "making a snapshot");
	int rc = step(r, folder, due, may_put, made, wait_us, e);
	free(folder);
	return rc;
}

void snapshot_abandon(struct replicator *r)
{
	enum spool_phase phase = phase_of(r);
	if (phase == SPOOL_WANTED)
		take_back(r);
	else if (phase == SPOOL_READY || phase == SPOOL_FAILED)
		drop_spool(r);
}

int snapshot_forget(struct replicator *r, struct err *e)
{
	char *folder = folder_of(r);
	if (!folder)
		return err_nomem(e, "clearing the state folder");
	int rc =
		fs_remove_tree(folder) ? err_errno(e, ERR_IO, errno, "cannot delete %s", folder) : ERR_OK;
	free(folder);
	return rc;
}
