#include "replicate/purge.h"

#include "base/log.h"
#include "conf/state.h"
#include "format/ltxset.h"
#include "replicate/fence.h"
#include "replicate/manifest.h"
#include "replicate/start.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 1000 /* keys in one request, and between two looks at the tail */

struct purge {
	struct store *store;
	struct state state;
	bool copied;
	struct ltx_set set;
	struct ltx_file last; /* the L0 that shows whose the replica is; goes last */
	int level;
	void (*progress)(void *ctx, uint64_t done, uint64_t total);
	void *ctx;
	struct purge_result *out;
};

/* ---- what is there ---- */

static int take_file(void *ctx, const struct store_object *o, struct err *e)
{
	struct purge *p = ctx;
	struct ltx_file f = {.level = p->level, .size = o->size, .modified_ms = o->modified_ms};
	if (!ltx_parse_name(o->name, &f.min_txid, &f.max_txid))
		return ERR_OK; /* somebody else's */
	return ltxset_add(&p->set, &f) ? err_nomem(e, "listing the replica") : ERR_OK;
}

static int list(struct purge *p, struct err *e)
{
	int rc = ERR_OK;
	for (p->level = 0; rc == ERR_OK && p->level < LTX_LEVELS; p->level++) {
		char prefix[16];
		store_level_prefix(p->store, p->level, prefix);
		rc = store_list(p->store, prefix, NULL, 0, take_file, p, e);
	}
	ltxset_sort(&p->set);
	return rc;
}

/* ---- is it ours? ---- */

static int refuse(const struct purge *p, const char *why, struct err *e)
{
	return err_set(e, ERR_FENCED, "%s is not deleted: %s", store_url(p->store), why);
}

static int load(struct purge *p, struct state_dir *dir, struct err *e)
{
	int rc = state_load(dir, &p->state, &p->copied, e);
	if (rc == ERR_NOT_FOUND || rc == ERR_DAMAGED)
		return refuse(p, "nothing here shows that it was written by this host", e);
	if (rc != ERR_OK)
		return rc;
	if (strcmp(p->state.replica, store_url(p->store)) != 0)
		return refuse(p, "what was written from here went to another URL", e);
	if (strcmp(p->state.stopped, "fenced") == 0)
		return refuse(p, p->state.reason[0] ? p->state.reason : "it is fenced", e);
	return ERR_OK;
}

/* F6: by the rule that lets a replicator go on without a claim, and by no other. */
static int check_ours(struct purge *p, struct err *e)
{
	const struct ltx_file *last = ltxset_last_l0(&p->set);
	struct start_facts f = {.state = &p->state, .copied = p->copied};
	struct start_plan plan;
	struct err why = ERR_INIT;
	f.max_txid = ltxset_max_txid(&p->set);
	f.last_is_l0 = last && last->max_txid == f.max_txid;
	if (!f.last_is_l0)
		return refuse(p, "its last file is no upload: it was not written by this version", e);
	int rc = fence_header(p->store, 0, last->min_txid, last->max_txid, &f.last, e);
	if (rc != ERR_OK)
		return rc;
	start_decide(&f, &plan, &why);
	if (plan.kind != START_CONTINUE)
		return refuse(p, why.text[0] ? why.text : "this host did not write its last upload", e);
	p->last = *last;
	return ERR_OK;
}

/* F4 */
static int check_tail(struct purge *p, struct err *e)
{
	uint64_t next = 0;
	bool more;
	int rc = fence_tail(p->store, p->last.max_txid, &next, &more, e);
	if (rc == ERR_OK && next != 0)
		rc = err_set(e, ERR_FENCED, "another node writes to %s: it has TXID %016" PRIx64 " now",
			store_url(p->store), next);
	return rc;
}

/* ---- deleting ---- */

static bool is_last(const struct purge *p, const struct ltx_file *f)
{
	return f->level == 0 && f->min_txid == p->last.min_txid && f->max_txid == p->last.max_txid;
}

