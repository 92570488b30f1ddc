/* Telling a service manager how we are: systemd's notification socket, without its library. */
#ifndef DAEMON_NOTIFY_H
#define DAEMON_NOTIFY_H

/* Sends one datagram ("READY=1") to $NOTIFY_SOCKET; nothing happens where there is none, or when
 * it doesn't work. */
void notify_manager(const char *state);

#endif
