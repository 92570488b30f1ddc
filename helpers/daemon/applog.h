/* The log of an app: <log-dir>/<app>.log, written by its workers and, about them, by us. */
#ifndef DAEMON_APPLOG_H
#define DAEMON_APPLOG_H

#include "base/err.h"
#include "base/log.h"

#include <sys/types.h>

/*
 * Opens it for appending (created 0640, ours, group gid) without following a link. The descriptor,
 * or -1 with *e: ERR_DENIED when something else stands there, ERR_IO.
 */
int applog_open(const char *log_dir, const char *app, gid_t gid, struct err *e);

/* A line of ours, in the app's log and in our own. */
void applog_write(const char *log_dir, const char *app, gid_t gid, enum log_level level,
	const char *fmt, ...) __attribute__((format(printf, 5, 6)));

#endif
