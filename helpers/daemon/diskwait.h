/* Is a process waiting for a disk? */
#ifndef DAEMON_DISKWAIT_H
#define DAEMON_DISKWAIT_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Whether any thread of that process sleeps in the kernel where no signal reaches it (state D of
 * proc_pid_stat(5): fsync, a read from a disk). SIGKILL ends it no sooner than what it waits for
 * does, and by then it goes on by itself. False where that can't be seen.
 */
bool diskwait_any(pid_t pid);

#endif
