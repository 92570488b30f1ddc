#include "restore/leave.h"

#include "base/fs.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* One beside the database is in a folder in which others may write; another one is named by who
 * restores. */
static int open_state(struct leave *l, struct err *e)
{
	return l->beside ? state_dir_open_in(&l->dir, l->beside, l->name, e)
					 : state_dir_open(&l->dir, l->name, e);
}

/* A node id lives as long as its folder and replica do; a copy of a folder gets its own. */
static int open_dir(struct leave *l, const char *replica, struct err *e)
{
	int rc = open_state(l, e);
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

int leave_begin(struct leave *l, const struct folder *beside, const char *name, const char *replica,
	struct err *e)
{
	memset(l, 0, sizeof(*l));
	if (!*name)
		return ERR_OK;
	l->beside = beside;
	l->name = strdup(name);
	if (!l->name)
		return err_nomem(e, "restoring");
	/* A folder that isn't there is made when there is something to put into it. */
	struct stat st;
	l->created =
		(beside ? folder_stat(beside, name, &st) : lstat(name, &st)) != 0 && errno == ENOENT;
	return l->created ? ERR_OK : open_dir(l, replica, e);
}

/* A file in the folder, unless somebody put there what isn't ours to give: another's file under one
 * more name. */
static int give_file(const struct folder *f, const char *name, uid_t uid, gid_t gid, struct err *e)
{
	struct stat st;
	int rc = ERR_OK, fd = fs_openat(f->fd, name, O_PATH | O_NOFOLLOW, 0);
	if (fd < 0 && errno == ENOENT) /* not every restore leaves pages */
		return ERR_OK;
	if (fd < 0 || fstat(fd, &st))
		rc = err_errno(e, ERR_IO, errno, "cannot look at %s/%s", f->path, name);
	else if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		rc = err_set(e, ERR_DATABASE,
			"%s/%s is not the file that was written there: somebody exchanged it", f->path, name);
	else if (fchownat(fd, "", uid, gid, AT_EMPTY_PATH))
		rc = err_errno(e, ERR_IO, errno, "cannot give %s/%s to uid %ld", f->path, name, (long)uid);
	fs_close(fd);
	return rc;
}

/* Root restores for the owner of the folder: its replicator must be able to use this. The folder
 * last: until then nobody else changes what is in a new one. */
static int give_away(const struct leave *l, uid_t uid, gid_t gid, struct err *e)
{
	static const char *const names[] = {"lock", STATE_RESTORED_PAGES, "restored.json"};
	const struct folder *f = state_dir_folder(l->dir);
	int rc = ERR_OK;
	if (geteuid() != 0 || uid == 0)
		return ERR_OK;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && !rc; i++)
		rc = give_file(f, names[i], uid, gid, e);
	if (!rc && fchown(f->fd, uid, gid))
		rc = err_errno(e, ERR_IO, errno, "cannot give %s to uid %ld", f->path, (long)uid);
	return rc;
}

int leave_prepare(struct leave *l, const struct pagesums *sums, struct state *s, uid_t uid,
	gid_t gid, struct err *e)
{
	if (!l->name)
		return ERR_OK;
	int rc = l->dir ? ERR_OK : open_state(l, e);
	if (rc)
		return rc;
	s->node_id = l->old.node_id ? l->old.node_id : state_new_node_id();
	s->prev_node_id = l->old.prev_node_id;
	s->probed = l->old.probed;
	s->weak_fencing = l->old.weak_fencing;
	s->manifest_digest = l->old.manifest_digest;
	l->prepared = true;
	rc = sums ? pagesums_save_in(sums, state_dir_folder(l->dir), STATE_RESTORED_PAGES, e) : ERR_OK;
	if (!rc)
		rc = state_save_restored(l->dir, s, e);
	if (!rc)
		rc = give_away(l, uid, gid, e);
	return rc ? rc : others_tell(&l->others, l->beside, l->name, s, e);
}

int leave_settle(struct leave *l, struct err *e)
{
	others_end(&l->others, true);
	return l->dir ? state_take_restored(l->dir, e) : ERR_OK;
}

void leave_abort(struct leave *l)
{
	struct err e = ERR_INIT;
	others_end(&l->others, false);
	if (l->name && l->created && l->beside)
		folder_remove_tree(l->beside, l->name);
	else if (l->name && l->created)
		fs_remove_tree(l->name);
	else if (l->dir && l->prepared && state_drop_restored(l->dir, &e))
		log_warn("%s", e.text);
	leave_end(l);
}

void leave_end(struct leave *l)
{
	state_dir_close(l->dir);
	l->dir = NULL;
	free(l->name);
	l->name = NULL;
}
