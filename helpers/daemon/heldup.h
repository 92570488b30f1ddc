/* Does a process wait for the machine: for a disk, or for a processor? */
#ifndef DAEMON_HELDUP_H
#define DAEMON_HELDUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* What was seen of it at the last look; zeros before the first. */
struct heldup {
	int64_t looked_us;
	uint64_t cpu_ticks;
};

/*
 * Looks at a process, a quarter of a second or so after the last look. True while
 *
 * - any thread of it sleeps in the kernel where no signal reaches it (state D of proc_pid_stat(5):
 *   fsync, a read from a disk). SIGKILL ends it no sooner than what it waits for does, and by then
 *   it goes on by itself;
 * - or one could run (state R), and all of them together had less than half a processor since the
 *   last look: on a machine that has too much to do, or in a cgroup whose time is used up. Whoever
 *   is started in its place would have no more. (A thread that runs in a circle has more, where a
 *   processor is free. Nobody can tell at a first look: true.)
 *
 * False where nothing can be seen, or the process is gone.
 */
bool heldup_look(struct heldup *last, pid_t pid, int64_t now_us);

#endif
