/* What fuzz targets need that work with files: a folder, in memory where there is such a file
 * system, which goes when the process ends by itself. */
#ifndef TESTS_FUZZ_SCRATCH_H
#define TESTS_FUZZ_SCRATCH_H

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char scratch[64];

static inline void must(bool ok)
{
	if (!ok)
		abort();
}

static void scratch_remove(void)
{
	char command[100];
	snprintf(command, sizeof(command), "rm -rf %s", scratch);
	if (system(command))
		fprintf(stderr, "%s stays\n", scratch);
}

/* True when it was made just now. */
static inline bool scratch_make(void)
{
	if (*scratch)
		return false;
	strcpy(scratch, access("/dev/shm", W_OK) == 0 ? "/dev/shm/fuzz.XXXXXX" : "/tmp/fuzz.XXXXXX");
	must(mkdtemp(scratch) != NULL);
	atexit(scratch_remove);
	return true;
}

/* Its path, until the next call. */
static inline const char *scratch_path(const char *name)
{
	static char path[128];
	snprintf(path, sizeof(path), "%s/%s", scratch, name);
	return path;
}

static inline const char *scratch_put(const char *name, const uint8_t *data, size_t size)
{
	const char *path = scratch_path(name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	must(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	close(fd);
	return path;
}

/* Names that are in it. */
static inline int scratch_count(void)
{
	int n = -2;
	DIR *d = opendir(scratch);
	must(d != NULL);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

#endif
