/* A folder of a test's own below $TMPDIR or /tmp, removed with all in it. */
#ifndef TESTS_LIB_TMPDIR_H
#define TESTS_LIB_TMPDIR_H

/* Its path (free). Ends the program when there can be none. */
char *tmpdir_new(void);

/* Removes it and frees the path. */
void tmpdir_free(char *dir);

/* "<dir>/<name>" in one of four static buffers, used in turn. */
const char *tmpdir_path(const char *dir, const char *name);

#endif
