/*
 * What the supervisor hears of: files of desired/ and secrets/, and whatever replaces something
 * that a confined worker was given when it started (supervise.h): storage folders, mounts, the
 * resolver's files. Inner part of supervise.
 */
#ifndef DAEMON_SUPERVISE_WATCH_H
#define DAEMON_SUPERVISE_WATCH_H

#include "daemon/supervise.h"

/* Without inotify: s->watch_fd is -1, and all is looked at each second. */
void watch_open(struct supervisor *s);
void watch_close(struct supervisor *s);

/* The folder that a storage folder is in is watched from now on. */
void watch_parent(struct supervisor *s, const char *storage_dir);

/* The folders of the resolver's files, as their links lead now. */
void watch_system(struct supervisor *s);

/* Events set s->reread and reread_us, or look_us. */
void watch_prepare(struct supervisor *s, struct pollset *p);

/* Whether desired/ or secrets/ have changed since the last time, by their modification times. */
bool watch_folders_changed(struct supervisor *s);

#endif
