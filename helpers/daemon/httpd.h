/* What our servers of HTTP, the control socket's and that of metrics, have in common. */
#ifndef DAEMON_HTTPD_H
#define DAEMON_HTTPD_H

#include <stdarg.h>

/* For MHD_OPTION_EXTERNAL_LOGGER: into our log (debug). `name`, a text, begins the line. */
void httpd_log(void *name, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

#endif
