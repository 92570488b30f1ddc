#include "restore/leave.h"

#include "base/fs.h"
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *inside(const struct leave *l, const char *name)
{
	return fs_join(l->path, name);
}

/* A node id lives as long as its folder and replica do; a copy of a folder gets its own. */
static int open_dir(struct leave *l, const char *replica, struct err *e)
{
	int rc = state_dir_open(&l->dir, l->path, e);
	if (rc)
		return rc;
	bool copied;
	struct err why = ERR_INIT;
	int found = state_load(l->dir, &l->old, &copied, &why);
	if (found == ERR_DAMAGED)
		log_warn("%s: it is replaced", why.text);
	if (found || copied || strcmp(l->old.replica, replica) != 0)
		memset(&l->old, 0, sizeof(l->old));
	return ERR_OK;
}

int leave_begin(struct leave *l, const char *dir, const char *replica, struct err *e)
{
	memset(l, 0, sizeof(*l));
	if (!*dir)
		return ERR_OK;
	l->path = strdup(dir);
	if (!l->path)
		return err_nomem(e, "restoring");
	/* A folder that isn't there is made when there is something to put into it. */
	struct stat st;
	l->created = lstat(dir, &st) != 0 && errno == ENOENT;
	return l->created ? ERR_OK : open_dir(l, replica, e);
}

/* Root restores for the owner of the folder: its replicator must be able to use this. */
static int give_away(const struct leave *l, uid_t uid, gid_t gid, struct err *e)
{
	static const char *const names[] = {"", "lock", STATE_RESTORED_PAGES, "restored.json"};
	if (geteuid() != 0 || uid == 0)
		return ERR_OK;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char *path = inside(l, names[i]);
		if (!path)
			return err_nomem(e, "leaving the state");
		int rc = lchown(path, uid, gid);
		if (rc && errno == ENOENT) /* not every restore leaves pages */
			rc = ERR_OK;
		else if (rc)
			rc = err_errno(e, ERR_IO, errno, "cannot give %s to uid %ld", path, (long)uid);
		free(path);
		if (rc)
			return rc;
	}
	return ERR_OK;
}

static int save_pages(const struct leave *l, const struct pagesums *sums, struct err *e)
{
	char *path = inside(l, STATE_RESTORED_PAGES);
	if (!path)
		return err_nomem(e, "leaving the page table");
	int rc = pagesums_save(sums, path, e);
	free(path);
	return rc;
}

int leave_prepare(struct leave *l, const struct pagesums *sums, struct state *s, uid_t uid,
	gid_t gid, struct err *e)
{
	if (!l->path)
		return ERR_OK;
	int rc = l->dir ? ERR_OK : state_dir_open(&l->dir, l->path, e);
	if (rc)
		return rc;
	s->node_id = l->old.node_id ? l->old.node_id : state_new_node_id();
	s->prev_node_id = l->old.prev_node_id;
	s->probed = l->old.probed;
	s->weak_fencing = l->old.weak_fencing;
	s->manifest_digest = l->old.manifest_digest;
	l->prepared = true;
	rc = sums ? save_pages(l, sums, e) : ERR_OK;
	if (!rc)
		rc = state_save_restored(l->dir, s, e);
	return rc ? rc : give_away(l, uid, gid, e);
}

int leave_settle(struct leave *l, struct err *e)
{
	return l->dir ? state_settle_restored(l->dir, e) : ERR_OK;
}

void leave_abort(struct leave *l)
{
	struct err e = ERR_INIT;
	if (l->path && l->created)
		fs_remove_tree(l->path);
	else if (l->dir && l->prepared && state_drop_restored(l->dir, &e))
		log_warn("%s", e.text);
	leave_end(l);
}

void leave_end(struct leave *l)
{
	state_dir_close(l->dir);
	l->dir = NULL;
	free(l->path);
	l->path = NULL;
}
