/*
 * Waking up: one inotify instance that all sources of a process share.
 *
 * Watched are the database file and the -wal (written, and for the database: closed by somebody),
 * and their folder (names that come and go). The kernel gives one watch descriptor for an inode,
 * so sources in one folder share the folder's.
 *
 * The public part (new, free, fd, read) is in source.h. Registration runs in the sources' threads,
 * reading in the waiting one: a mutex guards the table.
 */
#ifndef SOURCE_WATCH_H
#define SOURCE_WATCH_H

#include "source/source.h"

#include <stdbool.h>

struct watch_entry;

/* Registers a source; nothing is watched yet. `path` (absolute) is borrowed until watch_remove.
 * NULL when out of memory. */
struct watch_entry *watch_add(struct source_watch *w, const char *path, void *user);
void watch_remove(struct watch_entry *en); /* NULL is fine */

/* Watches what there is now of folder, database and -wal; what is watched already stays. True when
 * the folder is watched: then whatever appears wakes us. */
bool watch_refresh(struct watch_entry *en);

/*
 * What we do ourselves from now on until watch_hear makes no event. (The folder's watch is shared
 * with other sources and stays. watch_hear takes the database's watch away and makes a new one: the
 * kernel queues IN_IGNORED for the old one behind all events of what we did, and what comes before
 * it is not listened to.) Look at the files yourself after watch_hear: others may have done
 * something too.
 */
void watch_deafen(struct watch_entry *en);
void watch_hear(struct watch_entry *en);

/* No events of the database file and the -wal from now on, or events again: under steady writers a
 * timer is cheaper, for them because an event makes the writer wake us, for us because each
 * checkpoint, our own too, writes hundreds of pages. The folder stays watched. */
void watch_mute(struct watch_entry *en, bool mute);

/* Was there an event since the last call? */
bool watch_taken(struct watch_entry *en);

/* While attached: something isn't watched (no inotify instance, no watches left), so whoever waits
 * must look by itself. */
bool watch_blind(const struct watch_entry *en);

#endif
