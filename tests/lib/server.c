#include "lib/server.h"

#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOT_INSTALLED 77
#define MAX_THINGS 32

/* What has to be stopped or removed at exit, by the process that started it only. */
static struct {
	char script[64];
	char dir[SERVER_DIR_MAX];
	pid_t pid;
} things[MAX_THINGS];
static size_t n_things;
static pid_t owner;

static void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

/* tests/servers beside this file, whatever the working directory. */
static void script_path(const char *script, char out[PATH_MAX])
{
	char source[PATH_MAX];
	snprintf(source, sizeof(source), "%s", __FILE__);
	*strrchr(source, '/') = '\0'; /* tests/lib */
	if (access(source, F_OK) != 0)
		snprintf(source, sizeof(source), "tests/lib");
	if (snprintf(out, PATH_MAX, "%s/../servers/%s", source, script) >= PATH_MAX)
		die("a script's path is too long");
}

static void clean_up(void)
{
	if (getpid() != owner)
		return;
	while (n_things > 0) {
		size_t last = n_things - 1;
		if (things[last].pid > 0)
			server_stop(things[last].pid);
		if (*things[last].script)
			server_run(things[last].script, (const char *[]){"stop", things[last].dir, NULL});
		if (*things[last].dir)
			fs_remove_tree(things[last].dir);
		n_things = last;
	}
}

static size_t note_thing(void)
{
	if (!owner) {
		owner = getpid();
		atexit(clean_up);
	}
	if (n_things == MAX_THINGS) {
		fprintf(stderr, "too many servers in one test\n");
		exit(1);
	}
	memset(&things[n_things], 0, sizeof(things[0]));
	return n_things++;
}

void server_temp_dir(char out[SERVER_DIR_MAX])
{
	const char *tmp = getenv("TMPDIR");
	snprintf(out, SERVER_DIR_MAX, "%s/litestream-test-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (!mkdtemp(out))
		die("mkdtemp");
	size_t i = note_thing();
	snprintf(things[i].dir, sizeof(things[i].dir), "%s", out);
}

/* Forks; in the child stdout is `out` (-1: ours), and no other descriptor is passed on. */
static pid_t run_script(const char *script, const char *const *args, int out, bool dies_with_us)
{
	char path[PATH_MAX];
	char *argv[8] = {path};
	script_path(script, path);
	for (size_t i = 0; i < 6 && args[i]; i++)
		argv[i + 1] = (char *)args[i];
	pid_t pid = fork();
	if (pid < 0)
		die("fork");
	if (pid > 0)
		return pid;
	if (out >= 0)
		dup2(out, STDOUT_FILENO);
	if (dies_with_us)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	execv(path, argv);
	fprintf(stderr, "%s: %s\n", path, strerror(errno));
	_exit(127);
}

static int wait_for(pid_t pid)
{
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			die("waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

int server_run(const char *script, const char *const *args)
{
	return wait_for(run_script(script, args, -1, false));
}

static void put_into_environment(FILE *f)
{
	char line[1024];
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		char *value = strchr(line, '=');
		if (!value)
			continue;
		*value++ = '\0';
		setenv(line, value, 1);
	}
}

/*
 * A process that sees the end of this one, however it comes (a time-out's signal too), and stops
 * the server then: nothing that a test started outlives it. It reads from a pipe whose other end
 * only we hold.
 */
static void watch_over(const char *script, const char *dir)
{
	int pipes[2], null;
	if (pipe2(pipes, O_CLOEXEC))
		die("pipe");
	pid_t pid = fork();
	if (pid < 0)
		die("fork");
	if (pid > 0) {
		close(pipes[0]);
		return; /* pipes[1] stays open for as long as we live */
	}
	char c;
	setsid();
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	close(pipes[1]);
	while (read(pipes[0], &c, 1) < 0 && errno == EINTR)
		;
	wait_for(run_script(script, (const char *[]){"stop", dir, NULL}, -1, false));
	fs_remove_tree(dir);
	_exit(0);
}

bool server_start(const char *script, const char *probe)
{
	if (getenv(probe))
		return true;
	char dir[SERVER_DIR_MAX];
	int pipes[2];
	server_temp_dir(dir);
	snprintf(things[n_things - 1].script, sizeof(things[0].script), "%s", script);
	watch_over(script, dir);
	if (pipe2(pipes, O_CLOEXEC))
		die("pipe");
	pid_t pid = run_script(script, (const char *[]){"start", dir, NULL}, pipes[1], false);
	close(pipes[1]);
	FILE *f = fdopen(pipes[0], "r");
	put_into_environment(f);
	fclose(f);
	int code = wait_for(pid);
	if (code == NOT_INSTALLED)
		return false;
	if (code != 0 || !getenv(probe)) {
		fprintf(stderr, "%s did not start (exit code %d)\n", script, code);
		exit(1);
	}
	return true;
}

int server_spawn(const char *script, const char *const *args, int *port)
{
	int pipes[2];
	if (pipe2(pipes, O_CLOEXEC))
		die("pipe");
	size_t i = note_thing();
	things[i].pid = run_script(script, args, pipes[1], true);
	close(pipes[1]);
	FILE *f = fdopen(pipes[0], "r");
	char line[64] = "";
	if (!fgets(line, sizeof(line), f) || sscanf(line, "%d", port) != 1) {
		fprintf(stderr, "%s printed no port\n", script);
		exit(1);
	}
	fclose(f);
	return things[i].pid;
}

void server_stop(int pid)
{
	for (size_t i = 0; i < n_things; i++) {
		if (things[i].pid != pid)
			continue;
		things[i].pid = 0;
		kill(pid, SIGKILL);
		wait_for(pid);
	}
}
