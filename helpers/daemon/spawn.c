#include "daemon/spawn.h"

#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FAILED 126
#define ENVIRONMENT_MAX 16

/* All that a child gets of our environment. Proxies are not among them: their URLs hold passwords
 * and the environment is no place for those. */
static const char *const passed_on[] = {"TZ", "SSL_CERT_FILE", "SSL_CERT_DIR",
	"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
	"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_EC2_METADATA_SERVICE_ENDPOINT",
	"AWS_EC2_METADATA_DISABLED", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS",
	NULL};

__attribute__((noreturn)) static void die_of(const char *why)
{
	dprintf(STDERR_FILENO, "litestreamd: cannot start a child: %s\n", why);
	_exit(FAILED);
}

__attribute__((noreturn)) static void die(const char *what)
{
	char why[256];
	snprintf(why, sizeof(why), "%.120s: %s", what, strerror(errno));
	die_of(why);
}

static void set_descriptors(int channel, int log_fd)
{
	/* Out of the way of 0 to 3 first. */
	int c = fcntl(channel, F_DUPFD, 10), l = fcntl(log_fd, F_DUPFD, 10);
	int null = open("/dev/null", O_RDWR);
	if (c < 0 || l < 0 || null < 0)
		die("descriptors");
	if (dup2(l, STDERR_FILENO) < 0 || dup2(null, STDIN_FILENO) < 0 ||
		dup2(null, STDOUT_FILENO) < 0 || dup2(c, SPAWN_CHANNEL_FD) < 0)
		die("descriptors");
	if (close_range(SPAWN_CHANNEL_FD + 1, ~0u, 0) != 0) {
		for (int fd = SPAWN_CHANNEL_FD + 1; fd < 4096; fd++)
			close(fd);
	}
}

static void reset_signals(void)
{
	for (int s = 1; s < NSIG; s++)
		signal(s, SIG_DFL);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Uid 0 would get everything back at exec: without the bounding set and with NOROOT it doesn't. For
 * others no_new_privs is enough, where the daemon has no CAP_SETPCAP. */
static void forbid_capabilities(const struct spawn *s)
{
	for (unsigned long c = 0; prctl(PR_CAPBSET_READ, c, 0, 0, 0) >= 0; c++) {
		if (prctl(PR_CAPBSET_READ, c, 0, 0, 0) == 0 || prctl(PR_CAPBSET_DROP, c, 0, 0, 0) == 0)
			continue;
		if (errno == EPERM && s->uid != 0)
			return;
		die("the capability bounding set");
	}
	if (prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED, 0, 0, 0) != 0)
		die("securebits");
}

static void drop_capabilities(void)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0, 0, 0}};
	if (syscall(SYS_capset, &header, none) != 0)
		die("capset");
}

/* Order matters: gid while we may still change it, then uid, then what root would keep; then it is
 * looked whether all of it is true, because a half dropped privilege is the worst of all. */
static void become(const struct spawn *s)
{
	if (!s->as_self) {
		forbid_capabilities(s);
		if (setresgid(s->gid, s->gid, s->gid) != 0)
			die("setresgid");
		if (setresuid(s->uid, s->uid, s->uid) != 0)
			die("setresuid");
		drop_capabilities();
	}
	uid_t r, e, saved;
	if (getresuid(&r, &e, &saved) != 0 || r != s->uid || e != s->uid || saved != s->uid)
		die("checking the uid");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		die("no_new_privs");
}

static char **make_environment(char **env)
{
	static char path[] = "PATH=/usr/local/bin:/usr/bin:/bin", lang[] = "LANG=C.UTF-8";
	size_t n = 0;
	env[n++] = path;
	env[n++] = lang;
	for (size_t i = 0; passed_on[i] && n < ENVIRONMENT_MAX - 1; i++) {
		const char *value = getenv(passed_on[i]);
		if (value && asprintf(&env[n], "%s=%s", passed_on[i], value) >= 0)
			n++;
	}
	env[n] = NULL;
	return env;
}

static int confine(const struct spawn *s)
{
	const struct confine c = {s->confinement, s->folders, s->argv[0], s->uid, s->gid, s->as_self};
	struct err e = ERR_INIT;
	int ruleset;
	/* First: what is opened as another user must not be opened with our groups. */
	if (!s->as_self && setgroups(0, NULL) != 0)
		die("setgroups");
	if (confine_enter(&c, &ruleset, &e) != ERR_OK)
		die_of(e.text);
	return ruleset;
}

static void restrict_to(int ruleset)
{
	struct err e = ERR_INIT;
	if (confine_restrict(ruleset, &e) != ERR_OK)
		die_of(e.text);
}

__attribute__((noreturn)) static void run_child(const struct spawn *s, int channel)
{
	char *env[ENVIRONMENT_MAX];
	struct rlimit no_core = {0, 0};
	make_environment(env);
	set_descriptors(channel, s->log_fd);
	reset_signals();
	setsid(); /* a Ctrl-C at litestreamd's terminal is not the workers' */
	umask(0077);
	if (chdir("/") != 0)
		die("chdir");
	if (setrlimit(RLIMIT_CORE, &no_core) != 0)
		die("RLIMIT_CORE");
	int ruleset = confine(s);
	become(s);
	restrict_to(ruleset);
	execve(s->argv[0], (char *const *)s->argv, env);
	die(s->argv[0]);
}

/* fork(2), into new namespaces where the child gets some. */
static pid_t split(const struct spawn *s)
{
	int flags = confine_clone_flags(s->confinement);
	return flags ? (pid_t)syscall(SYS_clone, SIGCHLD | flags, 0, 0, 0, 0) : fork();
}

int spawn_child(const struct spawn *s, pid_t *pid, int *channel, struct err *e)
{
	if (s->as_self && s->uid != geteuid())
		return err_set(e, ERR_DENIED,
			"the database belongs to uid %u, and -run-as-self only allows uid %u", (unsigned)s->uid,
			(unsigned)geteuid());
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		return err_errno(e, ERR_IO, errno, "cannot make a channel for a child");
	pid_t child = split(s);
	if (child == 0)
		run_child(s, pair[1]);
	int saved = errno;
	fs_close(pair[1]);
	if (child < 0) {
		fs_close(pair[0]);
		return err_errno(e, ERR_IO, saved, "cannot fork");
	}
	*pid = child;
	*channel = pair[0];
	return ERR_OK;
}

void spawn_protect_self(void)
{
	struct rlimit no_core = {0, 0};
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	setrlimit(RLIMIT_CORE, &no_core);
}

void spawn_raise_descriptors(void)
{
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) != 0)
		return;
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
}
