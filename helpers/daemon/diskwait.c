#include "daemon/diskwait.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* "123 (its name) D …": the name may hold anything, parentheses too. */
static bool is_waiting(int tasks, const char *thread)
{
	char path[300], text[256];
	snprintf(path, sizeof(path), "%.255s/stat", thread);
	int fd = openat(tasks, path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	const char *end = strrchr(text, ')');
	return end && strncmp(end, ") D", 3) == 0;
}

bool diskwait_any(pid_t pid)
{
	char path[64];
	bool any = false;
	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	DIR *tasks = opendir(path);
	for (const struct dirent *t; tasks && !any && (t = readdir(tasks));)
		any = t->d_name[0] != '.' && is_waiting(dirfd(tasks), t->d_name);
	if (tasks)
		closedir(tasks);
	return any;
}
