/*
 * Apps and their workers: what desired/<app>.json asks for is compared with what runs, whenever a
 * file changes, somebody asks for it, or ten minutes have gone by; one, while a database is
 * refused.
 *
 * A database gets a worker only when root may believe what it is told about it: reached without
 * symbolic links, a regular file with one name, owned by the uid that was recorded when it was
 * created (its folder, while there is no file), and not by root unless that is allowed. One worker
 * serves all databases of one app with one owner. All from the daemon's one thread.
 *
 * A confined worker keeps the folders and the copies of /etc/resolv.conf and the like that it was
 * started with: when one of them is another (a folder made anew or mounted over, another resolver)
 * it is started anew. That is noticed by inotify and by the kernel's word that mounts have changed,
 * at the latest when all are looked at again.
 */
#ifndef DAEMON_SUPERVISE_H
#define DAEMON_SUPERVISE_H

#include "base/err.h"
#include "conf/desired.h"
#include "daemon/child.h"

#include <stdbool.h>
#include <stdint.h>

struct supervisor_config {
	const char *data_dir;      /* holds desired/, secrets/, state/ */
	const char *storage_roots; /* separated by ':' */
	uid_t owner;               /* whose desired and secret files are believed, besides root's */
	bool allow_root;           /* databases that belong to root */
	int64_t recheck_ms;        /* how often owners are looked at again, while all are well */
	struct child_config child; /* make and ctx are the supervisor's */
};

/* What became of one database of `desired`, by its index. */
struct verdict {
	int code; /* ERR_OK: its worker has it */
	char reason[512];
	dev_t folder_dev; /* the storage folder that was judged */
	ino_t folder_ino;
	dev_t replica_dev; /* the folder of a file replica, as it was seen last; 0 = there was none */
	ino_t replica_ino;
};

struct app {
	struct app *next;
	char name[64];
	struct desired desired;
	struct verdict *verdicts;
	bool refused;   /* any of them, when they were judged last */
	uint64_t moved; /* counts folders of file replicas that were replaced */
	struct child *children;
	int load_code; /* of the last try to read the file; the older content stays in force */
	char load_reason[512];
	bool gone;       /* no file any more: goes when its workers have ended */
	unsigned paused; /* restores that are under way */
};

/* A database that gets no worker for the moment, by its id. */
struct hold {
	struct hold *next;
	char id[128];
};

struct supervisor {
	struct supervisor_config cfg;
	char *desired_dir, *secrets_dir, *state_dir;
	int lock_fd, watch_fd;
	bool stopping, reread;
	struct app *apps;
	struct hold *holds;
	int64_t started_us, rechecked_us, reread_us;
	int64_t look_us; /* when to look at all again because of something that was noticed */
	int64_t desired_mtime_ns, secrets_mtime_ns; /* where there is no inotify */
	int desired_wd, secrets_wd;                 /* of watch_fd */
	int mounts_fd;                              /* tells when anything was mounted or unmounted */
	uint8_t system[32];                         /* confine_system_digest */
};

/*
 * Makes the folders that are missing, checks those that are there, takes the lock (ERR_AGAIN: a
 * daemon runs on them), and watches. cfg's strings are borrowed.
 */
int supervisor_open(struct supervisor *s, const struct supervisor_config *cfg, struct err *e);
void supervisor_close(struct supervisor *s);

/* Reads everything anew. Errors of one app are kept with it. */
int supervisor_reload_all(struct supervisor *s, struct err *e);

/* Reads one app anew: ERR_USAGE, ERR_DENIED, … when its file is not good. None: it is stopped. */
int supervisor_reload(struct supervisor *s, const char *name, struct err *e);

/* Its workers are stopped, until as many calls of supervisor_resume. */
void supervisor_pause(struct supervisor *s, struct app *a);
void supervisor_resume(struct supervisor *s, struct app *a);
bool supervisor_quiet(const struct app *a); /* no worker process is left */

/*
 * One database gets no worker until as many calls of supervisor_release: the one that has it is
 * stopped, with its last sync, and started again with the app's other databases. ERR_NOMEM.
 */
int supervisor_hold(struct supervisor *s, struct app *a, const char *id, struct err *e);
void supervisor_release(struct supervisor *s, const char *id);
bool supervisor_holds(const struct supervisor *s, const char *id);

/* Judges the app's databases again, and makes what runs what is wanted. */
void supervisor_apply(struct supervisor *s, struct app *a);

/* ERR_DATABASE for uid 0, where nothing confines children and the administrator didn't allow it. */
int supervisor_check_root(const struct supervisor *s, uid_t uid, const char *path, struct err *e);

struct app *supervisor_find(struct supervisor *s, const char *name); /* NULL */

void supervisor_prepare(struct supervisor *s, struct pollset *p);

/* True when the pid was a worker's. */
bool supervisor_child_exited(struct supervisor *s, pid_t pid, int status);

/* A process of ours was stopped by a signal, or goes on. */
void supervisor_child_stopped(struct supervisor *s, pid_t pid, bool stopped);

/* All workers end, with their last sync. */
void supervisor_stop(struct supervisor *s);
bool supervisor_stopped(const struct supervisor *s);

#endif
