/* What a restore writes into a state folder before its database is in place (see conf/state.h). */
#include "base/fs.h"
#include "conf/inplace.h"
#include "conf/state_internal.h"

#include <errno.h>
#include <sys/stat.h>

#define RESTORED_FILE "restored.json"

int state_save_restored(struct state_dir *d, struct state *s, struct err *e)
{
	return state_save_file(d, RESTORED_FILE, s, e);
}

int state_drop_restored(struct state_dir *d, struct err *e)
{
	static const char *const both[] = {RESTORED_FILE, STATE_RESTORED_PAGES};
	for (int i = 0; i < 2; i++)
		if (folder_unlink(&d->folder, both[i]) && errno != ENOENT)
			return err_errno(e, ERR_IO, errno, "cannot remove %s/%s", d->folder.path, both[i]);
	return ERR_OK;
}

static int rename_into(const struct state_dir *d, const char *from, const char *name, struct err *e)
{
	if (folder_rename(&d->folder, from, name) && errno != ENOENT)
		return err_errno(
			e, ERR_IO, errno, "cannot rename %s to %s in %s", from, name, d->folder.path);
	return ERR_OK;
}

/* What the folder knew of the former database goes; state.json last, so that a crash in between
 * begins again here. */
int state_take_restored(struct state_dir *d, struct err *e)
{
	int rc = ERR_OK;
	if (folder_remove_tree(&d->folder, "ltx") && errno != ENOENT)
		rc = err_errno(e, ERR_IO, errno, "cannot remove %s/ltx", d->folder.path);
	if (!rc)
		rc = rename_into(d, STATE_RESTORED_PAGES, "pages", e);
	if (!rc)
		rc = rename_into(d, RESTORED_FILE, STATE_FILE, e);
	if (!rc && folder_sync(&d->folder))
		rc = err_errno(e, ERR_IO, errno, "cannot fsync %s", d->folder.path);
	return rc;
}

static bool is_there(const struct state *s)
{
	struct stat st;
	return !stat(s->database, &st) && st.st_ino == s->ino;
}

int state_settle_restored(struct state_dir *d, struct err *e)
{
	struct state s;
	struct err why = ERR_INIT;
	int rc = state_load_file(&d->folder, RESTORED_FILE, &s, &why);
	if (rc == ERR_NOT_FOUND || rc == ERR_DAMAGED)
		return state_drop_restored(d, e);
	if (rc) {
		*e = why;
		return rc;
	}
	rc = inplace_recover(s.database, false, e);
	if (rc)
		return rc;
	return is_there(&s) ? state_take_restored(d, e) : state_drop_restored(d, e);
}
