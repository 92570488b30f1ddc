#include "tmpdir.h"

#include "base/fs.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

char *tmpdir_new(void)
{
	const char *base = getenv("TMPDIR");
	char *dir = fs_join(base && *base ? base : "/tmp", "litestream-test-XXXXXX");
	if (!dir || !mkdtemp(dir)) {
		perror("mkdtemp");
		exit(1);
	}
	return dir;
}

void tmpdir_free(char *dir)
{
	if (fs_remove_tree(dir))
		perror(dir);
	free(dir);
}

const char *tmpdir_path(const char *dir, const char *name)
{
	static char paths[4][PATH_MAX];
	static unsigned next;
	char *path = paths[next++ % 4];
	snprintf(path, PATH_MAX, "%s/%s", dir, name);
	return path;
}
