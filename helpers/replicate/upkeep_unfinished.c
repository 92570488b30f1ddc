/*
 * Uploads in parts that nobody finished. No listing shows them, and their parts are paid for until
 * somebody gives them up. A put that fails does so itself, or goes on later (resume.h); what is
 * left is what a crash left, whose file or state folder went too.
 *
 * Asked for beside the listing of an audit, and only where a file was ever large enough to be sent
 * in parts: other replicas have no request for it.
 */
#include "replicate/upkeep.h"

#include "base/log.h"
#include "replicate/fence.h"
#include "replicate/putltx.h"
#include "replicate/resume.h"

#include <stdlib.h>

#define DAY_MS (INT64_C(24) * 3600 * 1000)

/* Under the name of a file of a level, and either recorded as ours or so old that no replicator is
 * at it any more. */
static bool is_left(void *ctx, const struct store_unfinished *u)
{
	const struct replicator *r = ctx;
	struct ltx_file f;
	if (!fence_parse_name(r->store, u->name, &f))
		return false;
	switch (resume_look(state_dir_path(r->dir), f.level, f.min_txid, f.max_txid)) {
	case RESUME_WAITS:
		return false;
	case RESUME_ORPHAN:
		return true;
	case RESUME_NONE:
		break;
	}
	return u->age_ms >= DAY_MS;
}

static int is_possible(struct replicator *r, bool *possible, struct err *e)
{
	struct replica_file *files;
	size_t n;
	*possible = resume_any(state_dir_path(r->dir));
	if (*possible)
		return ERR_OK;
	int rc = inventory_copy(&r->inventory, &files, &n, e);
	for (size_t i = 0; !rc && i < n; i++)
		*possible = *possible || put_ltx_in_parts(files[i].size);
	if (!rc)
		free(files);
	return rc;
}

/* Told once: what can't be asked, or is denied, will be so again. */
static void give_up(struct replicator *r, struct err *e)
{
	r->upkeep.unfinished_refused = true;
	log_info("%s: unfinished uploads are not looked for: %s; let a lifecycle rule of the bucket "
			 "remove them",
		r->cfg.database, e->text);
	err_clear(e);
}

int upkeep_unfinished(struct replicator *r, bool audited, struct err *e)
{
	bool possible = false;
	size_t n = 0;
	if (!audited || r->upkeep.unfinished_refused)
		return ERR_OK;
	int rc = is_possible(r, &possible, e);
	if (rc || !possible)
		return rc;
	rc = upkeep_gate(r, e);
	if (!rc)
		rc = store_end_unfinished(r->store, "", is_left, r, &n, e);
	if (n)
		log_info("%s: %zu unfinished upload%s of an earlier life given up", r->cfg.database, n,
			n == 1 ? " was" : "s were");
	if (rc == ERR_DENIED || rc == ERR_UNSUPPORTED)
		give_up(r, e);
	else if (rc)
		return rc;
	resume_drop_orphans(state_dir_path(r->dir));
	return ERR_OK;
}
