/*
 * The inside of a job: what runs as the owner of a database, told what to do over a channel.
 * (Its outside, in the daemon, is jobs.h.)
 */
#ifndef DAEMON_JOBRUN_H
#define DAEMON_JOBRUN_H

#include "base/err.h"

/* Says hello on fd, does the one thing that it is then told, tells the result, closes. End of file
 * or "stop" on fd cancels. Returns ERR_OK when a result was told, whatever it was. */
int jobrun(int fd, struct err *e);

#endif
