/* litestreamd: the daemon that keeps every app's databases replicated. Runs in the foreground. */
#include "base/log.h"
#include "cli/args.h"
#include "cli/command.h"
#include "daemon/daemon.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DATA_DIR "/var/lib/dokku/data/litestream"
#define STORAGE_ROOT "/var/lib/dokku/data/storage"
#define LOG_DIR "/var/log/dokku/litestream"
#define SOCKET "/run/dokku-litestream/control.sock"

static const struct flag flags[] = {
	{"data-dir", FLAG_STRING, "DIR", "desired, secrets, state (default " DATA_DIR ")"},
	{"socket", FLAG_STRING, "PATH", "control socket (default " SOCKET ")"},
	{"log-dir", FLAG_STRING, "DIR", "a log for each app (default " LOG_DIR ")"},
	{"storage-root", FLAG_STRING, "DIRS",
		"where databases are, separated by ':' (default " STORAGE_ROOT ")"},
	{"user", FLAG_STRING, "NAME", "who writes desired and secrets (default dokku)"},
	{"group", FLAG_STRING, "NAME", "who may use the socket and read logs (default dokku)"},
	{"litestream", FLAG_STRING, "PATH", "the workers' program (default: beside this one)"},
	{"shutdown-timeout", FLAG_DURATION, "TIME", "for the last sync of a worker (default 30s)"},
	{"watchdog", FLAG_DURATION, "TIME", "silence after which a worker is killed (default 2s)"},
	{"backoff", FLAG_DURATION, "TIME", "shortest wait before a restart (default 1s)"},
	{"max-backoff", FLAG_DURATION, "TIME", "longest wait before a restart (default 60s)"},
	{"recheck", FLAG_DURATION, "TIME", "how often owners are looked at again (default 10m)"},
	{"confinement", FLAG_STRING, "KIND",
		"of workers: namespace, landlock, none (default auto: the first that can be had)"},
	{"allow-root-databases", FLAG_BOOL, NULL,
		"work as root for databases of root even without confinement"},
	{"run-as-self", FLAG_BOOL, NULL, "without root: only databases of our own uid"},
	{"log-level", FLAG_STRING, "LEVEL", "trace, debug, info, warn or error (default info)"},
	{NULL, FLAG_BOOL, NULL, NULL},
};

/* Names are looked up once, here; the rest of the program knows numbers. */
static int find_ids(const struct args *args, bool as_self, uid_t *uid, gid_t *gid, struct err *e)
{
	*uid = geteuid();
	*gid = getegid();
	const char *user = args_string(args, "user", as_self ? NULL : "dokku");
	const char *group = args_string(args, "group", as_self ? NULL : "dokku");
	const struct passwd *pw = user ? getpwnam(user) : NULL;
	if (user && !pw)
		return err_set(e, ERR_USAGE, "there is no user %s", user);
	const struct group *gr = group ? getgrnam(group) : NULL;
	if (group && !gr)
		return err_set(e, ERR_USAGE, "there is no group %s", group);
	if (pw)
		*uid = pw->pw_uid;
	if (gr)
		*gid = gr->gr_gid;
	return ERR_OK;
}

static int find_worker(const struct args *args, char *path, size_t size, struct err *e)
{
	char self[PATH_MAX];
	const char *given = args_string(args, "litestream", NULL);
	if (given) {
		snprintf(path, size, "%s", given);
	} else {
		ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
		if (n < 0)
			return err_errno(e, ERR_IO, errno, "cannot find out where this program is");
		self[n] = '\0';
		snprintf(path, size, "%.*s/litestream", (int)(strrchr(self, '/') - self), self);
	}
	if (access(path, X_OK) != 0)
		return err_errno(e, ERR_USAGE, errno, "cannot run the workers' program %s", path);
	return ERR_OK;
}

static int set_log_level(const struct args *args, struct err *e)
{
	enum log_level level;
	const char *name = args_string(args, "log-level", "info");
	if (log_parse_level(name, &level) != 0)
		return err_set(e, ERR_USAGE, "\"%s\" is no log level", name);
	log_set_level(level);
	return ERR_OK;
}

static int run(struct args *args, struct err *e)
{
	char worker[PATH_MAX + 16];
	bool as_self = args_bool(args, "run-as-self");
	enum confine_kind confinement;
	uid_t uid;
	gid_t gid;
	if (!as_self && geteuid() != 0)
		return args_usage(args, e, "sudo litestreamd",
			"litestreamd must be started by root: it gives each worker the uid of its databases");
	int rc = set_log_level(args, e);
	if (rc == ERR_OK)
		rc = find_ids(args, as_self, &uid, &gid, e);
	if (rc == ERR_OK)
		rc = find_worker(args, worker, sizeof(worker), e);
	if (rc == ERR_OK)
		rc = confine_choose(args_string(args, "confinement", "auto"), as_self, &confinement, e);
	if (rc != ERR_OK)
		return rc;
	const struct daemon_config cfg = {
		.supervisor =
			{
				.data_dir = args_string(args, "data-dir", DATA_DIR),
				.storage_roots = args_string(args, "storage-root", STORAGE_ROOT),
				.owner = uid,
				.allow_root = args_bool(args, "allow-root-databases"),
				.recheck_ms = args_ms(args, "recheck", 600000),
				.child =
					{
						.program = worker,
						.log_dir = args_string(args, "log-dir", LOG_DIR),
						.log_gid = gid,
						.log_level = args_string(args, "log-level", "info"),
						.run_as_self = as_self,
						.confinement = confinement,
						.watchdog_ms = args_ms(args, "watchdog", 2000),
						.backoff_min_ms = args_ms(args, "backoff", 1000),
						.backoff_max_ms = args_ms(args, "max-backoff", 60000),
						.shutdown_ms = args_ms(args, "shutdown-timeout", 30000),
					},
			},
		.socket = args_string(args, "socket", SOCKET),
		.gid = gid,
	};
	return daemon_run(&cfg, e);
}

static const struct command command_litestreamd = {
	.name = "litestreamd",
	.arguments = "[flags]",
	.summary = "Keeps the SQLite databases of every app replicated",
	.details = "Reads what is wanted from the data folder, runs one worker for each app and owner "
			   "of\ndatabases, and answers `litestream ctl` on the control socket.\n",
	.examples =
		"    litestreamd\n    litestreamd -run-as-self -data-dir /tmp/l -socket /tmp/l.sock "
		"-log-dir /tmp/log \\\n        -storage-root /tmp/storage\n",
	.flags = flags,
	.min_args = 0,
	.max_args = 0,
	.run = run,
};

int main(int argc, char **argv)
{
	return command_run(&command_litestreamd, "litestreamd", argc, argv, 1);
}
