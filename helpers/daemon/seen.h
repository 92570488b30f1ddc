/*
 * What a person saw in a database's place, as a short text that he need not read: device, inode and
 * size. A decision that comes with it is about that very file.
 */
#ifndef DAEMON_SEEN_H
#define DAEMON_SEEN_H

#include <sys/stat.h>

#define SEEN_SIZE 64 /* with the NUL */

/* "fe01-1a2b3-8192". Returns out. */
const char *seen_text(const struct stat *st, char out[SEEN_SIZE]);

#endif
