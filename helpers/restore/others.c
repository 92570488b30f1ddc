#include "restore/others.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DIGITS 8
#define YIELD_TRIES 20
#define YIELD_US 100000

/* The length of "<base>" in a name "<base>" or "<base>-1f2e3d4c". */
static size_t base_length(const char *name)
{
	size_t n = strlen(name);
	if (n <= DIGITS + 1 || name[n - DIGITS - 1] != '-')
		return n;
	return strspn(name + n - DIGITS, "0123456789abcdef") == DIGITS ? n - DIGITS - 1 : n;
}

bool others_are(const char *name, const char *own)
{
	size_t n = base_length(own);
	return base_length(name) == n && strncmp(name, own, n) == 0 && strcmp(name, own) != 0;
}

/* Written by root into the folder of somebody: his replicator must be able to read it. */
static int save(struct state_dir *d, struct state *s, struct err *e)
{
	const struct folder *f = state_dir_folder(d);
	struct stat st;
	int rc = state_save(d, s, e);
	if (rc || geteuid() != 0)
		return rc;
	if (fstat(f->fd, &st) ||
		fchownat(f->fd, "state.json", st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW))
		return err_errno(e, ERR_IO, errno, "cannot give %s/state.json to its owner", f->path);
	return ERR_OK;
}

/* One that never shipped anything, or that is of another database, has nothing to be told. */
static int tell(struct others *o, struct state_dir *d, const struct state *now, struct err *e)
{
	struct other *one = &o->list[o->n];
	struct err why = ERR_INIT;
	bool copied;
	int rc = state_load(d, &one->was, &copied, &why);
	if (rc || copied || one->was.txid == 0 ||
		strcmp(fs_basename(one->was.database), fs_basename(now->database)) != 0) {
		state_dir_close(d);
		return ERR_OK;
	}
	struct state s = one->was;
	one->dir = d;
	o->n++;
	s.dev = now->dev;
	s.ino = now->ino;
	memset(&s.pos, 0, sizeof(s.pos));
	if (strcmp(s.stopped, "replaced") == 0)
		s.stopped[0] = s.reason[0] = '\0';
	return save(d, &s, e);
}

/* Where the database was removed just now, its replicator is about to give up the folder. */
static int tell_named(struct others *o, const struct folder *in, const char *name,
	const struct state *now, struct err *e)
{
	struct state_dir *d;
	struct err why = ERR_INIT;
	int rc = state_dir_open_in(&d, in, name, &why);
	for (int i = 0; rc == ERR_AGAIN && i < YIELD_TRIES; i++) {
		clock_sleep_us(YIELD_US);
		err_clear(&why);
		rc = state_dir_open_in(&d, in, name, &why);
	}
	if (!rc)
		return tell(o, d, now, e);
	log_warn("%s/%s: another replica's state does not learn of the restore: %s", in->path, name,
		why.text);
	return ERR_OK;
}

static int tell_each(struct others *o, const struct folder *in, const char *own,
	const struct state *now, struct err *e)
{
	int rc = ERR_OK, fd = fs_openat(in->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	if (!d) {
		err_errno(e, ERR_IO, errno, "cannot look for state folders in %s", in->path);
		if (fd >= 0)
			fs_close(fd);
		return ERR_IO;
	}
	for (const struct dirent *ent; !rc && o->n < OTHERS_MAX && (ent = readdir(d));)
		if (others_are(ent->d_name, own))
			rc = tell_named(o, in, ent->d_name, now, e);
	closedir(d);
	return rc;
}

/* A worker may only pass through the folder in which litestreamd keeps everybody's state, not list
 * it (0711); there a database has one replica. */
static bool may_list(const char *own)
{
	char *dir = fs_dirname(own);
	int fd = dir ? fs_open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0) : -1;
	bool denied = dir && fd < 0 && errno == EACCES;
	fs_close(fd);
	free(dir);
	return !denied;
}

int others_tell(struct others *o, const struct folder *beside, const char *own,
	const struct state *now, struct err *e)
{
	struct folder in = FOLDER_NONE;
	o->n = 0;
	if (!beside && !may_list(own))
		return ERR_OK;
	int rc = beside ? ERR_OK : folder_open_of(&in, own, "looking for state folders", e);
	if (!rc)
		rc = tell_each(o, beside ? beside : &in, fs_basename(own), now, e);
	folder_close(&in);
	if (rc)
		others_end(o, false);
	return rc;
}

void others_end(struct others *o, bool placed)
{
	struct err e = ERR_INIT;
	for (size_t i = 0; i < o->n; i++) {
		if (!placed && save(o->list[i].dir, &o->list[i].was, &e))
			log_warn("%s", e.text);
		state_dir_close(o->list[i].dir);
	}
	o->n = 0;
}
