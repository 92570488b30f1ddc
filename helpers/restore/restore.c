/*
 * A restore: attempts until one succeeds, what is left for the replicate that follows, and the file
 * put in its place.
 */
#include "restore/restore.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "conf/followed.h"
#include "restore/attempt.h"
#include "restore/header.h"
#include "restore/sums.h"
#include "restore/v3.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_VANISHED 3
#define YIELD_US 50000
#define YIELD_TRIES 100

/* ---- the end ---- */

static int describe_state(const struct run *r, struct state *s, struct err *e)
{
	struct stat st;
	if (fstat(r->output.fd, &st))
		return err_errno(e, ERR_IO, errno, "cannot look at the restored %s", r->options->output);
	*s = (struct state){
		.dev = st.st_dev,
		.ino = st.st_ino,
		.page_size = r->result->page_size,
		.n_page = r->result->n_page,
		.txid = r->result->txid,
		.checksum = r->checksum,
		.timestamp_ms = r->result->timestamp_ms,
		.last_l0_node_id = r->newest.node_id,
		.restored = true,
		.restored_of = r->choice.highest_txid,
	};
	snprintf(s->replica, sizeof(s->replica), "%s", store_url(r->store));
	char *dir = realpath(r->output.folder.path, NULL);
	snprintf(s->database, sizeof(s->database), "%s/%s", dir ? dir : r->output.folder.path,
		fs_basename(r->options->output));
	free(dir);
	return ERR_OK;
}

static struct pagesums sums_of(struct run *r)
{
	bool mapped;
	uint64_t *list = apply_sums(r->apply, &mapped);
	return (struct pagesums){
		.sums = list,
		.mapped = mapped,
		.n_page = r->result->n_page,
		.page_size = r->result->page_size,
		.txid = r->result->txid,
		.checksum = r->checksum,
	};
}

/* The state goes aside before the database is in place, so that a crash in between leaves both or
 * neither. */
static int leave_pages(struct run *r, struct state *s, struct err *e)
{
	const struct pagesums sums = sums_of(r);
	return leave_prepare(&r->leave, &sums, s, r->output.uid, r->output.gid, e);
}

/*
 * What Litestream 0.3 wrote is no state of the LTX files, so there is no table of its pages either.
 * But a replicate must know that this database is what a person chose to go on with: beside LTX
 * files as beside 0.3's alone, as long as nobody has written to these since.
 */
static int leave_state(struct run *r, struct err *e)
{
	struct state s;
	/* What was only guarded so far is told of the new file with the other replicas'. */
	if (r->guard && r->leave.name &&
		others_are(fs_basename(state_dir_path(r->guard)), fs_basename(r->leave.name))) {
		state_dir_close(r->guard);
		r->guard = NULL;
	}
	bool v3 = r->result->plan.n_v3 > 0;
	int rc = describe_state(r, &s, e);
	if (rc)
		return rc;
	if (v3 && r->choice.highest_txid == 0)
		s.timestamp_ms = r->choice.legacy_ms;
	return v3 ? leave_prepare(&r->leave, NULL, &s, r->output.uid, r->output.gid, e)
			  : leave_pages(r, &s, e);
}

/* Of 0.3's there is a file, which is read once more. */
static int hand_over_sums(struct run *r, struct err *e)
{
	const struct restore_options *o = r->options;
	struct pagesums sums;
	if (r->result->plan.n_v3 == 0) {
		sums = sums_of(r);
		return o->sums(o->sums_ctx, &sums, e);
	}
	pagesums_init(&sums, r->result->page_size);
	int rc = sums_read(&sums, r->output.fd, r->result->n_page, e);
	if (!rc)
		rc = o->sums(o->sums_ctx, &sums, e);
	pagesums_free(&sums);
	return rc;
}

static int finish(struct run *r, struct err *e)
{
	struct err why = ERR_INIT;
	const struct restore_options *o = r->options;
	if (o->sums)
		return hand_over_sums(r, e);
	if (o->examine)
		return o->examine(o->examine_ctx, r->output.fd, r->checksum, r->result, e);
	int rc = integrity_check(r->output.fd, o->integrity, o->cancelled, e);
	if (!rc && o->ready)
		rc = o->ready(o->ready_ctx, r->output.fd, r->checksum, r->result, e);
	if (!rc)
		rc = leave_state(r, e);
	if (!rc)
		rc = output_settle(&r->output, e);
	if (!rc && r->options->cancelled && __atomic_load_n(r->options->cancelled, __ATOMIC_RELAXED))
		rc = err_set(e, ERR_CANCELLED, "the restore was stopped");
	if (!rc)
		rc = output_place(&r->output, e);
	if (rc)
		return rc;
	memcpy(r->result->before, r->output.stamp, sizeof(r->result->before));
	if (!o->target.only_ltx)
		followed_forget(&r->output.folder, r->output.name);
	if (leave_settle(&r->leave, &why))
		log_warn("the database is restored, but its state is not settled yet: %s", why.text);
	leave_end(&r->leave);
	return ERR_OK;
}

