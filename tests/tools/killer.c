/*
 * killer [-n N] [-o FILE] COMMAND ARG… - runs COMMAND and kills it (SIGKILL) when it is about to
 * make its Nth step. A step is a system call of any of its threads that others can see the effect
 * of: of files (made, written, renamed, removed, given away), of sockets, of processes. Children
 * are left alone. With -o each step is a line in FILE: number, call, path or "-".
 *
 * Exit code: 77 = killed at the step; the command's own; 126 = can't trace here.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define KILLED 77
#define CANNOT 126
#define PATH_MAX_SHOWN 200

/* Which argument names the file: a path, or a descriptor; AT = a path at a descriptor. */
enum named { BY_NOTHING, BY_PATH, BY_FD, BY_AT };

static const struct call {
	long nr;
	const char *name;
	enum named named;
	int arg;
} calls[] = {
	{SYS_openat, "create", BY_AT, 0}, /* where it may make a file */
	{SYS_write, "write", BY_FD, 0},
	{SYS_pwrite64, "write", BY_FD, 0},
	{SYS_writev, "write", BY_FD, 0},
	{SYS_ftruncate, "truncate", BY_FD, 0},
	{SYS_fsync, "fsync", BY_FD, 0},
	{SYS_fdatasync, "fsync", BY_FD, 0},
	{SYS_renameat, "rename", BY_AT, 2},
	{SYS_renameat2, "rename", BY_AT, 2},
	{SYS_linkat, "link", BY_AT, 2},
	{SYS_unlinkat, "unlink", BY_AT, 0},
	{SYS_mkdirat, "mkdir", BY_AT, 0},
	{SYS_fchmod, "chmod", BY_FD, 0},
	{SYS_fchmodat, "chmod", BY_AT, 0},
	{SYS_fchown, "chown", BY_FD, 0},
	{SYS_fchownat, "chown", BY_AT, 0},
#ifdef SYS_rename /* not everywhere */
	{SYS_rename, "rename", BY_PATH, 1},
	{SYS_unlink, "unlink", BY_PATH, 0},
	{SYS_mkdir, "mkdir", BY_PATH, 0},
	{SYS_chmod, "chmod", BY_PATH, 0},
	{SYS_chown, "chown", BY_PATH, 0},
	{SYS_fork, "fork", BY_NOTHING, 0},
	{SYS_vfork, "fork", BY_NOTHING, 0},
#endif
	{SYS_clone, "fork", BY_NOTHING, 0},
	{SYS_clone3, "fork", BY_NOTHING, 0},
	{SYS_bind, "bind", BY_NOTHING, 0},
	{SYS_listen, "listen", BY_NOTHING, 0},
	{SYS_socketpair, "socketpair", BY_NOTHING, 0},
	{SYS_sendto, "send", BY_NOTHING, 0},
	{SYS_sendmsg, "send", BY_NOTHING, 0},
	{SYS_kill, "kill", BY_NOTHING, 0},
};

static pid_t command;
static long steps, last;
static FILE *out;

static void pass_on(int sig)
{
	kill(command, sig);
}

static void read_text(pid_t pid, uint64_t at, char to[PATH_MAX_SHOWN])
{
	struct iovec here = {to, PATH_MAX_SHOWN - 1}, there = {(void *)(uintptr_t)at, here.iov_len};
	ssize_t n = process_vm_readv(pid, &here, 1, &there, 1, 0);
	to[n > 0 ? n : 0] = '\0';
}

static void describe(pid_t pid, const struct call *c, const uint64_t *args, char to[PATH_MAX_SHOWN])
{
	char link[64];
	ssize_t n = 0;
	snprintf(to, PATH_MAX_SHOWN, "-");
	if (c->named == BY_PATH || c->named == BY_AT)
		read_text(pid, args[c->arg + (c->named == BY_AT)], to);
	if (c->named != BY_FD)
		return;
	snprintf(link, sizeof(link), "/proc/%d/fd/%d", (int)pid, (int)args[c->arg]);
	n = readlink(link, to, PATH_MAX_SHOWN - 1);
	if (n > 0)
		to[n] = '\0';
}

/* Is the command's Nth step now? */
static int is_last_step(pid_t pid, const struct __ptrace_syscall_info *info)
{
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		const struct call *c = &calls[i];
		char path[PATH_MAX_SHOWN];
		if ((uint64_t)c->nr != info->entry.nr)
			continue;
		if (c->nr == SYS_openat && !(info->entry.args[2] & O_CREAT))
			return 0;
		steps++;
		if (out) {
			describe(pid, c, (const uint64_t *)info->entry.args, path);
			fprintf(out, "%ld %s %s\n", steps, c->name, path);
			fflush(out);
		}
		return steps == last;
	}
	return 0;
}

/* What a stop is about: the signal to go on with, or -1 when it was the last step. */
static int stopped(pid_t pid, int status)
{
	struct __ptrace_syscall_info info;
	int sig = WSTOPSIG(status);
	if (sig == (SIGTRAP | 0x80)) {
		if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) > 0 &&
			info.op == PTRACE_SYSCALL_INFO_ENTRY && is_last_step(pid, &info))
			return -1;
		return 0;
	}
	if (status >> 16 || sig == SIGSTOP) /* a ptrace event, or a new thread's first stop */
		return 0;
	return sig;
}

static int follow(void)
{
	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, __WALL);
		if (pid < 0 && errno == EINTR)
			continue;
		if (pid < 0)
			return CANNOT;
		if (!WIFSTOPPED(status)) {
			if (pid != command)
				continue;
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		}
		int sig = stopped(pid, status);
		if (sig < 0) {
			kill(command, SIGKILL);
			/* Its end is told when that of each of its threads was taken. */
			while ((pid = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR)
				if (pid == command && !WIFSTOPPED(status))
					break;
			return KILLED;
		}
		ptrace(PTRACE_SYSCALL, pid, 0, sig);
	}
}

static int start(char **argv)
{
	int status;
	command = fork();
	if (command == 0) {
		if (ptrace(PTRACE_TRACEME, 0, 0, 0))
			_exit(CANNOT);
		raise(SIGSTOP);
		execvp(argv[0], argv);
		_exit(CANNOT);
	}
	if (waitpid(command, &status, 0) != command || !WIFSTOPPED(status))
		return CANNOT;
	long options =
		PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
	if (ptrace(PTRACE_SETOPTIONS, command, 0, options) || ptrace(PTRACE_SYSCALL, command, 0, 0)) {
		kill(command, SIGKILL);
		return CANNOT;
	}
	return 0;
}

int main(int argc, char **argv)
{
	for (int c; (c = getopt(argc, argv, "+n:o:")) != -1;) {
		if (c == 'n')
			last = atol(optarg);
		else if (c != 'o' || !(out = fopen(optarg, "w")))
			return 2;
	}
	if (optind == argc)
		return 2;
	int rc = start(argv + optind);
	if (rc)
		return rc;
	signal(SIGTERM, pass_on);
	signal(SIGINT, pass_on);
	return follow();
}
