#include "replicate/copies.h"

#include "base/fs.h"
#include "format/ltxset.h"
#include "replicate/freeze.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BOUND_DEFAULT (UINT64_C(512) << 20)
#define BOUND_FLOOR (UINT64_C(16) << 20)

uint64_t copies_bound(uint64_t configured, uint64_t db_bytes)
{
	uint64_t max = configured ? configured : BOUND_DEFAULT;
	uint64_t db = db_bytes < BOUND_FLOOR ? BOUND_FLOOR : db_bytes;
	return db < max ? db : max;
}

uint64_t copies_level_share(uint64_t bound)
{
	return bound / 2;
}

static void count(struct copies *c, uint64_t txid, uint64_t size)
{
	if (c->files == 0 || txid < c->oldest)
		c->oldest = txid;
	if (c->files == 0 || txid > c->newest)
		c->newest = txid;
	c->bytes += size;
	c->files++;
}

/* Takes one entry into account, or deletes what nobody finished. */
static int take_entry(struct copies *c, const char *folder, const char *name, struct err *e)
{
	uint64_t min, max;
	struct stat st;
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return ERR_OK;
	char *path = fs_join(folder, name);
	if (!path)
		return err_nomem(e, "counting local copies");
	int rc = ERR_OK;
	if (ltx_parse_name(name, &min, &max) && min == max && !lstat(path, &st) && S_ISREG(st.st_mode))
		count(c, min, (uint64_t)st.st_size);
	else if (fs_unlink(path) && errno != ENOENT)
		rc = err_errno(e, ERR_IO, errno, "cannot delete %s", path);
	free(path);
	return rc;
}

int copies_scan(struct copies *c, const char *folder, struct err *e)
{
	*c = (struct copies){0};
	if (fs_mkdirs(folder, 0700))
		return err_errno(e, ERR_IO, errno, "cannot create %s", folder);
	DIR *d = opendir(folder);
	if (!d)
		return err_errno(e, ERR_IO, errno, "cannot read %s", folder);
	int rc = ERR_OK;
	for (struct dirent *ent = readdir(d); ent && !rc; ent = readdir(d))
		rc = take_entry(c, folder, ent->d_name, e);
	closedir(d);
	return rc;
}

void copies_added(struct copies *c, uint64_t txid, uint64_t size)
{
	count(c, txid, size);
}

bool copies_over(const struct copies *c, uint64_t max_bytes)
{
	return c->bytes > max_bytes || c->files > COPIES_MAX_FILES;
}

/* Deletes the copy of the lowest TXID, where there is one of it. False: it stays. */
static bool drop_oldest(struct copies *c, const char *folder)
{
	char *path = frozen_path(folder, c->oldest);
	struct stat st;
	if (!path)
		return false;
	bool there = lstat(path, &st) == 0, stays = there && fs_unlink(path);
	free(path);
	if (stays)
		return false;
	c->oldest++;
	if (there) {
		c->files--;
		c->bytes -= c->bytes < (uint64_t)st.st_size ? c->bytes : (uint64_t)st.st_size;
	}
	return true;
}

void copies_trim(struct copies *c, const char *folder, uint64_t max_bytes, uint64_t last)
{
	while (c->files && copies_over(c, max_bytes) && c->oldest <= last)
		if (!drop_oldest(c, folder))
			return;
}

void copies_drop(struct copies *c, const char *folder, uint64_t last)
{
	while (c->files && c->oldest <= last)
		if (!drop_oldest(c, folder))
			return;
}

int copies_clear(struct copies *c, const char *folder, struct err *e)
{
	char *levels = fs_dirname(folder); /* of all levels */
	if (!levels)
		return err_nomem(e, "deleting local copies");
	int rc = ERR_OK;
	if (fs_remove_tree(levels))
		rc = err_errno(e, ERR_IO, errno, "cannot delete %s", levels);
	free(levels);
	return rc ? rc : copies_scan(c, folder, e);
}
