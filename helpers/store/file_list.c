#include "store/file_list.h"

#include "base/clock.h"
#include "base/fs.h"
#include "store/driver.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_DEPTH 16
#define TEMPORARY_AGE_MS ((int64_t)24 * 3600 * 1000)

struct names {
	char **v;
	size_t n, cap;
};

struct walk {
	struct store *s;
	const char *after;
	size_t max, given;
	bool flat; /* folders are given, not walked */
	store_list_fn fn;
	void *ctx;
};

void file_describe(const struct stat *st, struct store_object *out)
{
	out->size = (uint64_t)st->st_size;
	out->modified_ms = (int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000;
}

static void names_free(struct names *a)
{
	for (size_t i = 0; i < a->n; i++)
		free(a->v[i]);
	free(a->v);
}

static int names_add(struct names *a, const char *name, bool folder)
{
	if (a->n == a->cap) {
		size_t cap = a->cap ? a->cap * 2 : 64;
		char **v = realloc(a->v, cap * sizeof(*v));
		if (!v)
			return -1;
		a->v = v;
		a->cap = cap;
	}
	size_t n = strlen(name);
	char *copy = malloc(n + 2);
	if (!copy)
		return -1;
	memcpy(copy, name, n);
	/* With its slash a folder sorts where its files belong: "a-b" before "a/x". */
	memcpy(copy + n, folder ? "/" : "", folder ? 2 : 1);
	a->v[a->n++] = copy;
	return 0;
}

static int by_bytes(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void remove_old_temporary(int dirfd, const char *name)
{
	struct stat st;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
		return;
	int64_t changed_ms = (int64_t)st.st_ctim.tv_sec * 1000;
	if (clock_wall_ms() - changed_ms > TEMPORARY_AGE_MS)
		unlinkat(dirfd, name, 0);
}

void file_remove_old_temporaries(const char *dir)
{
	int fd = fs_open(dir, O_RDONLY | O_DIRECTORY, 0);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	if (!d)
		fs_close(fd);
	for (const struct dirent *ent; d && (ent = readdir(d));)
		if (!strncmp(ent->d_name, FILE_TEMPORARY_PREFIX, strlen(FILE_TEMPORARY_PREFIX)))
			remove_old_temporary(dirfd(d), ent->d_name);
	if (d)
		closedir(d);
}

/* Whether something that begins with name (a folder: with a slash) can sort after w->after. */
static bool may_follow(const struct walk *w, const char *prefix, const char *name, bool folder)
{
	size_t np = strlen(prefix), nn = strlen(name);
	int order = strncmp(prefix, w->after, np);
	if (order)
		return order > 0;
	const char *rest = w->after + np;
	order = strncmp(name, rest, nn);
	if (order || rest[nn] == '\0')
		return order > 0 || (order == 0 && folder);
	return folder && rest[nn] <= '/';
}

static bool is_folder(int dirfd, const struct dirent *ent)
{
	struct stat st;
	if (ent->d_type != DT_UNKNOWN)
		return ent->d_type == DT_DIR;
	return !fstatat(dirfd, ent->d_name, &st, AT_SYMLINK_NOFOLLOW) && S_ISDIR(st.st_mode);
}

static int read_names(const struct walk *w, DIR *d, const char *prefix, struct names *out,
	const char *dir, struct err *e)
{
	struct dirent *ent;
	while (errno = 0, (ent = readdir(d))) {
		if (!strncmp(ent->d_name, FILE_TEMPORARY_PREFIX, strlen(FILE_TEMPORARY_PREFIX)))
			remove_old_temporary(dirfd(d), ent->d_name);
		if (!store_name_is_valid(ent->d_name))
			continue;
		bool folder = is_folder(dirfd(d), ent);
		if (may_follow(w, prefix, ent->d_name, folder) && names_add(out, ent->d_name, folder))
			return err_nomem(e, "listing a folder");
	}
	return errno ? err_errno(e, ERR_IO, errno, "cannot list %s", dir) : ERR_OK;
}

static int walk_folder(
	struct walk *w, const char *dir, const char *prefix, int depth, struct err *e);

static int give_file(
	struct walk *w, int fd, const char *name, const char *relative, const char *dir, struct err *e)
{
	struct stat st;
	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW)) {
		if (errno == ENOENT)
			return ERR_OK;
		return err_errno(e, ERR_IO, errno, "cannot look at %s in %s", name, dir);
	}
	if (!S_ISREG(st.st_mode))
		return ERR_OK;
	struct store_object o = {.name = relative};
	file_describe(&st, &o);
	w->given++;
	return w->fn(w->ctx, &o, e);
}

static int visit(struct walk *w, int fd, const char *name, const char *dir, const char *prefix,
	int depth, struct err *e)
{
	size_t np = strlen(prefix), nn = strlen(name);
	char *relative = malloc(np + nn + 1);
	if (!relative)
		return err_nomem(e, "listing a folder");
	memcpy(relative, prefix, np);
	memcpy(relative + np, name, nn + 1);
	int rc;
	if (nn == 0 || name[nn - 1] != '/') {
		rc = give_file(w, fd, name, relative, dir, e);
	} else if (w->flat) {
		struct store_object o = {.name = relative};
		w->given++;
		rc = w->fn(w->ctx, &o, e);
	} else {
		char *below = fs_join(dir, name);
		rc = below ? walk_folder(w, below, relative, depth + 1, e)
				   : err_nomem(e, "listing a folder");
		free(below);
	}
	free(relative);
	return rc;
}

static int walk_folder(
	struct walk *w, const char *dir, const char *prefix, int depth, struct err *e)
{
	if (depth > MAX_DEPTH)
		return ERR_OK;
	DIR *d = opendir(dir);
	if (!d) {
		if (errno == ENOENT || errno == ENOTDIR)
			return ERR_OK;
		return err_errno(e, errno == EACCES || errno == EPERM ? ERR_DENIED : ERR_IO, errno,
			"cannot list %s", dir);
	}
	struct names names = {0};
	int rc = read_names(w, d, prefix, &names, dir, e);
	if (!rc && names.n)
		qsort(names.v, names.n, sizeof(*names.v), by_bytes);
	for (size_t i = 0; i < names.n && !rc && (!w->max || w->given < w->max); i++)
		rc = store_is_cancelled(w->s) ? store_cancelled_error(w->s, e)
									  : visit(w, dirfd(d), names.v[i], dir, prefix, depth, e);
	names_free(&names);
	closedir(d);
	return rc;
}

int file_list_tree(struct store *s, const char *dir, const char *after, size_t max,
	store_list_fn fn, void *ctx, struct err *e)
{
	struct walk w = {.s = s, .after = after, .max = max, .fn = fn, .ctx = ctx};
	return walk_folder(&w, dir, "", 0, e);
}

int file_list_flat(
	struct store *s, const char *dir, size_t max, store_list_fn fn, void *ctx, struct err *e)
{
	struct walk w = {.s = s, .after = "", .max = max, .flat = true, .fn = fn, .ctx = ctx};
	return walk_folder(&w, dir, "", 0, e);
}
