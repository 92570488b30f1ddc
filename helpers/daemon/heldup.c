#include "daemon/heldup.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LAST_LOOK_US (INT64_C(2) * 1000000) /* one before that tells nothing of now */

/* "123 (its name) D …": the name may hold anything, parentheses too. What comes behind it, or "".
 */
static const char *read_stat(int folder, const char *path, char *text, size_t size)
{
	int fd = openat(folder, path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, size - 1) : -1;
	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	const char *end = strrchr(text, ')');
	return end && end[1] == ' ' ? end + 2 : "";
}

/* Is any thread of it in this state ('D'), or that ('R')? */
static void look_at_threads(pid_t pid, bool *disk, bool *runnable)
{
	char path[64], text[512];
	*disk = *runnable = false;
	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	DIR *tasks = opendir(path);
	for (const struct dirent *t; tasks && (t = readdir(tasks));) {
		if (t->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%.40s/stat", t->d_name);
		char state = *read_stat(dirfd(tasks), path, text, sizeof(text));
		*disk = *disk || state == 'D';
		*runnable = *runnable || state == 'R';
	}
	if (tasks)
		closedir(tasks);
}

/* utime and stime of all its threads, in ticks: the fields 14 and 15, of which the state is 3. */
static uint64_t cpu_ticks(pid_t pid)
{
	char path[64], text[512];
	uint64_t user, system;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	const char *rest = read_stat(AT_FDCWD, path, text, sizeof(text));
	int n = sscanf(
		rest, "%*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %" SCNu64 " %" SCNu64, &user, &system);
	return n == 2 ? user + system : 0;
}

bool heldup_look(struct heldup *last, pid_t pid, int64_t now_us)
{
	struct heldup now = {now_us, cpu_ticks(pid)};
	bool disk, runnable, first = !last->looked_us || now_us - last->looked_us > LAST_LOOK_US;
	look_at_threads(pid, &disk, &runnable);
	double used_us = (double)(now.cpu_ticks - last->cpu_ticks) * 1e6 / (double)sysconf(_SC_CLK_TCK);
	bool starved = first || used_us < (double)(now_us - last->looked_us) / 2;
	*last = now;
	return disk || (runnable && starved);
}
