/* Folders of the file store, listed in byte order. */
#ifndef STORE_FILE_LIST_H
#define STORE_FILE_LIST_H

#include "store/store.h"

#include <sys/stat.h>

#define FILE_TEMPORARY_PREFIX "~tmp-"

/* Size and mtime. */
void file_describe(const struct stat *st, struct store_object *out);

/*
 * Gives `fn` the regular files below `dir`, recursively, by byte order of their names relative to
 * it, that sort after `after`, at most `max` (0 = all). Symbolic links, names that no object can
 * have and what vanishes meanwhile are left out. A folder that isn't there is empty. Old temporary
 * files are removed on the way.
 */
int file_list_tree(struct store *s, const char *dir, const char *after, size_t max,
	store_list_fn fn, void *ctx, struct err *e);

/* The same of `dir` alone: the folders in it are given, with a slash at the end, not walked. */
int file_list_flat(
	struct store *s, const char *dir, size_t max, store_list_fn fn, void *ctx, struct err *e);

/* Removes the old temporary files in `dir` alone, as far as it can. */
void file_remove_old_temporaries(const char *dir);

#endif