/* A replicator that has let go of an idle database holds none of its files, but its state folder:
 * nothing may change under it, whether a state is to be left there or not. */
static int guard(struct run *r, const char *own, struct err *e)
{
	struct stat st;
	if (!r->options->in_place || folder_stat(&r->output.folder, own, &st))
		return ERR_OK;
	return state_dir_open_in(&r->guard, &r->output.folder, own, e);
}

static int begin_leave(struct run *r, struct err *e)
{
	const char *dir = r->options->state_dir;
	char *path = state_default_dir(r->options->output);
	if (!path)
		return err_nomem(e, "restoring");
	const char *own = fs_basename(path);
	bool elsewhere = dir && strcmp(dir, path) != 0;
	int rc = elsewhere ? guard(r, own, e) : ERR_OK;
	if (!rc)
		rc = leave_begin(&r->leave, elsewhere ? NULL : &r->output.folder, elsewhere ? dir : own,
			store_url(r->store), e);
	free(path);
	return rc;
}

/* Where the database was removed just now, the replicator that had it open is about to give up its
 * state folder, too. */
static int begin_leave_soon(struct run *r, struct err *e)
{
	int rc;
	for (int i = 0;; i++) {
		rc = begin_leave(r, e);
		struct stat st;
		bool gone = folder_stat(&r->output.folder, r->output.name, &st) != 0 && errno == ENOENT;
		bool stop =
			r->options->cancelled && __atomic_load_n(r->options->cancelled, __ATOMIC_RELAXED);
		if (rc != ERR_AGAIN || !gone || stop || i == YIELD_TRIES)
			return rc;
		err_clear(e);
		leave_end(&r->leave);
		clock_sleep_us(YIELD_US);
	}
}

static int run_attempts(struct run *r, struct err *e)
{
	for (int vanished = 0;;) {
		int rc = attempt_run(r, e);
		if (!rc)
			return finish(r, e);
		attempt_end(r);
		output_discard(&r->output);
		if (rc == ERR_NOT_FOUND && vanished++ < MAX_VANISHED)
			log_info("a file went away while it was wanted, planning anew: %s", e->text);
		else if (rc == ERR_NOT_FOUND)
			return err_set(e, ERR_DAMAGED, "listed, but not there: %.900s", e->text);
		else if (rc != ERR_AGAIN)
			return rc;
	}
}

/* How large the database would be only its WALs say. */
static int dry_run_v3(struct run *r, struct err *e)
{
	r->result->timestamp_ms = v3_plan_time(&r->result->plan);
	r->result->files = r->result->plan.n_v3;
	r->result->proof = RESTORE_NOT_PROVEN;
	return v3_look(r->store, &r->result->plan, e);
}

static int dry_run(struct run *r, struct err *e)
{
	struct ltx_header h;
	int rc = attempt_plan(r, e);
	const struct restore_plan *plan = &r->result->plan;
	if (!rc && plan->n_v3)
		return dry_run_v3(r, e);
	if (!rc)
		rc = header_read(r->store, &plan->files[plan->count - 1], &h, e);
	if (rc)
		return rc;
	r->result->txid = plan->txid;
	r->result->timestamp_ms = h.timestamp;
	r->result->page_size = h.page_size;
	r->result->n_page = h.commit;
	r->result->bytes = (uint64_t)h.commit * h.page_size;
	r->result->files = plan->count;
	r->result->proof = h.ours && h.after_checksum ? RESTORE_PROVEN : RESTORE_NOT_PROVEN;
	return ERR_OK;
}

int restore_run(struct store *s, const struct restore_options *options,
	struct restore_result *result, struct err *e)
{
	struct run r = {.store = s, .options = options, .result = result, .mismatch = ERR_INIT};
	memset(result, 0, sizeof(*result));
	r.output.fd = -1;
	int rc;
	if (options->dry_run) {
		rc = dry_run(&r, e);
	} else {
		rc = output_init(&r.output, options, e);
		if (!rc)
			rc = begin_leave_soon(&r, e);
		if (!rc)
			rc = run_attempts(&r, e);
		attempt_end(&r);
		if (rc)
			leave_abort(&r.leave);
		output_free(&r.output);
		state_dir_close(r.guard);
	}
	free(r.bans);
	return rc;
}