static int delete_files(
	struct purge *p, const struct ltx_file *const *files, size_t n, struct err *e)
{
	char(*text)[FENCE_NAME_SIZE] = calloc(n, sizeof(*text));
	const char **names = calloc(n, sizeof(*names));
	struct store_delete_result *gone = calloc(n, sizeof(*gone));
	int rc = text && names && gone ? ERR_OK : err_nomem(e, "deleting");
	for (size_t i = 0; rc == ERR_OK && i < n; i++) {
		fence_name(p->store, files[i]->level, files[i]->min_txid, files[i]->max_txid, text[i]);
		names[i] = text[i];
		gone[i].code = ERR_FAIL; /* an answer that doesn't come is none */
	}
	if (rc == ERR_OK)
		rc = store_delete(p->store, names, n, gone, e);
	for (size_t i = 0; gone && names && i < n; i++) {
		bool is_gone = names[i] && gone[i].code == ERR_OK;
		p->out->files += is_gone;
		p->out->bytes += is_gone ? files[i]->size : 0;
	}
	free(text);
	free(names);
	free(gone);
	return rc;
}

static int delete_others(struct purge *p, struct err *e)
{
	const struct ltx_file *batch[BATCH];
	int rc = ERR_OK;
	for (size_t i = 0, n = 0; rc == ERR_OK && i < p->set.count; i++) {
		if (!is_last(p, &p->set.files[i]))
			batch[n++] = &p->set.files[i];
		if (n == 0 || (n < BATCH && i + 1 < p->set.count))
			continue;
		rc = check_tail(p, e);
		if (rc == ERR_OK)
			rc = delete_files(p, batch, n, e);
		if (rc == ERR_OK && p->progress)
			p->progress(p->ctx, p->out->files, p->set.count);
		n = 0;
	}
	return rc;
}

static int delete_manifest(struct purge *p, struct err *e)
{
	const char *name = MANIFEST_NAME;
	struct store_delete_result gone = {.code = ERR_FAIL};
	int rc = check_tail(p, e);
	if (rc == ERR_OK)
		rc = store_delete(p->store, &name, 1, &gone, e);
	p->out->manifest = rc == ERR_OK;
	return rc;
}

static int delete_all(struct purge *p, struct err *e)
{
	const struct ltx_file *last = &p->last;
	int rc = delete_others(p, e);
	if (rc == ERR_OK)
		rc = delete_manifest(p, e);
	if (rc == ERR_OK)
		rc = delete_files(p, &last, 1, e);
	if (rc == ERR_OK && p->progress)
		p->progress(p->ctx, p->out->files, p->set.count);
	if (rc != ERR_OK)
		err_wrap(e, "%" PRIu64 " of %zu files of the replica are left",
			(uint64_t)p->set.count - p->out->files, p->set.count);
	return rc;
}

static bool is_file_of_a_level(void *ctx, const struct store_unfinished *u)
{
	const struct purge *p = ctx;
	struct ltx_file f;
	return fence_parse_name(p->store, u->name, &f);
}

/* Their parts would be paid for, and nobody looks here any more. */
static void end_unfinished(struct purge *p)
{
	struct err why = ERR_INIT;
	size_t n = 0;
	if (store_end_unfinished(p->store, "", is_file_of_a_level, p, &n, &why))
		log_info("%s; whether parts of uploads are left is not known", why.text);
	if (n)
		log_info("%zu unfinished upload%s given up", n, n == 1 ? " was" : "s were");
}

static int run(struct purge *p, struct state_dir *dir, struct err *e)
{
	struct err ignored = ERR_INIT;
	int rc = list(p, e);
	if (rc != ERR_OK || p->set.count == 0)
		return rc;
	rc = load(p, dir, e);
	if (rc == ERR_OK)
		rc = check_ours(p, e);
	if (rc == ERR_OK)
		rc = delete_all(p, e);
	if (rc == ERR_OK)
		end_unfinished(p);
	if (store_versioned(p->store, &p->out->versioned, &ignored))
		log_debug("whether the bucket keeps versions is not known: %s", ignored.text);
	return rc;
}

int purge_replica(struct store *s, const char *state_dir,
	void (*progress)(void *ctx, uint64_t done, uint64_t total), void *ctx, struct purge_result *out,
	struct err *e)
{
	struct state_dir *dir = NULL;
	*out = (struct purge_result){0};
	struct purge *p = calloc(1, sizeof(*p));
	if (!p)
		return err_nomem(e, "deleting a replica");
	p->store = s;
	p->progress = progress;
	p->ctx = ctx;
	p->out = out;
	ltxset_init(&p->set);
	int rc = state_dir_open(&dir, state_dir, e);
	if (rc == ERR_OK)
		rc = run(p, dir, e);
	state_dir_close(dir);
	ltxset_free(&p->set);
	free(p);
	return rc;
}
