/*
 * What tests of a replicator begin and end with: a folder of their own, a silent log, a disk that
 * is quick because nothing is fsynced (the machine stays up), stores in memory and behind faults.
 */
#ifndef TESTS_LIB_SCENE_H
#define TESTS_LIB_SCENE_H

#include "base/fs.h"
#include "lib/ship.h"

/* A silent log unless $SHOW is set, no fsyncs, and a folder: its path is for scene_end. A test with
 * file calls of its own sets them behind this. */
char *scene_begin(void);

/* The part of it that is about the disk: from now on fsync does nothing. The file calls that it
 * set. */
const struct fs_ops *scene_no_fsync(void);

/* Moves the clock to a second after an hour of the wall clock began: steps of time and the points
 * kept for a week end where that says. */
void scene_new_hour(void);

/* Closes s if it is open (NULL: there is none), brings back the system's file calls, forgets the
 * stores, removes the folder and frees its path. */
void scene_end(char *dir, struct ship *s);

#endif
