/* Telling a service manager how we are: systemd's notification socket, without its library. */
#ifndef DAEMON_NOTIFY_H
#define DAEMON_NOTIFY_H

#include <stdint.h>

/* Sends one datagram ("READY=1") to $NOTIFY_SOCKET; nothing happens where there is none, or when
 * it doesn't work. */
void notify_manager(const char *state);

/*
 * How often the manager wants to hear WATCHDOG=1, in us: half of $WATCHDOG_USEC, as sd_notify(3)
 * advises. 0 when it waits for nothing, or for another process ($WATCHDOG_PID).
 */
int64_t notify_watchdog_us(void);

/* STOPPING=1, and that the end may take as long as ms from now: a unit's TimeoutStopSec can't know
 * which shutdown timeout the daemon was given. */
void notify_stopping(int64_t ms);

#endif
