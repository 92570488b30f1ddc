/*
 * freezer PID turns|barrier|main SHM - stops threads of a worker where they are, as if they hung.
 *
 *   turns     all but the main one: the turns, with the pins they hold, while the main one goes on
 *   barrier   the same, at a moment in which the worker holds the write lock of that -shm
 *   main      the main one alone
 *
 * By ptrace(2), so that the worker's parent hears of no stop. Prints "frozen", waits until the
 * process is gone, prints for how long it was frozen (ms). Exit 3 when nobody may be traced here.
 */
#include "lib/samples.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS_MAX 64
#define WRITE_LOCK_BYTE 120 /* walformat.html: "WAL locks" */

static pid_t threads[THREADS_MAX];
static int n_threads;

static void die(const char *what)
{
	fprintf(stderr, "freezer: %s: %s\n", what, strerror(errno));
	exit(errno == EPERM ? 3 : 1);
}

static void seize(pid_t pid, bool main_thread)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	DIR *d = opendir(path);
	if (!d)
		die(path);
	for (const struct dirent *t; (t = readdir(d)) && n_threads < THREADS_MAX;) {
		pid_t tid = atoi(t->d_name);
		if (tid == 0 || (tid == pid) != main_thread)
			continue;
		if (ptrace(PTRACE_SEIZE, tid, NULL, NULL) != 0)
			die("PTRACE_SEIZE");
		threads[n_threads++] = tid;
	}
	closedir(d);
}

static void stop_all(void)
{
	int status;
	for (int i = 0; i < n_threads; i++)
		if (ptrace(PTRACE_INTERRUPT, threads[i], NULL, NULL) != 0)
			die("PTRACE_INTERRUPT");
	for (int i = 0; i < n_threads; i++)
		if (waitpid(threads[i], &status, __WALL) < 0)
			die("waitpid");
}

static void go_on(void)
{
	for (int i = 0; i < n_threads; i++)
		if (ptrace(PTRACE_CONT, threads[i], NULL, NULL) != 0)
			die("PTRACE_CONT");
}

static bool holds_write_lock(int shm, pid_t pid)
{
	struct flock l = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = WRITE_LOCK_BYTE, .l_len = 1};
	if (fcntl(shm, F_GETLK, &l) != 0)
		die("F_GETLK");
	return l.l_type != F_UNLCK && l.l_pid == pid;
}

static void stop_in_barrier(int shm, pid_t pid)
{
	for (;;) {
		while (!holds_write_lock(shm, pid))
			samples_sleep_until(samples_now_us() + 50);
		stop_all();
		if (holds_write_lock(shm, pid))
			return;
		go_on();
	}
}

int main(int argc, char **argv)
{
	pid_t pid = argc == 4 ? atoi(argv[1]) : 0;
	if (pid <= 0) {
		fprintf(stderr, "usage: freezer PID turns|barrier|main SHM\n");
		return 2;
	}
	int shm = open(argv[3], O_RDWR | O_CLOEXEC), status;
	if (shm < 0)
		die(argv[3]);
	seize(pid, strcmp(argv[2], "main") == 0);
	if (strcmp(argv[2], "barrier") == 0)
		stop_in_barrier(shm, pid);
	else
		stop_all();
	int64_t since_us = samples_now_us();
	printf("frozen\n");
	fflush(stdout);
	while (waitpid(-1, &status, __WALL) > 0)
		;
	printf("%" PRId64 "\n", (samples_now_us() - since_us) / 1000);
	return 0;
}
