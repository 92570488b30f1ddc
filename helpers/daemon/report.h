/* What the control socket tells of apps, workers and databases. */
#ifndef DAEMON_REPORT_H
#define DAEMON_REPORT_H

#include "daemon/supervise.h"

#include <jansson.h>

/* Each returns a new object, NULL when out of memory. */
json_t *report_info(const struct supervisor *s);
json_t *report_list(const struct supervisor *s);
json_t *report_status(const struct supervisor *s, const char *only_app); /* NULL = all */
json_t *report_synced(json_t *warnings); /* an array, borrowed; NULL = none */

/* One database as a worker tells it: members of the answer to /status that don't need the daemon.
 * Used by a stand-alone `replicate -socket` too. `path` and `replica` may not be NULL. */
json_t *report_database(
	const struct message_status_database *m, const char *path, const char *replica, int64_t now_ms);

/* The URL without what may be a password or a key in it ("user:secret@" becomes "***@", and so do
 * the values of sse-customer-…), into out, of size bytes; cut where it doesn't fit. */
void report_url(const char *url, char *out, size_t size);

/* The worker's last word on a database; NULL when it has said nothing of it. *child is that worker,
 * or NULL. */
const struct message_status_database *report_last_word(
	const struct app *a, const struct desired_database *d, const struct child **child);

#endif
