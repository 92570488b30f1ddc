#include "daemon/httpd.h"

#include "base/log.h"

#include <stdio.h>
#include <string.h>

void httpd_log(void *name, const char *fmt, va_list ap)
{
	char text[512];
	vsnprintf(text, sizeof(text), fmt, ap);
	text[strcspn(text, "\n")] = '\0';
	log_debug("%s: %s", (const char *)name, text);
}
