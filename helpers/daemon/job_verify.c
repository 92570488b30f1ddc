/*
 * A test restore: into a folder of its own below the database's state folder, compared with what
 * the replicator recorded and, where the daemon says that it is followed, with the live database.
 *
 * The file has no name where the file system can do that (restore/output.h), so a kill leaves at
 * most the folder, which the daemon removes.
 */
#include "base/fs.h"
#include "base/json.h"
#include "conf/state.h"
#include "daemon/jobrun_internal.h"
#include "restore/live.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct verify {
	struct jobrun *job;
	bool compared;
	struct live_result live;
	struct err why_not; /* the comparison with the live database failed */
};

/* Where the state of this TXID is in the live database's WAL; not resumable when that isn't known.
 */
static struct state_position place_of(const struct verify *v, uint64_t txid, uint64_t checksum)
{
	struct state_position unknown = {.resumable = false};
	struct err e = ERR_INIT;
	struct state *s = malloc(sizeof(*s));
	if (!s)
		return unknown;
	bool known = state_peek(v->job->job.state_dir, s, &e) == ERR_OK && s->txid == txid &&
				 s->checksum == checksum && strcmp(s->replica, store_url(v->job->store)) == 0;
	struct state_position at = known ? s->pos : unknown;
	free(s);
	return at;
}

static int examine(
	void *ctx, int fd, uint64_t checksum, const struct restore_result *result, struct err *e)
{
	struct verify *v = ctx;
	if (!v->job->job.live)
		return ERR_OK;
	const struct state_position at = place_of(v, result->txid, checksum);
	int rc = live_compare(v->job->job.path, fd, result->page_size, result->n_page, &at,
		&v->job->cancelled, &v->live, &v->why_not);
	if (rc == ERR_CANCELLED)
		return *e = v->why_not, rc;
	v->compared = rc == ERR_OK;
	if (v->compared && v->live.verdict == LIVE_DIFFERS)
		return err_set(e, ERR_DAMAGED,
			"the replica's latest state is not the live database's, though nothing was committed "
			"since: %u of %u pages differ, the first is page %u of %s",
			(unsigned)v->live.differ, (unsigned)result->n_page, (unsigned)v->live.first,
			v->job->job.path);
	return ERR_OK;
}

static int tell(const struct verify *v, const struct restore_result *result, json_t **out)
{
	int rc = ERR_OK;
	*out = json_object();
	if (!*out)
		return ERR_NOMEM;
	jobrun_put_result(*out, result, &rc);
	if (v->compared)
		json_put_text(*out, "live", v->live.verdict == LIVE_SAME ? "same" : "moved on", &rc);
	else if (v->job->job.live)
		json_put_text(*out, "live_error", v->why_not.text, &rc);
	return rc;
}

static int run_in(struct jobrun *r, const char *folder, json_t **out, struct err *e)
{
	struct verify v = {.job = r, .why_not = ERR_INIT};
	struct restore_result result = {0};
	char *path = fs_join(folder, fs_basename(r->job.path));
	const struct restore_options what = {
		.target = {.txid = r->job.txid, .timestamp_ms = r->job.timestamp_ms},
		.output = path,
		.state_dir = "",
		.progress = jobrun_on_progress,
		.progress_ctx = r,
		.cancelled = &r->cancelled,
		.examine = examine,
		.examine_ctx = &v,
	};
	int rc = path ? restore_run(r->store, &what, &result, e) : err_nomem(e, "verifying");
	if (rc == ERR_OK && tell(&v, &result, out) != ERR_OK)
		rc = err_nomem(e, "telling a result");
	restore_plan_free(&result.plan);
	free(path);
	return rc;
}

int jobrun_verify(struct jobrun *r, json_t **out, struct err *e)
{
	if (!r->job.state_dir)
		return err_set(e, ERR_USAGE, "a test restore needs a state folder");
	char *folder = fs_join(r->job.state_dir, "verify");
	if (!folder)
		return err_nomem(e, "verifying");
	int rc = ERR_OK;
	if (fs_remove_tree(folder) != 0 || mkdir(folder, 0700) != 0)
		rc = err_errno(e, ERR_IO, errno, "cannot make the folder %s", folder);
	if (rc == ERR_OK)
		rc = run_in(r, folder, out, e);
	fs_remove_tree(folder);
	free(folder);
	return rc;
}
